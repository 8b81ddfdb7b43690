"""Convolutional encoders and decoders between flat images and features."""

import itertools
import math
from collections.abc import Callable, Sequence

from torch import nn

from pyrodgm.arithmetic.arguments import callables, whole_numbers
from pyrodgm.nn.conv import Images
from pyrodgm.nn.dense import Dense, mlp

Activation = Callable[[], nn.Module]


def conv_encoder(
    image_shape: tuple[int, int, int],
    channels: Sequence[int],
    out_features: int,
    hidden: Sequence[int] = (),
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """Convolutions that halve the image, each with its activation, then fully connected layers, the last one linear.

    Args:
        image_shape: Channels, height and width of an image, D values in all.
        channels: Channels after each convolution (3x3, stride 2); a side of n pixels becomes one of ceil(n / 2).
        out_features: Size of the output.
        hidden: Sizes of the hidden fully connected layers.
        activation: Makes the activation modules.

    Shape:
        ``[*, D]`` to ``[*, out_features]``.

    Raises:
        ValueError: If ``channels`` is empty.

    Example:
        >>> import torch
        >>> conv_encoder((1, 28, 28), [32, 64], 80)(torch.zeros(7, 5, 784)).shape
        torch.Size([7, 5, 80])
    """
    image_shape, channels = _checked(image_shape, channels)
    callables(activation=activation)
    sizes = [image_shape[0], *channels]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [_initialised(nn.Conv2d(a, b, 3, stride=2, padding=1)), activation()]
    coarsest = math.prod([channels[-1], *_sides(image_shape, channels)[-1]])
    return nn.Sequential(
        Images(nn.Sequential(*layers), image_shape), *mlp(coarsest, hidden, out_features, _dense(activation))
    )


def conv_decoder(
    in_features: int,
    channels: Sequence[int],
    image_shape: tuple[int, int, int],
    hidden: Sequence[int] = (),
    activation: Activation = nn.ReLU,
) -> nn.Sequential:
    """The mirror of :func:`conv_encoder`: fully connected layers, then transposed convolutions that double the image.

    Args:
        in_features: Size of the input.
        channels: Channels before each transposed convolution (3x3, stride 2), the coarsest first.
        image_shape: Channels, height and width of an image, D values in all; ``(C * outputs, height, width)`` gives
            several outputs a pixel.
        hidden: Sizes of the hidden fully connected layers.
        activation: Makes the activation modules.

    Shape:
        ``[*, in_features]`` to ``[*, D]``.

    Raises:
        ValueError: If ``channels`` is empty.

    Example:
        >>> import torch
        >>> conv_decoder(40, [64, 32], (1, 28, 28))(torch.zeros(7, 5, 40)).shape
        torch.Size([7, 5, 784])
    """
    image_shape, channels = _checked(image_shape, channels)
    callables(activation=activation)
    sides = _sides(image_shape, channels)[::-1]
    coarsest = (channels[0], *sides[0])
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise([*channels, image_shape[0]])):
        (height, width), (high, wide) = sides[i], sides[i + 1]
        odd = (high - 2 * height + 1, wide - 2 * width + 1)
        layers += [_initialised(nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=odd)), activation()]
    return nn.Sequential(
        *mlp(in_features, hidden, math.prod(coarsest), _dense(activation)),
        activation(),
        Images(nn.Sequential(*layers[:-1]), coarsest),
    )


def _checked(image_shape: Sequence[int], channels: Sequence[int]) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Both as whole numbers."""
    depth, height, width = whole_numbers("image_shape", image_shape, length=3)
    channels = whole_numbers("channels", channels)
    if not channels:
        raise ValueError("channels must give the channels of at least one convolution, got none")
    return (depth, height, width), channels


def _sides(image_shape: Sequence[int], channels: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of the image and after each convolution."""
    sides = [(image_shape[1], image_shape[2])]
    for _ in channels:
        sides.append((-(-sides[-1][0] // 2), -(-sides[-1][1] // 2)))
    return sides


def _initialised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _dense(activation: Activation) -> Callable[[int, int], nn.Module]:
    return lambda a, b: Dense(a, b, activation)
