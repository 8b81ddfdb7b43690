"""A distribution over groups of variables, each given those before it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic._compat import version_of
from pyrodgm.arithmetic.arguments import callables, whole_numbers

Conditional = Callable[[Sequence[Tensor]], TorchDistribution]


class Hierarchical(TorchDistribution):
    r"""Groups of variables side by side in one vector, each group drawn given those before it.

    .. math:: q(z) = \prod_{i=1}^{G} q(z_i \mid z_{<i}), \qquad z = [z_1, \dots, z_G]

    Args:
        conditional: called with the list of the first i groups, ``[*sample, *batch, D_j]`` each, gives the distribution
            of the next: batch shape ``[*sample, *batch]``, event shape ``[D]``.
        sizes: sizes D of the groups; they add up to the event shape.

    The distributions that the last draw came from are kept, so that its own density needs no second pass through
    networks; this changes no result.
    ``mean`` is that of each group given one draw of those before it. Supports are those of the first group.

    Raises:
        ValueError: there is no group, or a group's size differs from that in ``sizes``: the first at once, others when
        drawn.

    >>> import pyro.distributions as dist
    >>> def conditional(earlier):
    ...     loc = earlier[0][..., :2] if earlier else torch.zeros(5, 3)
    ...     return dist.Normal(loc, 1.0).to_event(1)
    >>> q = Hierarchical(conditional, [3, 2])
    >>> q.batch_shape, q.event_shape, q.log_prob(q.rsample()).shape
    (torch.Size([5]), torch.Size([5]), torch.Size([5]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, conditional: Conditional, sizes: Sequence[int], *, validate_args: bool | None = None) -> None:
        callables(conditional=conditional)
        sizes = whole_numbers("sizes", sizes)
        if not sizes:
            raise ValueError("sizes must name at least one group, got none")
        self.conditional, self.sizes = conditional, list(sizes)
        self.first = self._checked(conditional([]), 0)
        self.has_rsample = self.first.has_rsample
        self._drawn: tuple[Tensor, int, bool, list[TorchDistribution]] | None = None
        super().__init__(self.first.batch_shape, torch.Size([sum(self.sizes)]), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return self.first.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Hierarchical":
        new = self._get_checked_instance(Hierarchical, _instance)
        new.conditional, new.sizes, new.has_rsample = self.conditional, self.sizes, self.has_rsample
        new.first, new._drawn = self.first.expand(torch.Size(batch_shape)), None
        super(Hierarchical, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _checked(self, group: TorchDistribution, i: int) -> TorchDistribution:
        if group.event_shape != (self.sizes[i],):
            raise ValueError(f"sizes[{i}] must be that of group {i}, {list(group.event_shape)}; got {self.sizes[i]}")
        return group

    def _group(self, earlier: Sequence[Tensor]) -> TorchDistribution:
        return self._checked(self.conditional(earlier), len(earlier)) if len(earlier) else self.first

    def _sequence(self, draw: Callable[[TorchDistribution, int], Tensor]) -> tuple[Tensor, list[TorchDistribution]]:
        """The groups that ``draw`` picks from their distributions one by one, side by side, and these distributions."""
        parts: list[Tensor] = []
        groups: list[TorchDistribution] = []
        for i in range(len(self.sizes)):
            groups.append(self._group(parts))
            parts.append(draw(groups[-1], i))
        return torch.cat(parts, -1), groups

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = torch.Size(sample_shape)
        value, groups = self._sequence(lambda group, i: group.rsample(() if i else sample_shape))
        return self._remember(value, groups)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = torch.Size(sample_shape)
        with torch.no_grad():
            value, groups = self._sequence(lambda group, i: group.sample(() if i else sample_shape))
            return self._remember(value, groups)

    def _remember(self, value: Tensor, groups: list[TorchDistribution]) -> Tensor:
        if not value.is_inference():
            self._drawn = value, version_of(value), torch.is_grad_enabled(), groups
        return value

    def groups(self, value: Tensor) -> list[TorchDistribution]:
        """The distribution of each group given those before it in ``value``, ``[*, sum(sizes)]``."""
        if self._drawn is not None:
            drawn, version, with_gradient, groups = self._drawn
            # What a new pass would give, as long as the draw was not written to; without gradients only for none.
            if value is drawn and version == version_of(value) and (with_gradient or not torch.is_grad_enabled()):
                return groups
        # networks concatenate what they are given, which must have all of the batch, and the dtype of draws
        whole = value.expand(*torch.broadcast_shapes(value.shape[:-1], self.batch_shape), value.shape[-1])
        whole = whole.to(_dtype_of(self.first, value.dtype))
        parts = whole.split(self.sizes, -1)
        return [self._group(parts[:i]) for i in range(len(parts))]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        if value.numel() == 0:  # which torch's sums over events refuse
            return value.new_zeros(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))
        groups, parts = self.groups(value), value.split(self.sizes, -1)
        return torch.stack([group.log_prob(part) for group, part in zip(groups, parts, strict=True)]).sum(0)

    @property
    def mean(self) -> Tensor:
        _, groups = self._sequence(lambda group, i: group.sample())
        return torch.cat([group.mean for group in groups], -1)

    @property
    def variance(self) -> Tensor:
        """Variance of each group given one draw of those before it."""
        _, groups = self._sequence(lambda group, i: group.sample())
        return torch.cat([group.variance for group in groups], -1)


def _dtype_of(group: Any, otherwise: torch.dtype) -> torch.dtype:
    """The dtype of a distribution's parameters."""
    while hasattr(group, "base_dist"):
        group = group.base_dist
    given = (getattr(group, name, None) for name in group.arg_constraints)
    return next((p.dtype for p in given if isinstance(p, Tensor)), otherwise)
