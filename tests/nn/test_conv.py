"""Gated convolutions against their definition."""

import pytest
import torch
import torch.nn.functional as F

from pyrodgm.nn import GatedConv2d, Images, gated_convs


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_gated_convolution_is_a_convolution_times_its_gate(kernel_size, stride):
    layer, x = GatedConv2d(2, 3, kernel_size, stride), torch.randn(4, 2, 7, 9)
    with torch.no_grad():
        layer.conv.bias.normal_()
    weight, bias, padding = layer.conv.weight, layer.conv.bias, kernel_size // 2
    value = F.conv2d(x, weight[:3], bias[:3], stride, padding)
    gate = F.conv2d(x, weight[3:], bias[3:], stride, padding).sigmoid()
    assert torch.allclose(layer(x), value * gate)
    assert layer(x).shape == (4, 3, -(-7 // stride), -(-9 // stride))


def test_a_stack_has_the_layers_asked_for():
    stack = gated_convs(3, [(8, 7, 1), (4, 3, 2)])
    found = [(f.conv.in_channels, f.conv.out_channels // 2, f.conv.kernel_size[0], f.conv.stride[0]) for f in stack]
    assert found == [(3, 8, 7, 1), (8, 4, 3, 2)]


def test_images_treats_each_image_for_itself_whatever_the_leading_dimensions():
    net = Images(gated_convs(2, [(3, 3, 2)]), (2, 4, 6))
    x = torch.randn(3, 5, 48)
    assert net(x).shape == (3, 5, 3 * 2 * 3)
    assert torch.allclose(net(x)[1, 2], net.net(x[1, 2].reshape(1, 2, 4, 6)).flatten())
    assert torch.allclose(net(x[0, 0]), net(x)[0, 0])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="kernel_size must be odd, got 4"):
        GatedConv2d(1, 1, 4)
    with pytest.raises(ValueError, match=r"expected images of shape \(1, 2, 2\) as vectors, got \[3, 5\]"):
        Images(GatedConv2d(1, 1, 3), (1, 2, 2))(torch.zeros(3, 5))
