"""The machine on two full layers."""

from typing import final

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.boltzmann.annealed_importance import LogPartition, annealed_importance_sampling
from pyrodgm.boltzmann.energy import (
    check_parameters,
    check_states,
    left_field,
    negative_energy,
    right_field,
)
from pyrodgm.boltzmann.exact import (
    FAST_UNITS,
    MAX_UNITS,
    can_enumerate,
    exact_log_partition,
    exact_moments,
    exact_samples,
)
from pyrodgm.boltzmann.gibbs import gibbs_sweeps
from pyrodgm.boltzmann.layers import Kinds, Layers, check_kinds
from pyrodgm.boltzmann.looked_up import fields_of_sweeps
from pyrodgm.boltzmann.machine import Machine, Swept
from pyrodgm.boltzmann.marginal import log_marginal
from pyrodgm.boltzmann.mean_field import mean_field_log_partition
from pyrodgm.boltzmann.moments import Moments, attach_moments, sample_moments
from pyrodgm.boltzmann.units import BITS, Units


@final
class BipartiteMachine(Machine):
    r"""Left and right units, each coupled to all of the other side: sweeps are dense matrix products.

    .. math:: -E(z) = l^\top W r + b^\top l + c^\top r, \qquad z = [l, r]

    Args:
        weights: ``[*batch, L, R]``, real; W.
        left_bias: ``[*batch, L]``, real; b.
        right_bias: ``[*batch, R]``, real; c.
        units: The kind of the units, or those of the left and of the right ones: in {0, 1} by default. L and R count
            their columns, K for each unit of ``Potts(K)``.
        check: Whether to look at shapes and values.

    Raises:
        ValueError: If the shapes do not fit, values are not finite, or both sides are Gaussian.

    Example:
        >>> machine = BipartiteMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
        >>> machine.log_partition()  # 5 log 2
        tensor(3.4657)
        >>> from pyrodgm.boltzmann import Bits, Gaussian
        >>> machine = BipartiteMachine(torch.ones(3, 1), torch.zeros(3), torch.zeros(1), (Gaussian(), Bits()))
        >>> machine.log_partition()  # log(1 + exp(3 / 2))
        tensor(1.7014)
    """

    def __init__(
        self,
        weights: Tensor,
        left_bias: Tensor,
        right_bias: Tensor,
        units: Units | Kinds = BITS,
        *,
        check: bool = True,
    ) -> None:
        self.kinds = units if isinstance(units, tuple) else (units, units)
        if check:
            check_parameters(weights, left_bias, right_bias)
            check_kinds(self.kinds, weights.shape[-2:])
        self.weights, self.left_bias, self.right_bias = weights, left_bias, right_bias

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weights, self.left_bias, self.right_bias

    @property
    def batch_shape(self) -> torch.Size:
        return torch.broadcast_shapes(self.weights.shape[:-2], self.left_bias.shape[:-1], self.right_bias.shape[:-1])

    @property
    def num_units(self) -> int:
        return sum(self.weights.shape[-2:])

    @property
    def units(self) -> Units:
        left, right = self.weights.shape[-2:]
        return self.kinds[0] if self.kinds[0] == self.kinds[1] else Layers(self.kinds, (left, right))

    @property
    def biases(self) -> Tensor:
        batch = torch.broadcast_shapes(self.left_bias.shape[:-1], self.right_bias.shape[:-1])
        return torch.cat([t.expand(batch + t.shape[-1:]) for t in (self.left_bias, self.right_bias)], -1)

    def split(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """The left part ``[*, L]`` and the right part ``[*, R]`` of ``states`` ``[*, L + R]``."""
        check_states("states", states, self.num_units)
        left, right = states.split(self.weights.shape[-2:], -1)
        return left, right

    def coupling_matrix(self) -> Tensor:
        left, right = self.weights.shape[-2:]
        none = self.weights.new_zeros((*self.weights.shape[:-2], left, left))
        other = self.weights.new_zeros((*self.weights.shape[:-2], right, right))
        return torch.cat([torch.cat([none, self.weights], -1), torch.cat([self.weights.mT, other], -1)], -2)

    def replace(self, *parameters: Tensor) -> "BipartiteMachine":
        weights, left_bias, right_bias = parameters
        return BipartiteMachine(weights, left_bias, right_bias, self.kinds)

    def expand(self, batch_shape: torch.Size) -> "BipartiteMachine":
        left, right = (t.expand(batch_shape + t.shape[-1:]) for t in (self.left_bias, self.right_bias))
        weights = self.weights.expand(batch_shape + self.weights.shape[-2:])
        return BipartiteMachine(weights, left, right, self.kinds, check=False)

    def detach(self) -> "BipartiteMachine":
        weights, left_bias, right_bias = (t.detach() for t in self.parameters)
        return BipartiteMachine(weights, left_bias, right_bias, self.kinds, check=False)

    def __repr__(self) -> str:
        left, right = self.weights.shape[-2:]
        kinds = "" if self.units == BITS else f", {self.units!r}"
        return f"BipartiteMachine({left} + {right} units{kinds})"

    def shifted(self, biases: Tensor) -> "BipartiteMachine":
        left, right = self.split(biases)
        return BipartiteMachine(self.weights, self.left_bias + left, self.right_bias + right, self.kinds, check=False)

    def negative_energy(self, states: Tensor) -> Tensor:
        return negative_energy(*self.parameters, *self.split(states))

    def fields(self, states: Tensor) -> Tensor:
        left, right = self.split(states)
        logits = left_field(self.weights, self.left_bias, right), right_field(self.weights, self.right_bias, left)
        return torch.cat(logits, -1)

    def log_marginal(self, visible: Tensor) -> Tensor:
        check_states("visible", visible, self.weights.shape[-2])
        return log_marginal(*self.parameters, visible, self.kinds)

    def can_sum(self, fast: bool = False) -> bool:
        return can_enumerate(self.weights, FAST_UNITS if fast else MAX_UNITS, self.kinds)

    def log_partition(self) -> Tensor:
        return exact_log_partition(*self.parameters, units=self.kinds)

    def exact_moments(self) -> Moments:
        return exact_moments(*self.parameters, units=self.kinds)

    def exact_samples(self, num_samples: int) -> Tensor:
        return torch.cat(exact_samples(*self.parameters, num_samples, units=self.kinds), -1)

    def mean_field(self, num_iterations: int = 5) -> Tensor:
        return mean_field_log_partition(*self.parameters, num_iterations, self.kinds)

    @torch.no_grad()
    def sweep(
        self,
        states: Tensor | Swept,
        num_sweeps: int = 1,
        beta: Tensor | float = 1.0,
        base: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Swept:
        weights, left_bias, right_bias = self.parameters
        left_units, right_units = self.kinds
        parts = states.parts if isinstance(states, Swept) else (states,)
        left, right = parts if len(parts) == 2 else self.split(parts[0])
        left = left if rows is None else left[rows]
        scale = torch.as_tensor(beta).to(weights)
        scale = scale.unsqueeze(-1) if scale.dim() else scale
        left_base, right_base = (None, None) if base is None else self.split((1.0 - scale) * base)
        num_sweeps = whole_number("num_sweeps", num_sweeps)
        for to_right, to_left in fields_of_sweeps(weights, (left_bias, right_bias), self.kinds, left, num_sweeps):
            field = to_right(left).mul_(scale)
            right = right_units.draw(field if right_base is None else field.add_(right_base))
            own = to_left(right)
            field = own * scale
            left = left_units.draw(field if left_base is None else field.add_(left_base))
        return Swept((left, right), (left * own).sum(-1) + right @ right_bias)

    def gibbs(self, states: Tensor, num_sweeps: int = 1) -> Tensor:
        return torch.cat(gibbs_sweeps(*self.parameters, self.split(states)[0], num_sweeps, self.kinds), -1)

    @torch.no_grad()
    def sample_moments(self, states: Tensor, weights: Tensor | None = None) -> Moments:
        left, right = self.split(states)
        if weights is None:
            return sample_moments(*self.parameters, left, right, self.kinds)
        left_mean = self.kinds[0].mean(left_field(self.weights, self.left_bias, right))
        right_mean = self.kinds[1].mean(right_field(self.weights, self.right_bias, left))
        share = weights.to(left).unsqueeze(0)
        return Moments((left * share.mT).mT @ right_mean, (share @ left_mean)[0], (share @ right_mean)[0])

    def estimate_log_partition(
        self, num_temperatures: int = 1000, num_chains: int = 1024, base: Tensor | None = None
    ) -> LogPartition:
        sides = None if base is None else self.split(base)
        return annealed_importance_sampling(*self.parameters, num_temperatures, num_chains, sides, self.kinds)

    def attach_moments(self, log_partition: Tensor, moments: tuple[Tensor, ...]) -> Tensor:
        return attach_moments(log_partition, *self.parameters, Moments(*moments))
