"""Convolutions that see only what comes before in reading order."""

from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import one_of, whole_number
from pyrodgm.processes import register_state

MaskType = Literal["A", "B"]


class MaskedConv2d(nn.Conv2d):
    r"""A convolution each of whose outputs sees the pixels before its own in reading order.

    Rows above are seen whole, of the row itself what is to the left. Channels are divided into ``groups_in_order``
    (red, green and blue, say) of which those at the pixel itself are seen that come before the output's own group (type
    A, for the image itself) or up to it (type B, for features made by a layer of type A). Stride 1; height and width
    are kept.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the kernel, odd.
        mask_type: ``"A"`` or ``"B"``.
        groups_in_order: Number of groups G; channel c of C belongs to group ``c * G // C``.
        bias: Whether a bias is added.

    Shape:
        ``[N, in_channels, height, width]`` to ``[N, out_channels, height, width]``.

    Raises:
        ValueError: If the kernel size is even, the mask type is unknown or channels cannot be divided into the groups.

    Source: van den Oord et al. (2016), arXiv 1601.06759, section 3.4.

    Example:
        >>> layer = MaskedConv2d(1, 1, 3, "A", bias=False)
        >>> _ = nn.init.ones_(layer.weight)
        >>> layer(torch.ones(1, 1, 2, 3))
        tensor([[[[0., 1., 1.],
                  [2., 4., 3.]]]], grad_fn=<ConvolutionBackward0>)
    """

    mask: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        mask_type: MaskType,
        groups_in_order: int = 1,
        bias: bool = True,
    ) -> None:
        in_channels, out_channels = whole_number("in_channels", in_channels), whole_number("out_channels", out_channels)
        kernel_size = whole_number("kernel_size", kernel_size)
        groups_in_order = whole_number("groups_in_order", groups_in_order)
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        one_of("mask_type", mask_type, get_args(MaskType))
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups_in_order:
                raise ValueError(f"{name} must be a multiple of the {groups_in_order} groups, got {channels}")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)
        middle, order = kernel_size // 2, torch.arange(groups_in_order)
        target = order.repeat_interleave(out_channels // groups_in_order)[:, None]
        source = order.repeat_interleave(in_channels // groups_in_order)
        mask = torch.zeros_like(self.weight)
        mask[:, :, :middle] = 1.0
        mask[:, :, middle, :middle] = 1.0
        mask[:, :, middle, middle] = (source < target if mask_type == "A" else source <= target).to(mask)
        register_state(self, "replicated", "mask", mask, persistent=False)
        nn.init.normal_(self.weight, std=(2.0 / (float(mask[-1].sum()) or 1.0)) ** 0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.mask, self.bias)

    def at(self, window: Tensor) -> Tensor:
        """The output at one pixel, ``[N, out_channels]``, from what is around and above it.

        Args:
            window: ``[N, in_channels, kernel_size // 2 + 1, kernel_size]``, the pixel in the middle of the last row;
                zeros outside the image.
        """
        seen = (self.weight * self.mask)[:, :, : window.shape[-2]].flatten(1)
        return F.linear(window.flatten(1), seen, self.bias)

    def extra_repr(self) -> Any:
        return f"{super().extra_repr()}, weights_seen={int(self.mask.sum())}"
