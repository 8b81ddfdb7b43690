"""Gated convolutions, and networks of images among networks of vectors."""

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from pyrodgm.arithmetic.arguments import callables, whole_number, whole_numbers


class GatedConv2d(nn.Module):
    r"""A convolution times a learned gate, :math:`x \mapsto (A * x + a) \odot \mathrm{sigmoid}(B * x + b)`.

    Both are one convolution, padded so that stride 1 keeps height and width.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, odd.
        stride: Rows and columns from one position of the kernel to the next.

    Shape:
        ``[N, in_channels, height, width]`` to ``[N, out_channels, ceil(height / stride), ceil(width / stride)]``; the
        first dimension may be missing. For more leading dimensions see :class:`Images`.

    Raises:
        ValueError: If ``kernel_size`` is even.

    Source: Dauphin et al. (2016), arXiv 1612.08083, as used by Tomczak and Welling (2017), arXiv 1705.07120.

    Example:
        >>> import torch
        >>> GatedConv2d(1, 32, 7, stride=2)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 32, 14, 14])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        in_channels, out_channels = whole_number("in_channels", in_channels), whole_number("out_channels", out_channels)
        kernel_size, stride = whole_number("kernel_size", kernel_size), whole_number("stride", stride)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.conv = conv = nn.Conv2d(in_channels, 2 * out_channels, kernel_size, stride, kernel_size // 2)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return functional.glu(self.conv(x), -3)


def gated_convs(in_channels: int, layers: Sequence[tuple[int, int, int]]) -> nn.Sequential:
    """Gated convolutions, one after the other.

    Args:
        in_channels: Channels of the input.
        layers: Output channels, kernel size and stride of each.

    Example:
        >>> import torch
        >>> gated_convs(1, [(32, 7, 1), (6, 3, 2)])(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 6, 14, 14])
    """
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a sequence of (channels, kernel size, stride), got {layers!r}")
    whole = [whole_numbers(f"layers[{i}]", layer, length=3) for i, layer in enumerate(layers)]
    channels = [whole_number("in_channels", in_channels), *(layer[0] for layer in whole)]
    return nn.Sequential(*(GatedConv2d(c, *layer) for c, layer in zip(channels[:-1], whole, strict=True)))


class Images(nn.Module):
    """A network of images among networks of vectors.

    It makes images of its input's last dimension, and a vector of its output's last three.

    Args:
        net: Maps ``[N, channels, height, width]`` to ``[N, *]``, each image for itself.
        image_shape: Channels, height, width of its input.

    Shape:
        ``[*, channels * height * width]``, with any number of leading dimensions, to ``[*, features]``.

    Raises:
        ValueError: From the call, if the last dimension has another size.

    Example:
        >>> import torch
        >>> net = Images(gated_convs(1, [(32, 7, 2), (6, 3, 2)]), (1, 28, 28))
        >>> net(torch.zeros(3, 5, 784)).shape
        torch.Size([3, 5, 294])
    """

    def __init__(self, net: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.image_shape = net, whole_numbers("image_shape", image_shape, length=3)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != math.prod(self.image_shape):
            raise ValueError(f"expected images of shape {self.image_shape} as vectors, got {list(x.shape)}")
        y = self.net(x.reshape(-1, *self.image_shape))
        return y.reshape(*x.shape[:-1], math.prod(y.shape[1:]))
