"""A check that a prior draws what it says, for priors that others write."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Beta, Dirichlet, Independent, Normal, constraints

DRAWS, POINTS = 40_000, 200_000


def check_prior(prior: Any, wide: Any = None) -> None:
    """Check draws of a prior against its density: moments of draws are integrals of the density.

    Integrals are sums over draws of a wider distribution, weighted. Means, squares, products of neighbours and sines
    must agree within five standard errors, and the density must integrate to 1.

    Args:
        prior: Called with nothing, returns a distribution over vectors without a batch.
        wide: A distribution with heavier tails and the same support; by default a Normal of twice the spread, a Beta
            inside the unit interval and a Dirichlet on the simplex.

    Raises:
        AssertionError: If an integral differs; says which.

    Example:
        >>> from pyrodgm.priors import StandardNormal
        >>> _ = torch.manual_seed(0)
        >>> check_prior(StandardNormal(2))
    """
    with torch.no_grad():
        distribution = prior()
        z = distribution.sample((DRAWS,))
        wide = _wide(distribution.support, z) if wide is None else wide
        y = wide.sample((POINTS,))
        weight = (distribution.log_prob(y) - wide.log_prob(y)).exp()
        error = 5.0 * weight.std() / POINTS**0.5
        assert (weight.mean() - 1.0).abs() < error, f"the density must integrate to 1, got {weight.mean():.4f}"
        for name, function in FUNCTIONS.items():
            direct, integral = function(z), weight[:, None] * function(y)
            error = 5.0 * (direct.var(0) / len(z) + integral.var(0) / len(y)).sqrt()
            found, right = direct.mean(0), integral.mean(0)
            fine = ((found - right).abs() < error).all()
            assert fine, f"the mean {name} of draws must be that of the density, {right}, got {found}"


FUNCTIONS = {
    "value": lambda v: v,
    "square": lambda v: v**2,
    "product with the next coordinate": lambda v: v * v.roll(1, -1),
    "sine": lambda v: torch.sin(3 * v),
}


def _wide(support: Any, z: Tensor) -> Any:
    half, beyond = torch.full_like(z[0], 0.5), torch.full_like(z[0], 1.5)
    if support is constraints.simplex:
        return Dirichlet(torch.ones_like(z[0]))
    if support.check(half).all() and not support.check(beyond).all():
        ends = torch.full_like(z[0], 0.3)
        return Independent(Beta(ends, ends), 1)
    return Independent(Normal(z.mean(0), 2.0 * z.std(0)), 1)
