"""The two-level VAE of gated dense layers of Tomczak and Welling."""

from collections.abc import Callable

from torch import nn

from pyrodgm.arithmetic.arguments import callables, whole_number, whole_numbers
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import HVAE
from pyrodgm.nn import GatedDense, GatedJoint, Joint, mlp
from pyrodgm.posteriors import GaussianPosterior


def dense_hvae(
    prior: Callable[[nn.Module], nn.Module],
    pixels: int = 784,
    latents: tuple[int, int] = (40, 40),
    hidden: int = 300,
    likelihood: Callable[[nn.Module], nn.Module] = BernoulliLikelihood,
    outputs: int = 1,
    posterior: nn.Module | None = None,
) -> HVAE:
    """The published two-level VAE of gated dense layers.

    Args:
        prior: Makes the prior of ``z2`` from the approximate posterior of ``z2``, which a VampPrior shares.
        pixels: Number of values of an image, D.
        latents: Numbers of dimensions of ``z1`` and ``z2``.
        hidden: Size of the hidden layers.
        likelihood: Makes the likelihood from a network that maps ``z1`` and ``z2`` to ``[*, outputs * D]``.
        outputs: Parameters of the likelihood a pixel.
        posterior: Approximate posterior of ``z2``; by default the published Gaussian.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, section 4.2.

    Example:
        >>> import torch
        >>> from pyrodgm.priors import VampPrior
        >>> hvae = dense_hvae(lambda posterior: VampPrior.around_mean(posterior, 500, torch.full((784,), 0.1)))
        >>> hvae.likelihood(torch.zeros(5, 40), torch.zeros(5, 40)).mean.shape
        torch.Size([5, 784])
    """
    callables(prior=prior, likelihood=likelihood)
    lower, upper = whole_numbers("latents", latents, length=2)
    pixels, hidden = whole_number("pixels", pixels), whole_number("hidden", hidden)
    outputs = whole_number("outputs", outputs)
    if posterior is None:
        posterior = GaussianPosterior(mlp(pixels, [hidden, hidden], 2 * upper))
    return HVAE(
        prior(posterior),
        GaussianPosterior(mlp(upper, [hidden, hidden], 2 * lower)),
        likelihood(_joint(lower, upper, hidden, outputs * pixels)),
        posterior,
        GaussianPosterior(_joint(pixels, upper, hidden, 2 * lower)),
    )


def _joint(first: int, second: int, hidden: int, out_features: int) -> Joint:
    """Two inputs, each through a gated layer, joined by a third."""
    branches = [GatedDense(first, hidden), GatedDense(second, hidden)]
    return Joint(branches, GatedJoint([hidden, hidden], hidden), mlp(hidden, [], out_features))
