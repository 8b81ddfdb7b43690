import pytest
import torch
from torch import nn

from pyrodgm.nn import Dense, GatedDense, ResidualDense, mlp


def test_gated_layer_is_a_linear_map_times_a_gate():
    layer = GatedDense(5, 3)
    x = torch.randn(4, 2, 5)
    a, b = layer.linear.weight.split(3)
    c, d = layer.linear.bias.split(3)
    assert torch.allclose(layer(x), (x @ a.T + c) * torch.sigmoid(x @ b.T + d))


def test_dense_layer_is_a_linear_map_and_an_activation():
    layer = Dense(5, 3, nn.Tanh)
    x = torch.randn(4, 5)
    assert torch.allclose(layer(x), torch.tanh(x @ layer.linear.weight.T + layer.linear.bias))


@pytest.mark.parametrize("hidden", [[], [7], [7, 9]])
@pytest.mark.parametrize("layer", [GatedDense, Dense])
def test_mlp_has_the_layers_asked_for(hidden, layer):
    net = mlp(5, hidden, 2, layer)
    assert [type(m) for m in net] == [layer] * len(hidden) + [nn.Linear]
    assert net(torch.randn(3, 4, 5)).shape == (3, 4, 2)


def test_initial_weights_are_he_normal_with_zero_bias():
    linear = mlp(400, [], 300)[0]
    assert linear.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert not linear.bias.any()


def test_residual_dense_skips_where_the_sizes_agree():
    first, *middle, last = mlp(7, [5, 5, 5], 2, layer=ResidualDense)
    x = torch.randn(4, 7)
    hidden = torch.relu(first.linear(x))
    torch.testing.assert_close(first(x), hidden)
    for layer in middle:
        torch.testing.assert_close(layer(hidden), hidden + torch.relu(layer.linear(hidden)))
        hidden = layer(hidden)
    assert (len(middle), last(hidden).shape) == (2, (4, 2))
