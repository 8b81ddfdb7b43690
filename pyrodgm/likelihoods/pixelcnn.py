"""The likelihood of images whose pixels depend on each other: a PixelCNN given the latents."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from pyrodgm.distributions import DiscretizedLogistic
from pyrodgm.nn import PixelCNN

LOG_SCALE_RANGE = (-4.5, 0.0)


class PixelCNNLikelihood(nn.Module):
    r"""Images drawn pixel by pixel, each given those before it in reading order and a map that the latents give.

    .. math:: p(x \mid z) = \prod_d p\bigl(x_d \mid x_{<d}, \mathrm{context}(z)\bigr)

    The channels of a pixel come one after the other too (red, green, blue).

    Args:
        context: Called with the latents, returns a map ``[*, channels * height * width]`` as vectors, with the height
            and width of the images.
        net: The masked-convolution network, with one output a pixel for binary images and two for grey ones.
        num_bins: None for values 0 and 1, whose logits the network gives; otherwise the number of evenly spaced grey
            values in [0, 1], under a :class:`~pyrodgm.distributions.DiscretizedLogistic` with the sigmoid of the first
            output as location and the second, cut off at -4.5 and 0, as log-scale.

    Called with latents it returns a distribution with batch shape ``[*]`` and event shape ``[D]``; log-probabilities
    are in nats. Its density runs the network once. Its sampler goes through the pixels in order, computes every layer
    once a pixel and channel, at their turn, and shows a progress bar where the output is a terminal. It has no mean.

    Raises:
        ValueError: If ``num_bins`` is below 2, or ``net`` has another number of outputs.

    Source: van den Oord et al. (2016), arXiv 1606.05328; as decoder Gulrajani et al. (2016), arXiv 1611.05013, and
    Tomczak and Welling (2017), arXiv 1705.07120.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> net = PixelCNN((1, 6, 6), context_channels=2, hidden=8, layers=2)
        >>> likelihood = PixelCNNLikelihood(mlp(4, [], 2 * 36), net)
        >>> x = likelihood(torch.zeros(5, 4)).sample()
        >>> x.shape, likelihood(torch.zeros(3, 5, 4)).log_prob(x).shape
        (torch.Size([5, 36]), torch.Size([3, 5]))
    """

    def __init__(self, context: nn.Module, net: PixelCNN, num_bins: int | None = None) -> None:
        super().__init__()
        if num_bins is not None and num_bins < 2:
            raise ValueError(f"num_bins must be at least 2, or None for values 0 and 1; got {num_bins}")
        expected = 1 if num_bins is None else 2
        if net.outputs != expected:
            raise ValueError(f"net must have {expected} outputs for num_bins={num_bins}, got {net.outputs}")
        self.context, self.net, self.num_bins = context, net, num_bins

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        context = self.context(*latents)
        context = context.unflatten(-1, (-1, *self.net.image_shape[1:]))
        return AutoregressiveImages(self.net, context, self.num_bins)


class AutoregressiveImages(dist.TorchDistribution):
    """Images ``[C * H * W]`` under a :class:`~pyrodgm.nn.PixelCNN` given a context ``[*batch, channels, H, W]``; what
    :class:`PixelCNNLikelihood` returns.
    """

    arg_constraints = {"context": constraints.independent(constraints.real, 3)}  # noqa: RUF012
    has_rsample = False

    def __init__(
        self, net: PixelCNN, context: Tensor, num_bins: int | None, *, validate_args: bool | None = None
    ) -> None:
        self.net, self.context, self.num_bins = net, context, num_bins
        event_shape = torch.Size([net.image_shape[0] * net.image_shape[1] * net.image_shape[2]])
        super().__init__(context.shape[:-3], event_shape, validate_args=validate_args)

    @property
    def support(self) -> Any:
        pixel = constraints.boolean if self.num_bins is None else constraints.unit_interval
        return constraints.independent(pixel, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "AutoregressiveImages":
        context = self.context.expand(*batch_shape, *self.context.shape[-3:])
        return AutoregressiveImages(self.net, context, self.num_bins, validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        images = value.unflatten(-1, self.net.image_shape)
        outputs = self.net(images, self.context)
        return _pixel(self.num_bins, outputs.movedim(-4, 0)).log_prob(images).flatten(-3).sum(-1)

    def sample(self, sample_shape: Any = (), progress: bool | None = None) -> Tensor:
        """Draws ``[*sample, *batch, D]``; ``progress`` shows a bar, by default where the output is a terminal."""
        from tqdm.auto import tqdm

        shape = torch.Size(sample_shape) + self.batch_shape
        context = self.context.expand(*shape, *self.context.shape[-3:]).reshape(-1, *self.context.shape[-3:])
        disable = None if progress is None else not progress
        with tqdm(total=self.net.image_shape[1], desc="sampling", unit="row", disable=disable) as bar:
            images = self.net.ancestral(context, lambda y: _pixel(self.num_bins, y.unbind(1)).sample(), bar.update)
        return images.reshape(*shape, *self.event_shape)


def _pixel(num_bins: int | None, outputs: Any) -> dist.TorchDistribution:
    """The distribution of pixels from the network's outputs, one tensor each."""
    if num_bins is None:
        return dist.Bernoulli(logits=outputs[0], validate_args=False)
    loc, log_scale = outputs[0].sigmoid(), outputs[1].clamp(*LOG_SCALE_RANGE)
    return DiscretizedLogistic(loc, log_scale, num_bins, validate_args=False)
