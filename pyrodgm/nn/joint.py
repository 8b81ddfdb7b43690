"""Networks of several inputs."""

import math
from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedJoint(nn.Module):
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
        super().__init__()
        if not in_features:
            raise ValueError("in_features must name the size of at least one input, got none")
        linears = [nn.Linear(n, 2 * out_features, bias=i == 0) for i, n in enumerate(in_features)]
        for linear in linears:  # He normal, as of one layer of all inputs
            nn.init.normal_(linear.weight, std=math.sqrt(2.0 / sum(in_features)))
        nn.init.zeros_(linears[0].bias)
        self.linears = nn.ModuleList(linears)

    def forward(self, *inputs: Tensor) -> Tensor:
        return F.glu(reduce(Tensor.add, (f(x) for f, x in zip(self.linears, inputs, strict=True))), dim=-1)


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
        branches: One network an input; :class:`torch.nn.Identity` hands an input on as it is.
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
        self.branches = nn.ModuleList(branches)
        self.join, self.head = join, nn.Identity() if head is None else head

    def forward(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != len(self.branches):
            raise ValueError(f"expected {len(self.branches)} inputs, one a branch, got {len(inputs)}")
        return self.head(self.join(*(branch(x) for branch, x in zip(self.branches, inputs, strict=True))))
