"""Mixture of very many Normals that share one isotropic variance."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import finite_number, real_tensors
from pyrodgm.distributions.parameters import refuse_infinite


class IsotropicNormalMixture(TorchDistribution):
    r"""Mixture of ``K`` Normals in ``D`` dimensions, all with the covariance :math:`\text{scale}^2 I`.

    .. math:: p(z) = \text{share} \cdot \sum_k \mathrm{softmax}(\text{logits})_k \, N(z \mid \text{loc}_k,
        \text{scale}^2 I)

    Its density is one matrix product, in the dtype of its parameters, of locations taken from their mean: it is meant
    for tens of thousands of components. Its rounding error in float32 grows as :math:`10^{-7} |z|^2 / \text{scale}^2`.
    :class:`DiagNormalMixture` is exact for narrower components, has variances of their own, and reparameterised
    samples.

    Args:
        logits: ``[*batch, K]``, real or minus infinity; unnormalised log weights.
        loc: ``[*batch, K, D]``, real; ``[K, D]`` is shared by the whole batch.
        scale: ``[*batch]``, positive.
        log_share: ``[*batch]``, at most 0, in nats. Below 0 the mixture is a part of a larger one, whose density it
            bounds from below: ``log_prob`` is that of the normalised part plus ``log_share``.

    Raises:
        ValueError: the shapes do not fit, or a parameter is outside its range.

    Source: Norouzi, Fleet, Norouzi (2020), arXiv 2004.04795.

    >>> mixture = IsotropicNormalMixture(torch.zeros(50_000), torch.randn(50_000, 2), torch.tensor(0.1))
    >>> mixture.log_prob(torch.zeros(7, 2)).shape
    torch.Size([7])
    """

    arg_constraints = {  # noqa: RUF012
        "logits": constraints.independent(constraints.less_than(math.inf), 1),
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.positive,
        "log_share": constraints.less_than(1e-3),
    }
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        log_share: Tensor | float = 0.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        real_tensors(logits=logits, loc=loc, scale=scale)
        if logits.dim() < 1 or loc.dim() < 2 or logits.shape[-1] != loc.shape[-2]:
            raise ValueError(
                f"logits and loc must be [*batch, K] and [*batch, K, D], got {list(logits.shape)} and {list(loc.shape)}"
            )
        log_share = log_share if isinstance(log_share, Tensor) else finite_number("log_share", log_share)
        log_share = torch.as_tensor(log_share, dtype=scale.dtype, device=scale.device)
        self._given = (logits, loc, scale, log_share)
        batch_shape = torch.broadcast_shapes(logits.shape[:-1], loc.shape[:-2], scale.shape, log_share.shape)
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)
        refuse_infinite(self, loc=loc, scale=scale, log_share=log_share)

    # The arithmetic runs on the tensors as given: their expanded views would be broadcast in full.
    @property
    def logits(self) -> Tensor:
        return self._given[0].expand(*self.batch_shape, -1)

    @property
    def loc(self) -> Tensor:
        return self._given[1].expand(*self.batch_shape, -1, -1)

    @property
    def scale(self) -> Tensor:
        return self._given[2].expand(self.batch_shape)

    @property
    def log_share(self) -> Tensor:
        return self._given[3].expand(self.batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "IsotropicNormalMixture":
        new = self._get_checked_instance(IsotropicNormalMixture, _instance)
        new._given = self._given
        super(IsotropicNormalMixture, new).__init__(torch.Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        joint, log_base = self._joint(value)
        # logsumexp by way of log_softmax: exp is ten times slower where it underflows, log_softmax is not.
        result = joint.amax(-1) - joint.log_softmax(-1).amax(-1) + log_base + self._given[3]
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    def responsibilities(self, value: Tensor) -> Tensor:
        """Posterior probability of each component given ``value`` ``[*, D]``: ``[*, K]``."""
        posterior = self._joint(value)[0].softmax(-1)
        return posterior.expand(*torch.broadcast_shapes(posterior.shape[:-1], self.batch_shape), -1)

    def _joint(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities ``[*, K]`` of a component and the value, less a term ``[*]`` that all components share."""
        logits, loc, scale, _ = self._given
        middle = loc.mean(-2, keepdim=True)
        loc, value = loc - middle, value - middle.squeeze(-2)
        dtype = torch.promote_types(loc.dtype, value.dtype)
        loc, value = loc.to(dtype), value.to(dtype)
        precision = scale.square().reciprocal().unsqueeze(-1)
        if loc.dim() == 2 and scale.dim() == 0:
            cross = value @ (precision * loc).T
        else:
            cross = precision * (loc @ value.unsqueeze(-1)).squeeze(-1)
        joint = cross + (logits.log_softmax(-1) - 0.5 * precision * loc.square().sum(-1))
        norm = self.event_shape[0] * (scale.log() + 0.5 * math.log(2 * math.pi))
        return joint, -0.5 * precision.squeeze(-1) * value.square().sum(-1) - norm

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            weights = self.logits.softmax(-1).double().cumsum(-1)
            uniform = torch.rand(shape, dtype=weights.dtype, device=weights.device) * weights[..., -1]
            # One search for each element of the batch, over all its samples.
            elements = self.batch_shape.numel()
            rows = uniform.reshape(torch.Size(sample_shape).numel(), elements).T.contiguous()
            table = weights.reshape(elements, weights.shape[-1])
            index = torch.searchsorted(table, rows, right=True).T.reshape(shape)
            index = index.clamp(max=weights.shape[-1] - 1)
            loc = self._given[1]
            if loc.dim() == 2:
                chosen = loc[index]
            else:
                flat = self.loc.reshape(elements, *loc.shape[-2:])
                each = torch.arange(elements, device=loc.device).reshape(self.batch_shape)
                chosen = flat[each.expand(shape), index]
            return chosen + self.scale.unsqueeze(-1) * torch.randn_like(chosen)

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1).unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        spread = (self.loc - self.mean.unsqueeze(-2)).square()
        return self.scale.square().unsqueeze(-1) + (self.logits.softmax(-1).unsqueeze(-1) * spread).sum(-2)
