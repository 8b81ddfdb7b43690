"""What each output sees, by gradients."""

import pytest
import torch
from torch import nn

from pyrodgm.nn import MaskedConv2d

H, W = 4, 5


def seen(layer, groups):
    """``[out channel, row, column, in channel, row, column]``: whether the output moves with the input."""
    x = torch.randn(1, layer.in_channels, H, W)
    return torch.autograd.functional.jacobian(layer, x)[0, :, :, :, 0] != 0


@pytest.mark.parametrize("kind", ["A", "B"])
@pytest.mark.parametrize(("groups", "size"), [(1, 3), (1, 5), (3, 3)])
def test_outputs_see_what_comes_before_them_within_the_kernel(kind, groups, size):
    layer = MaskedConv2d(2 * groups, groups, size, kind, groups)
    nn.init.uniform_(layer.weight, 0.5, 1.0)
    found = seen(layer, groups)
    for o in range(groups):
        for r in range(H):
            for c in range(W):
                expected = torch.zeros(2 * groups, H, W, dtype=torch.bool)
                reach = size // 2
                for i in range(2 * groups):
                    for rr in range(H):
                        for cc in range(W):
                            near = abs(rr - r) <= reach and abs(cc - c) <= reach
                            before = (rr, cc) < (r, c)
                            here = (rr, cc) == (r, c) and (i // 2 < o if kind == "A" else i // 2 <= o)
                            expected[i, rr, cc] = near and (before or here)
                assert torch.equal(found[o, r, c], expected)


def test_one_pixel_alone_is_what_the_whole_gives_there():
    layer, x = MaskedConv2d(2, 3, 5, "B"), torch.randn(4, 2, H, W)
    with torch.no_grad():
        layer.bias.normal_()
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    for r, c in ((0, 0), (1, 3), (3, 4)):
        assert torch.allclose(layer.at(padded[:, :, r : r + 3, c : c + 5]), layer(x)[:, :, r, c])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="kernel_size must be odd, got 2"):
        MaskedConv2d(1, 1, 2, "A")
    with pytest.raises(ValueError, match="mask_type must be one of A, B, got 'C'"):
        MaskedConv2d(1, 1, 3, "C")
    with pytest.raises(ValueError, match="out_channels must be a multiple of the 3 groups, got 4"):
        MaskedConv2d(3, 4, 3, "A", 3)
