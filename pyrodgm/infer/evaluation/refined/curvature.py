"""Gauss-Newton curvature J'J of each family's negative log-density, where J is the Jacobian of features of the site.

:func:`fisher_features` gives the features of observed sites and :func:`prior_features` those of latent sites; J is
their Jacobian with respect to the latents. Register further families with ``@fisher_features.register`` or
``@prior_features.register``.
"""

import math
from functools import singledispatch
from typing import Any

import torch
from pyro.distributions.torch_distribution import MaskedDistribution
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Cauchy,
    ContinuousBernoulli,
    Exponential,
    Independent,
    Laplace,
    LogNormal,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    OneHotCategorical,
    Poisson,
    StudentT,
)

from pyrodgm.distributions import (
    DiagNormalMixture,
    DiscretizedLogistic,
    IsotropicNormalMixture,
    NegativeBinomialCounts,
    NormalLogit,
    PoissonCounts,
    Sentences,
    ZeroInflatedNegativeBinomialCounts,
)
from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.tracing._compat import mask_of_distribution

KEPT = 0.5  # smallest share of a curvature that a subtraction leaves in any direction
FLOORS = (1e-9, 1e-7, 1e-5, 1e-3)  # shares of the mean diagonal added until a Cholesky factor exists; float32: 1e-7


class NoCurvatureError(PyrodgmError, TypeError):
    """Raised for a family of distributions whose curvature is not registered."""


@singledispatch
def fisher_features(fn: Any) -> list[Tensor]:
    r"""Features of an observed site, ``[*batch, n]`` each: :math:`F^{1/2} \eta`, with F held fixed.

    F is the Fisher information of the family in the parameters :math:`\eta`, so the curvature
    :math:`J_\eta^\top F J_\eta` is that of the expected log-likelihood, and is never negative.

    Raises:
        NoCurvatureError: For a family that is not registered.
    """
    raise NoCurvatureError(f"the Fisher information of {type(fn).__name__} is not known")


def observed_features(fn: Any, value: Tensor) -> list[Tensor]:
    """:func:`fisher_features` of an observed site; for sentences, of each symbol given the symbols before it."""
    return fisher_features(fn.conditionals(value) if isinstance(fn, Sentences) else fn)


@fisher_features.register(Independent)
def _(fn: Any) -> list[Tensor]:
    return [part.flatten(-1 - fn.reinterpreted_batch_ndims) for part in fisher_features(fn.base_dist)]


@fisher_features.register
def _(fn: MaskedDistribution) -> list[Tensor]:
    mask = mask_of_distribution(fn)
    parts = fisher_features(fn.base_dist)
    return [part * (mask.unsqueeze(-1) if isinstance(mask, Tensor) else float(mask)) for part in parts]


@fisher_features.register
def _(fn: Bernoulli) -> list[Tensor]:
    logits = fn.logits
    fixed = logits.detach()
    return [((fixed.sigmoid() * (-fixed).sigmoid()).sqrt() * logits).unsqueeze(-1)]


@fisher_features.register(Categorical)
@fisher_features.register(OneHotCategorical)
def _(fn: Any) -> list[Tensor]:
    probs = fn.logits.detach().softmax(-1)
    return [probs.sqrt() * (fn.logits - (probs * fn.logits).sum(-1, keepdim=True))]


@fisher_features.register
def _(fn: Normal) -> list[Tensor]:
    return [(fn.loc / fn.scale.detach()).unsqueeze(-1), (math.sqrt(2.0) * fn.scale.log()).unsqueeze(-1)]


@fisher_features.register(StudentT)
@fisher_features.register(Cauchy)
@fisher_features.register(Laplace)
def _(fn: Any) -> list[Tensor]:
    of_location = _of_location(fn)
    of_scale = 2.0 * fn.df / (fn.df + 3.0) if isinstance(fn, StudentT) else of_location  # in log scale
    scaled = of_location.sqrt() * fn.loc / fn.scale.detach()
    return [scaled.unsqueeze(-1), (of_scale.sqrt() * fn.scale.log()).unsqueeze(-1)]


def _of_location(fn: Any) -> Tensor:
    """Fisher information of the location times the squared scale; for Cauchy and Laplace also that of log scale."""
    if isinstance(fn, StudentT):
        return (fn.df + 1.0) / (fn.df + 3.0)
    return torch.full_like(fn.loc, 0.5 if isinstance(fn, Cauchy) else 1.0)


@fisher_features.register
def _(fn: LogNormal) -> list[Tensor]:
    return fisher_features(fn.base_dist)


@fisher_features.register
def _(fn: Poisson) -> list[Tensor]:
    return [(2.0 * fn.rate.sqrt()).unsqueeze(-1)]


@fisher_features.register
def _(fn: Exponential) -> list[Tensor]:
    return [fn.rate.log().unsqueeze(-1)]


@fisher_features.register(Binomial)
@fisher_features.register(ContinuousBernoulli)
def _(fn: Any) -> list[Tensor]:
    return [(fn.variance.detach().sqrt() * fn.logits).unsqueeze(-1)]


@fisher_features.register(MultivariateNormal)
@fisher_features.register(LowRankMultivariateNormal)
def _(fn: Any) -> list[Tensor]:
    """Features of the mean only."""
    factor = fn.scale_tril.detach()
    return [torch.linalg.solve_triangular(factor, fn.loc.unsqueeze(-1), upper=False).squeeze(-1)]


@fisher_features.register
def _(fn: DiscretizedLogistic) -> list[Tensor]:
    """Exact for bins of width delta << s or delta >> s, where the information is 1/(3 s^2) or 1/(s delta)."""
    scale, width = fn.log_scale.detach().exp(), 1.0 / (fn.num_bins - 1)
    of_loc = 1.0 / (3.0 * scale.square() + scale * width)
    of_scale = 1.0 / (9.0 / (3.0 + math.pi**2) + 3.0 * width / (math.pi**2 * scale))
    return [(of_loc.sqrt() * fn.loc).unsqueeze(-1), (of_scale.sqrt() * fn.log_scale).unsqueeze(-1)]


@fisher_features.register
def _(fn: PoissonCounts) -> list[Tensor]:
    return [((0.5 * fn.log_mean.detach()).exp() * fn.log_mean).unsqueeze(-1)]


@fisher_features.register
def _(fn: NegativeBinomialCounts) -> list[Tensor]:
    """Features of the log mean only: its information mu theta / (mu + theta) is orthogonal to that of theta."""
    return [(_of_log_mean(fn).sqrt() * fn.log_mean).unsqueeze(-1)]


@fisher_features.register
def _(fn: ZeroInflatedNegativeBinomialCounts) -> list[Tensor]:
    """Features of log mean and gate logit, by the Cholesky factor of their exact Fisher information."""
    weight, gate = _of_log_mean(fn), fn.gate_logits.detach().sigmoid()
    kept, zero = 1.0 - gate, fn.base.log_prob(torch.zeros_like(weight)).detach().exp()
    zeros = gate + kept * zero
    of_mean = kept * weight * (1.0 - zero * weight * gate / zeros)
    both = -gate * kept * zero * weight / zeros
    of_gate = gate.square() * kept * (1.0 - zero) / zeros
    tiny = torch.finfo(weight.dtype).tiny
    first = of_mean.clamp(min=tiny).sqrt()
    second = (of_gate - both.square() / of_mean.clamp(min=tiny)).clamp(min=0.0).sqrt()
    return [
        (first * fn.log_mean + both / first * fn.gate_logits).unsqueeze(-1),
        (second * fn.gate_logits).unsqueeze(-1),
    ]


def _of_log_mean(fn: NegativeBinomialCounts | ZeroInflatedNegativeBinomialCounts) -> Tensor:
    """Fisher information of negative binomial counts in the logarithm of their mean."""
    log_mean, log_theta = fn.log_mean.detach(), fn.log_inverse_dispersion.detach()
    return (log_mean + log_theta - torch.logaddexp(log_mean, log_theta)).exp()


@singledispatch
def prior_features(fn: Any, value: Tensor) -> list[Tensor]:
    """Features of a latent site at ``value``, ``[*batch, n]`` each, whose J'J is the curvature of its prior.

    Raises:
        NoCurvatureError: For a family that is not registered.
    """
    raise NoCurvatureError(f"the curvature of {type(fn).__name__} as a prior is not known")


@prior_features.register(Independent)
def _(fn: Any, value: Tensor) -> list[Tensor]:
    return [part.flatten(-1 - fn.reinterpreted_batch_ndims) for part in prior_features(fn.base_dist, value)]


@prior_features.register(Normal)
@prior_features.register(NormalLogit)
def _(fn: Any, value: Tensor) -> list[Tensor]:
    return [((value - fn.loc) / fn.scale).unsqueeze(-1)]


@prior_features.register(MultivariateNormal)
@prior_features.register(LowRankMultivariateNormal)
def _(fn: Any, value: Tensor) -> list[Tensor]:
    factor = fn.scale_tril.expand(*value.shape, value.shape[-1])
    return [torch.linalg.solve_triangular(factor, (value - fn.loc).unsqueeze(-1), upper=False).squeeze(-1)]


@prior_features.register(StudentT)
@prior_features.register(Cauchy)
@prior_features.register(Laplace)
def _(fn: Any, value: Tensor) -> list[Tensor]:
    """Uses the Fisher information of the location, since the curvature itself is negative or zero in the tails."""
    return [(_of_location(fn).sqrt() * (value - fn.loc) / fn.scale).unsqueeze(-1)]


@prior_features.register
def _(fn: DiagNormalMixture, value: Tensor) -> list[Tensor]:
    return [fn.mean_precision(value.detach()).detach().sqrt() * value]


@prior_features.register
def _(fn: IsotropicNormalMixture, value: Tensor) -> list[Tensor]:
    return [value / fn.scale.detach().unsqueeze(-1)]


def curvature(features: list[Tensor]) -> Tensor:
    """Mean over points of J'J, ``[B, D, D]``, from tangents of features, ``[D, points, B, n]`` each."""
    terms = [part.permute(2, 0, 1, 3).flatten(2) for part in features]
    return sum((part @ part.mT for part in terms[1:]), terms[0] @ terms[0].mT) / features[0].shape[1]


def without(matrix: Tensor, part: Tensor) -> Tensor:
    """Subtract one positive semidefinite matrix from another, ``[*, D, D]``, in float64.

    The difference keeps at least the share :data:`KEPT` of ``matrix`` in every direction. A ``part`` with entries that
    are not finite is not subtracted.
    """
    factor = positive_definite(matrix)
    inverse = torch.linalg.inv(factor)
    relative = inverse @ part.double() @ inverse.mT
    relative = torch.where(relative.isfinite().all(-1).all(-1)[..., None, None], relative, 0.0)
    values, vectors = torch.linalg.eigh(relative)
    turned = factor @ vectors
    return turned @ torch.diag_embed((1.0 - values).clamp(min=KEPT, max=1.0)) @ turned.mT


def positive_definite(matrix: Tensor) -> Tensor:
    """Cholesky factors, in float64, of symmetric matrices ``[*, D, D]``, with jitter added to the diagonal.

    The jitter is the smallest share of the mean diagonal in :data:`FLOORS` for which a factor exists. Where none does,
    or an entry is not finite, the factor is that of the diagonal matrix.
    """
    matrix = matrix.double()
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    factor = torch.diag_embed(torch.where((diagonal > 0.0) & diagonal.isfinite(), diagonal, 1.0).sqrt())
    lacking = torch.ones_like(diagonal[..., 0], dtype=torch.bool)
    for share in FLOORS:
        added = torch.diag_embed((share * diagonal.mean(-1, keepdim=True)).expand_as(diagonal))
        found, info = torch.linalg.cholesky_ex(matrix + added)
        fine = lacking & (info == 0) & found.isfinite().all(-1).all(-1)
        factor, lacking = torch.where(fine[..., None, None], found, factor), lacking & ~fine
        if not lacking.any():
            break
    return factor
