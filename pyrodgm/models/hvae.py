"""The variational autoencoder with two stochastic layers."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair


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
    have an extra leading dimension.

    The published networks are in :mod:`pyrodgm.zoo.pairs`.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, eq. 13-16.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import joint_mlp, mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> hvae = HVAE(
        ...     StandardNormal(5),
        ...     GaussianPosterior(mlp(5, [32], 2 * 10)),
        ...     BernoulliLikelihood(joint_mlp([10, 5], [32], 64)),
        ...     GaussianPosterior(mlp(64, [32], 2 * 5)),
        ...     GaussianPosterior(joint_mlp([64, 5], [32], 2 * 10)),
        ... )
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
        callables(
            prior=prior,
            conditional_prior=conditional_prior,
            likelihood=likelihood,
            posterior=posterior,
            conditional_posterior=conditional_posterior,
        )
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
