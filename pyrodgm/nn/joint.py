"""Networks of several inputs."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyrodgm.arithmetic.arguments import callables, whole_number, whole_numbers
from pyrodgm.nn.dense import Dense, Layer, mlp


class _LinearJoint(nn.Module):
    """The sum of a linear map of each input, with initial weights as of one map of all of them."""

    def __init__(self, in_features: Sequence[int], out_features: int) -> None:
        super().__init__()
        in_features, out_features = (
            whole_numbers("in_features", in_features),
            whole_number("out_features", out_features),
        )
        if not in_features:
            raise ValueError("in_features must name the size of at least one input, got none")
        linears = [nn.Linear(n, out_features, bias=i == 0) for i, n in enumerate(in_features)]
        for linear in linears:  # He normal, as of one layer of all inputs
            nn.init.normal_(linear.weight, std=math.sqrt(2.0 / sum(in_features)))
        nn.init.zeros_(linears[0].bias)
        self.linears = nn.ModuleList(linears)

    def _total(self, *inputs: Tensor) -> Tensor:
        return reduce(Tensor.add, (f(x) for f, x in zip(self.linears, inputs, strict=True)))


class DenseJoint(_LinearJoint):
    r"""A dense layer of several inputs as of their concatenation, :math:`f\bigl(\sum_i A_i x_i + a\bigr)`.

    The inputs broadcast over each other's leading dimensions and are never concatenated, so that a batch of images is
    multiplied once, however many labels each of them is paired with.

    Args:
        in_features: Size of the last dimension of each input.
        out_features: Size of the last dimension of the output.
        activation: Makes the activation module.

    Shape:
        ``[*, in_features[i]]`` each, to ``[*, out_features]``.

    Raises:
        ValueError: If ``in_features`` is empty.

    Example:
        >>> import torch
        >>> DenseJoint([784, 10], 500)(torch.zeros(100, 784), torch.eye(10).unsqueeze(1)).shape
        torch.Size([10, 100, 500])
    """

    def __init__(
        self, in_features: Sequence[int], out_features: int, activation: Callable[[], nn.Module] = nn.ReLU
    ) -> None:
        super().__init__(in_features, out_features)
        callables(activation=activation)
        self.activation = activation()

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.activation(self._total(*inputs))


class GatedJoint(_LinearJoint):
    r"""A gated layer of several inputs as of their concatenation, :math:`\sum_i A_i x_i + a` times its gate.

    The inputs broadcast over each other's leading dimensions and are never concatenated, so that one without a particle
    dimension is multiplied once for all particles.

    Args:
        in_features: Size of the last dimension of each input.
        out_features: Size of the last dimension of the output.

    Shape:
        ``[*, in_features[i]]`` each, to ``[*, out_features]``.

    Raises:
        ValueError: If ``in_features`` is empty.

    Example:
        >>> import torch
        >>> GatedJoint([300, 40], 300)(torch.zeros(5, 300), torch.zeros(7, 5, 40)).shape
        torch.Size([7, 5, 300])
    """

    def __init__(self, in_features: Sequence[int], out_features: int) -> None:
        super().__init__(in_features, 2 * whole_number("out_features", out_features))

    def forward(self, *inputs: Tensor) -> Tensor:
        return functional.glu(self._total(*inputs), -1)


class Concatenate(nn.Module):
    """Several inputs side by side, broadcast over each other's leading dimensions.

    Shape:
        ``[*, features[i]]`` each, to ``[*, sum(features)]``.

    Example:
        >>> import torch
        >>> Concatenate()(torch.zeros(5, 3), torch.zeros(7, 5, 2)).shape
        torch.Size([7, 5, 5])
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        leading = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
        return torch.cat([x.expand(*leading, x.shape[-1]) for x in inputs], -1)


class Joint(nn.Module):
    """A network for each input, a layer that joins their outputs, and a network of what that gives.

    Args:
        branches: One network per input; :class:`torch.nn.Identity` passes an input through.
        join: Called with the outputs of all branches, as :class:`GatedJoint` and :class:`Concatenate` are.
        head: Called with what ``join`` returns; nothing is done with that by default.

    Shape:
        One tensor a branch, to what ``head`` returns.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import GatedDense, mlp
        >>> net = Joint([GatedDense(784, 300), GatedDense(40, 300)], GatedJoint([300, 300], 300), mlp(300, [], 80))
        >>> net(torch.zeros(5, 784), torch.zeros(7, 5, 40)).shape
        torch.Size([7, 5, 80])
    """

    def __init__(self, branches: Sequence[nn.Module], join: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        if not isinstance(branches, Iterable):
            raise TypeError(f"branches must be a sequence of modules, got {branches!r}")
        branches, head = list(branches), nn.Identity() if head is None else head
        callables(**{f"branches[{i}]": branch for i, branch in enumerate(branches)}, join=join, head=head)
        self.branches = nn.ModuleList(branches)
        self.join, self.head = join, head

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.branches):
            raise ValueError(f"expected {len(self.branches)} inputs, one a branch, got {len(inputs)}")
        return self.head(self.join(*(branch(x) for branch, x in zip(self.branches, inputs, strict=True))))


def joint_mlp(in_features: Sequence[int], hidden: Sequence[int], out_features: int, layer: Layer = Dense) -> Joint:
    """A multilayer perceptron of several inputs: :class:`DenseJoint`, further hidden layers and a linear output layer.

    Args:
        in_features: Size of the last dimension of each input.
        hidden: Sizes of the hidden layers, at least one.
        out_features: Size of the last dimension of the output.
        layer: Makes a hidden layer after the first from its input and output sizes.

    Shape:
        ``[*, in_features[i]]`` each, to ``[*, out_features]``.

    Raises:
        ValueError: If ``hidden`` is empty.

    Example:
        >>> import torch
        >>> joint_mlp([50, 10], [500], 784)(torch.zeros(100, 50), torch.eye(10).unsqueeze(1)).shape
        torch.Size([10, 100, 784])
    """
    in_features, hidden = whole_numbers("in_features", in_features), whole_numbers("hidden", hidden)
    if not hidden:
        raise ValueError("hidden must name the size of at least one hidden layer, got none")
    branches = [nn.Identity() for _ in in_features]
    return Joint(branches, DenseJoint(in_features, hidden[0]), mlp(hidden[0], hidden[1:], out_features, layer))
