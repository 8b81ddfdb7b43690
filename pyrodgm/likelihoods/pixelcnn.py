"""The likelihood of images whose pixels depend on each other: a PixelCNN given the latents."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, whole_number
from pyrodgm.distributions import AutoregressiveImages
from pyrodgm.nn import PixelCNN


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
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> net = PixelCNN((1, 6, 6), context_channels=2, hidden=8, layers=2)
        >>> likelihood = PixelCNNLikelihood(mlp(4, [], 2 * 36), net)
        >>> x = likelihood(torch.zeros(5, 4)).sample()
        >>> x.shape, likelihood(torch.zeros(3, 5, 4)).log_prob(x).shape
        (torch.Size([5, 36]), torch.Size([3, 5]))
    """

    def __init__(self, context: nn.Module, net: PixelCNN, num_bins: int | None = None) -> None:
        super().__init__()
        callables(context=context, net=net)
        num_bins = None if num_bins is None else whole_number("num_bins", num_bins, 2)
        expected = 1 if num_bins is None else 2
        if net.outputs != expected:
            raise ValueError(f"net must have {expected} outputs for num_bins={num_bins}, got {net.outputs}")
        self.context, self.net, self.num_bins = context, net, num_bins

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        context = self.context(*latents)
        context = context.unflatten(-1, (-1, *self.net.image_shape[1:]))
        return AutoregressiveImages(self.net, context, self.num_bins)
