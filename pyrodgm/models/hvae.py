"""The variational autoencoder with two stochastic layers."""

from collections.abc import Callable

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models.pair import Pair
from pyrodgm.nn import GatedDense, GatedJoint, Joint, mlp
from pyrodgm.posteriors import GaussianPosterior


class HVAE(Pair):
    r"""Two stochastic layers, both guided from the top down.

    .. math:: p(x, z_1, z_2) = p(z_2)\, p(z_1 \mid z_2)\, p(x \mid z_1, z_2), \qquad
              q(z_1, z_2 \mid x) = q(z_2 \mid x)\, q(z_1 \mid x, z_2)

    Args:
        prior: Called with nothing, returns the distribution of ``z2``.
        conditional_prior: Called with ``z2``, returns the distribution of ``z1``; a
            :class:`~pyrodgm.posteriors.GaussianPosterior` serves.
        likelihood: Called with ``z1`` and ``z2``, returns the distribution of ``x``.
        posterior: Called with ``x``, returns the approximate posterior of ``z2``; a VampPrior shares it.
        conditional_posterior: Called with ``x`` and ``z2``, returns the approximate posterior of ``z1``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z2"``,
    ``"z1"`` and ``"x"``. The parts broadcast over leading dimensions of their inputs: with particles, ``z1`` and ``z2``
    have a dimension that ``x`` has not.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, eq. 13-16.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrodgm.priors import StandardNormal
        >>> hvae = dense_hvae(lambda posterior: StandardNormal(8), pixels=64, latents=(8, 8), hidden=32)
        >>> Trace_ELBO().differentiable_loss(hvae.model, hvae.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        conditional_prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        conditional_posterior: nn.Module,
    ) -> None:
        super().__init__()
        self.prior, self.conditional_prior, self.likelihood = prior, conditional_prior, likelihood
        self.posterior, self.conditional_posterior = posterior, conditional_posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.conditional_prior(z2))
            pyro.sample("x", self.likelihood(z1, z2), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z2 = pyro.sample("z2", self.posterior(x))
            pyro.sample("z1", self.conditional_posterior(x, z2))


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
    lower, upper = latents
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
