"""Fully connected layers and the multilayer perceptrons made of them."""

import itertools
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from pyrodgm.arithmetic.arguments import callables, whole_number, whole_numbers

Layer = Callable[[int, int], nn.Module]


def _linear(in_features: int, out_features: int, bias: bool = True) -> nn.Linear:
    """A linear map with He-normal weights (He et al. 2015, arXiv 1502.01852) and zero bias."""
    in_features, out_features = whole_number("in_features", in_features), whole_number("out_features", out_features)
    linear = nn.Linear(in_features, out_features, bias=bias)
    nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


def _relu() -> nn.ReLU:
    """It writes over its input, which linear maps do not need afterwards: half the memory of a layer."""
    return nn.ReLU(inplace=True)


class Dense(nn.Module):
    r"""A linear map and an activation, :math:`x \mapsto f(Ax + a)`.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        activation: Makes the activation module.

    Shape:
        ``[*, in_features]`` to ``[*, out_features]``.
    """

    def __init__(self, in_features: int, out_features: int, activation: Callable[[], nn.Module] = _relu) -> None:
        super().__init__()
        callables(activation=activation)
        self.linear = _linear(in_features, out_features)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(x))


class ResidualDense(Dense):
    r"""A dense layer with an identity skip where input and output have one size, :math:`x \mapsto x + f(Ax + a)`.

    So ``mlp(784, [500] * 4, 50, layer=ResidualDense)`` has skips around the last three hidden layers, as in Nalisnick
    and Smyth (2017), arXiv 1605.06197, and a plain first one.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        activation: Makes the activation module.

    Shape:
        ``[*, in_features]`` to ``[*, out_features]``.

    Source: He et al. (2015), arXiv 1512.03385.

    Example:
        >>> import torch
        >>> layer = ResidualDense(5, 5)
        >>> bool((layer(torch.ones(5)) >= 1).all())
        True
    """

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        return x + out if self.linear.in_features == self.linear.out_features else out


class GatedDense(nn.Module):
    r"""A linear map times a learned gate, :math:`x \mapsto (Ax + a) \odot \mathrm{sigmoid}(Bx + b)`.

    Both maps are one matrix product. Source: Dauphin et al. (2016), arXiv 1612.08083, as used by Tomczak and Welling
    (2017), arXiv 1705.07120.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.

    Shape:
        ``[*, in_features]`` to ``[*, out_features]``.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = _linear(in_features, 2 * whole_number("out_features", out_features))

    def forward(self, x: Tensor) -> Tensor:
        return functional.glu(self.linear(x), -1)


def mlp(in_features: int, hidden: Sequence[int], out_features: int, layer: Layer = GatedDense) -> nn.Sequential:
    """Hidden layers followed by a linear output layer.

    Args:
        in_features: Size of the last dimension of the input.
        hidden: Sizes of the hidden layers; empty for a linear map.
        out_features: Size of the last dimension of the output.
        layer: Makes a hidden layer from its input and output sizes.

    Shape:
        ``[*, in_features]`` to ``[*, out_features]``.

    Example:
        >>> import torch
        >>> mlp(784, [300, 300], 80)(torch.zeros(5, 784)).shape
        torch.Size([5, 80])
    """
    callables(layer=layer)
    sizes = [whole_number("in_features", in_features), *whole_numbers("hidden", hidden)]
    layers = [layer(a, b) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers, _linear(sizes[-1], out_features))
