"""Deep latent Gaussian mixtures: finite, and truncated Dirichlet-process ones."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair
from pyrodgm.nn import stick_weights


class DLGMM(Pair):
    r"""Latents from a mixture whose weights are latent as well; the component's index is summed out.

    .. math:: p(x, z, \pi) = p(\pi) \sum_k \pi_k\, p_k(z)\, p(x \mid z), \qquad
              q(z, \pi \mid x) = q(\pi \mid x) \sum_k \pi_k\, q_k(z \mid x)

    A symmetric Dirichlet prior makes the deep latent Gaussian mixture model, a truncated stick-breaking one
    (:class:`~pyrodgm.priors.GEMPrior`) the Dirichlet-process VAE. :class:`~pyrodgm.infer.MixtureDensityELBO` is the
    published objective; every other estimator trains the pair too.

    Args:
        prior: Called with nothing, returns the distribution of the logits of the sticks.
        component_prior: Called with ``pi``, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``.
        encoder: What the two posteriors share: maps ``x`` to features ``h``.
        weights_posterior: Called with ``h``, returns the approximate posterior of the logits of the sticks.
        component_posterior: Called with ``h`` and ``pi``, returns that of ``z``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are
    ``"sticks"`` (logits of fractions), ``"z"`` and ``"x"``, and the model's deterministic ``"pi"``, the weights.
    E[pi] of each datum, exact, is ``posterior_means(pair, x)["pi"]``.

    The published networks are in :mod:`pyrodgm.zoo.pairs`.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> import torch
        >>> from pyrodgm.infer import MixtureDensityELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import Dense, mlp
        >>> from pyrodgm.posteriors import StickBreakingPosterior, WeightedGaussians
        >>> from pyrodgm.priors import GaussianComponents, GEMPrior
        >>> pair = DLGMM(
        ...     GEMPrior(5, concentration=1.0),
        ...     GaussianComponents(4, 5),
        ...     BernoulliLikelihood(mlp(4, [16], 64)),
        ...     Dense(64, 16),
        ...     StickBreakingPosterior(mlp(16, [], 2 * (5 - 1))),
        ...     WeightedGaussians(mlp(16, [], 2 * 5 * 4), 5),
        ... )
        >>> MixtureDensityELBO().differentiable_loss(pair.model, pair.guide, torch.zeros(7, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        component_prior: nn.Module,
        likelihood: nn.Module,
        encoder: nn.Module,
        weights_posterior: nn.Module,
        component_posterior: nn.Module,
    ) -> None:
        super().__init__()
        callables(
            prior=prior,
            component_prior=component_prior,
            likelihood=likelihood,
            encoder=encoder,
            weights_posterior=weights_posterior,
            component_posterior=component_posterior,
        )
        self.prior, self.component_prior, self.likelihood = prior, component_prior, likelihood
        self.encoder, self.weights_posterior, self.component_posterior = encoder, weights_posterior, component_posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            sticks = pyro.sample("sticks", self.prior())
            pi = pyro.deterministic("pi", stick_weights(sticks), event_dim=1)
            z = pyro.sample("z", self.component_prior(pi))
            pyro.sample("x", self.likelihood(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            h = self.encoder(x)
            sticks = pyro.sample("sticks", self.weights_posterior(h), infer={"weights": "pi"})
            mixture = self.component_posterior(h, stick_weights(sticks))
            pyro.sample("z", mixture, infer={"mixture_weights": "sticks"})
