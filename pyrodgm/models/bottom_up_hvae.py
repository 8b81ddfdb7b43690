"""Two stochastic layers guided from the data upwards."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair


class BottomUpHVAE(Pair):
    r"""Two stochastic layers in a chain, guided from the data upwards, as the importance-weighted autoencoder is.

    .. math:: p(x, z_1, z_2) = p(z_2)\, p(z_1 \mid z_2)\, p(x \mid z_1), \qquad
              q(z_1, z_2 \mid x) = q(z_1 \mid x)\, q(z_2 \mid z_1)

    Args:
        prior: Called with nothing, returns the distribution of ``z2``.
        conditional_prior: Called with ``z2``, returns the distribution of ``z1``.
        likelihood: Called with ``z1``, returns the distribution of ``x``.
        posterior: Called with ``x``, returns the approximate posterior of ``z1``.
        upper_posterior: Called with ``z1``, returns the approximate posterior of ``z2``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z1"``,
    ``"z2"`` and ``"x"``. Pyro's ``TraceMeanField_ELBO`` wants model and guide sites to occur in the same order, which
    they do not here, and says so; :class:`~pyrodgm.infer.ELBO` tells which divergences may be exact.
    :class:`~pyrodgm.models.HVAE` is guided from the top down.

    Source: Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519, eq. 1-2.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import IWELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> pair = BottomUpHVAE(
        ...     StandardNormal(5),
        ...     GaussianPosterior(mlp(5, [32], 2 * 10)),
        ...     BernoulliLikelihood(mlp(10, [32], 64)),
        ...     GaussianPosterior(mlp(64, [32], 2 * 10)),
        ...     GaussianPosterior(mlp(10, [32], 2 * 5)),
        ... )
        >>> IWELBO(3).differentiable_loss(pair.model, pair.guide, torch.zeros(7, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        conditional_prior: nn.Module,
        likelihood: nn.Module,
        posterior: nn.Module,
        upper_posterior: nn.Module,
    ) -> None:
        super().__init__()
        callables(
            prior=prior,
            conditional_prior=conditional_prior,
            likelihood=likelihood,
            posterior=posterior,
            upper_posterior=upper_posterior,
        )
        self.prior, self.conditional_prior, self.likelihood = prior, conditional_prior, likelihood
        self.posterior, self.upper_posterior = posterior, upper_posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z2 = pyro.sample("z2", self.prior())
            z1 = pyro.sample("z1", self.conditional_prior(z2))
            pyro.sample("x", self.likelihood(z1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z1 = pyro.sample("z1", self.posterior(x))
            pyro.sample("z2", self.upper_posterior(z1))
