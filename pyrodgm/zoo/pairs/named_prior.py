"""The prior of one layer of latents by its name among the flags of a system."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal

PriorName = Literal["standard", "mixture", "vampprior", "sticks"]


def named_prior(
    name: PriorName, size: int, components: int, vampprior: Callable[[], nn.Module], concentration: float = 1.0
) -> nn.Module:
    """A standard normal, a mixture of Gaussians, sticks of a Dirichlet process, or what ``vampprior`` makes.

    Args:
        name: Which.
        size: Number of latents, or of sticks.
        components: Components of a mixture.
        vampprior: Makes the VampPrior, with pseudo-inputs that suit the data.
        concentration: That of the sticks.
    """
    if name == "standard":
        return StandardNormal(size)
    if name == "mixture":
        return MixtureOfGaussians(size, components)
    return GEMPrior(size, concentration) if name == "sticks" else vampprior()
