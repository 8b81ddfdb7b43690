"""The masked-convolution network of autoregressive image models."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import one_of, whole_number, whole_numbers
from pyrodgm.nn.masked_conv import MaskedConv2d

Norm = Literal["channel", "batch"]


class ChannelNorm(nn.Module):
    """Layer normalisation of the channels of each pixel, in groups, with a learned scale and shift of each channel.

    Unlike batch normalisation it keeps images apart, and unlike group normalisation it keeps pixels apart.

    Args:
        channels: Number of channels.
        groups: Number of groups of neighbouring channels, each normalised for itself.

    Shape:
        ``[N, channels, *]`` to the same.
    """

    def __init__(self, channels: int, groups: int = 1) -> None:
        super().__init__()
        channels, self.groups = whole_number("channels", channels), whole_number("groups", groups)
        if channels % self.groups:
            raise ValueError(f"channels must be a multiple of the {groups} groups, got {channels}")
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = x.unflatten(1, (self.groups, -1))
        y = y - y.mean(2, keepdim=True)
        y = (y * (y.square().mean(2, keepdim=True) + 1e-5).rsqrt()).reshape(x.shape)
        shape = (-1, *[1] * (x.dim() - 2))
        return y * self.scale.reshape(shape) + self.shift.reshape(shape)


class PixelCNN(nn.Module):
    """Outputs for each pixel and channel that see the pixels and channels before it, and a context.

    Masked convolutions, the first of type A, each followed by a normalisation and ReLU; a masked 1x1 convolution at the
    end. The context enters the first layer by a convolution of its own, without a mask.

    Args:
        image_shape: Channels, height, width of the images.
        context_channels: Channels of the context, which has the height and width of the images.
        hidden: Channels of each layer, rounded up to a multiple of the image's channels.
        layers: Number of masked convolutions before the last.
        kernel_size: Side of their kernels, odd.
        outputs: Number of outputs for each pixel and channel.
        norm: ``"channel"`` normalises the channels of each pixel; ``"batch"`` is batch normalisation, as published,
            whose training statistics tie together the images and particles of a batch.

    Raises:
        ValueError: If ``norm`` is unknown, ``layers`` is less than 1, or ``hidden`` leaves a channel of the image less
            than two features that ``"channel"`` could normalise.

    Shape:
        Images ``[*, C, H, W]`` and context ``[*, context_channels, H, W]``, whose leading dimensions broadcast, to
        ``[*, outputs, C, H, W]``.

    Source: van den Oord et al. (2016), arXiv 1601.06759; the sizes are those of Tomczak and Welling (2017), arXiv
    1705.07120.

    Example:
        >>> net = PixelCNN((1, 28, 28), context_channels=2)
        >>> net(torch.zeros(5, 1, 28, 28), torch.zeros(3, 5, 2, 28, 28)).shape
        torch.Size([3, 5, 1, 1, 28, 28])
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        context_channels: int,
        hidden: int = 64,
        layers: int = 8,
        kernel_size: int = 3,
        outputs: int = 1,
        norm: Norm = "channel",
    ) -> None:
        super().__init__()
        one_of("norm", norm, get_args(Norm))
        channels, height, width = whole_numbers("image_shape", image_shape, length=3)
        context_channels = whole_number("context_channels", context_channels)
        hidden, layers = whole_number("hidden", hidden), whole_number("layers", layers)
        kernel_size, outputs = whole_number("kernel_size", kernel_size), whole_number("outputs", outputs)
        self.image_shape, self.outputs = (channels, height, width), outputs
        if norm == "channel" and hidden <= channels:  # one feature's deviation from its own mean is always 0
            raise ValueError(f"hidden must be above {channels} for {channels} channels and channel norm, got {hidden}")
        hidden = math.ceil(hidden / channels) * channels
        self.context_conv = nn.Conv2d(context_channels, hidden, kernel_size, padding=kernel_size // 2)
        sizes = [channels] + [hidden] * layers
        self.reach = kernel_size // 2
        self.convs = nn.ModuleList(
            MaskedConv2d(c, hidden, kernel_size, "A" if i == 0 else "B", channels, bias=False)
            for i, c in enumerate(sizes[:-1])
        )
        self.norms = nn.ModuleList(
            ChannelNorm(hidden, channels) if norm == "channel" else nn.BatchNorm2d(hidden) for _ in range(layers)
        )
        self.last = MaskedConv2d(hidden, outputs * channels, 1, "B", channels)
        nn.init.normal_(self.last.weight, std=0.01)  # an untrained network is sure of nothing

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = _on_images(self.convs[0], x) + self.embed(context)
        leading, h = h.shape[:-3], h.reshape(-1, *h.shape[-3:])
        h = self.norms[0](h).relu()
        for conv, norm in zip(self.convs[1:], self.norms[1:], strict=True):
            h = norm(conv(h)).relu()
        return self._by_output(self.last(h)).reshape(*leading, self.outputs, *self.image_shape)

    def embed(self, context: Tensor) -> Tensor:
        """What the context adds to the first layer, ``[*, hidden, H, W]``."""
        return _on_images(self.context_conv, context)

    def _by_output(self, y: Tensor) -> Tensor:
        """``[N, C * outputs, *]``, channel by channel as the masks have them, to ``[N, outputs, C, *]``."""
        return y.unflatten(1, (-1, self.outputs)).transpose(1, 2)

    @torch.no_grad()
    def ancestral(
        self, context: Tensor, draw: Callable[[Tensor], Tensor], tick: Callable[[], object] = lambda: None
    ) -> Tensor:
        """Images drawn pixel by pixel, each layer computed once a pixel and channel: at their turn.

        Args:
            context: ``[N, context_channels, H, W]``.
            draw: Called with the outputs ``[N, outputs]`` of one pixel and channel, returns its values ``[N]``.
            tick: Called after each row of pixels.

        Returns:
            ``[N, C, H, W]``.
        """
        was_training = [(module, module.training) for module in self.norms.modules()]
        self.norms.eval()  # a single pixel has no batch statistics
        try:
            return self._drawn(context, draw, tick)
        finally:
            for module, training in was_training:
                module.training = training

    def _drawn(self, context: Tensor, draw: Callable[[Tensor], Tensor], tick: Callable[[], object]) -> Tensor:
        embedded = self.embed(context)
        (channels, height, width), reach = self.image_shape, self.reach
        # Inputs of each layer, with the zeros that the convolutions pad with; nothing below a pixel is ever seen.
        sizes = [channels] + [embedded.shape[1]] * (len(self.convs) - 1)
        inputs = [context.new_zeros((len(context), size, reach + height, width + 2 * reach)) for size in sizes]
        layers: list[Any] = list(zip(self.convs, self.norms, strict=True))
        for row in range(height):
            for column in range(width):
                for channel in range(channels):
                    h = embedded[:, :, row, column]
                    for i, (conv, norm) in enumerate(layers):
                        seen = conv.at(inputs[i][:, :, row : row + reach + 1, column : column + 2 * reach + 1])
                        h = norm((seen + h if i == 0 else seen)[:, :, None, None])[:, :, 0, 0].relu()
                        if i + 1 < len(inputs):
                            inputs[i + 1][:, :, row + reach, column + reach] = h
                    y = self._by_output(self.last.at(h[:, :, None, None]))
                    inputs[0][:, channel, row + reach, column + reach] = draw(y[..., channel])
            tick()
        return inputs[0][:, :, reach:, reach : reach + width].clone()


def _on_images(conv: nn.Module, x: Tensor) -> Tensor:
    """A convolution with any number of leading dimensions."""
    y = conv(x.reshape(-1, *x.shape[-3:]))
    return y.reshape(*x.shape[:-3], *y.shape[1:])
