"""Images whose pixels depend on each other."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from pyro.distributions import Bernoulli, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import callables, real_tensors, validated, whole_number
from pyrodgm.distributions.discretized_logistic import DiscretizedLogistic

LOG_SCALE_RANGE = (-4.5, 0.0)


class PixelNetwork(Protocol):
    """Gives the parameters of each pixel from the pixels before it and a context."""

    image_shape: tuple[int, int, int]

    def __call__(self, images: Tensor, context: Tensor) -> Tensor:
        """Parameters ``[*, outputs, C, H, W]`` of all pixels of images ``[*, C, H, W]``."""

    def ancestral(self, context: Tensor, draw: Callable[[Tensor], Tensor], tick: Callable[[], object] = ...) -> Tensor:
        """Images ``[N, C, H, W]`` drawn pixel by pixel."""


class AutoregressiveImages(TorchDistribution):
    """Images whose pixels depend on each other, drawn in reading order by a network that is given a context.

    Args:
        net: Gives the parameters of each pixel from those before it, as :class:`pyrodgm.nn.PixelCNN` does.
        context: ``[*batch, channels, H, W]``.
        num_bins: None for values 0 and 1; otherwise the number of evenly spaced grey values in [0, 1].

    Batch shape ``[*batch]``, event shape ``[C * H * W]``; log-probabilities are in nats. It has no mean. What
    :class:`pyrodgm.likelihoods.PixelCNNLikelihood` returns.

    Source: van den Oord et al. (2016), arXiv 1606.05328.
    """

    arg_constraints = {"context": constraints.independent(constraints.real, 3)}  # noqa: RUF012
    has_rsample = False

    def __init__(
        self, net: PixelNetwork, context: Tensor, num_bins: int | None, *, validate_args: bool | None = None
    ) -> None:
        callables(net=net)
        real_tensors(context=context)
        validated(context=context)
        if context.dim() < 3 or 0 in context.shape[-3:] or context.shape[-2:] != torch.Size(net.image_shape[1:]):
            height, width = net.image_shape[1:]
            raise ValueError(f"context must have shape [*, channels, {height}, {width}], got {list(context.shape)}")
        num_bins = None if num_bins is None else whole_number("num_bins", num_bins, 2)
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


def _pixel(num_bins: int | None, outputs: Any) -> TorchDistribution:
    """The distribution of pixels from the network's outputs, one tensor each."""
    if num_bins is None:
        return Bernoulli(logits=outputs[0], validate_args=False)
    loc, log_scale = outputs[0].sigmoid(), outputs[1].clamp(*LOG_SCALE_RANGE)
    return DiscretizedLogistic(loc, log_scale, num_bins, validate_args=False)
