"""The deep latent Gaussian mixture with two stochastic layers."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair
from pyrodgm.nn import stick_weights


class TwoLayerDLGMM(Pair):
    r"""A mixture on top of a mixture, both with latent weights, guided from the top down.

    .. math:: p = p(\pi_2)\, p(z_2 \mid \pi_2)\, p(\pi_1)\, p(z_1 \mid z_2, \pi_1)\, p(x \mid z_1), \qquad
              q = q(\pi_2 \mid x)\, q(z_2 \mid x, \pi_2)\, q(\pi_1 \mid x)\, q(z_1 \mid x, z_2, \pi_1)

    Every layer's index is summed out; :class:`~pyrodgm.infer.MixtureDensityELBO` draws all combinations of components.

    Args:
        prior: Called with nothing, returns the distribution of the logits of the upper sticks.
        component_prior: Called with ``pi2``, returns the distribution of ``z2``.
        lower_prior: Called with nothing, returns the distribution of the logits of the lower sticks.
        lower_component_prior: Called with ``z2`` and ``pi1``, returns the distribution of ``z1``.
        likelihood: Called with ``z1``, returns the distribution of ``x``.
        encoder: What all posteriors share: maps ``x`` to features ``h``.
        weights_posterior: Called with ``h``, returns the approximate posterior of the upper sticks.
        component_posterior: Called with ``h`` and ``pi2``, returns that of ``z2``.
        lower_weights_posterior: Called with ``h``, returns that of the lower sticks.
        lower_component_posterior: Called with ``h``, ``z2`` and ``pi1``, returns that of ``z1``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``,
    the sites are ``"sticks2"``, ``"z2"``, ``"sticks1"``, ``"z1"`` and ``"x"``, and the weights ``"pi2"`` and ``"pi1"``.

    :func:`pyrodgm.zoo.pairs.dense_two_layer_dlgmm` builds one from ReLU networks.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures", whose own
    two-layer code is of another form.
    """

    def __init__(  # noqa: PLR0913 - one module a distribution of the graph
        self,
        prior: nn.Module,
        component_prior: nn.Module,
        lower_prior: nn.Module,
        lower_component_prior: nn.Module,
        likelihood: nn.Module,
        encoder: nn.Module,
        weights_posterior: nn.Module,
        component_posterior: nn.Module,
        lower_weights_posterior: nn.Module,
        lower_component_posterior: nn.Module,
    ) -> None:
        super().__init__()
        callables(
            prior=prior,
            component_prior=component_prior,
            lower_prior=lower_prior,
            lower_component_prior=lower_component_prior,
            likelihood=likelihood,
            encoder=encoder,
        )
        callables(
            weights_posterior=weights_posterior,
            component_posterior=component_posterior,
            lower_weights_posterior=lower_weights_posterior,
            lower_component_posterior=lower_component_posterior,
        )
        self.prior, self.component_prior, self.likelihood = prior, component_prior, likelihood
        self.lower_prior, self.lower_component_prior = lower_prior, lower_component_prior
        self.encoder, self.weights_posterior, self.component_posterior = encoder, weights_posterior, component_posterior
        self.lower_weights_posterior = lower_weights_posterior
        self.lower_component_posterior = lower_component_posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            sticks2 = pyro.sample("sticks2", self.prior())
            pi2 = pyro.deterministic("pi2", stick_weights(sticks2), event_dim=1)
            z2 = pyro.sample("z2", self.component_prior(pi2))
            sticks1 = pyro.sample("sticks1", self.lower_prior())
            pi1 = pyro.deterministic("pi1", stick_weights(sticks1), event_dim=1)
            z1 = pyro.sample("z1", self.lower_component_prior(z2, pi1))
            pyro.sample("x", self.likelihood(z1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            h = self.encoder(x)
            sticks2 = pyro.sample("sticks2", self.weights_posterior(h), infer={"weights": "pi2"})
            upper = self.component_posterior(h, stick_weights(sticks2))
            z2 = pyro.sample("z2", upper, infer={"mixture_weights": "sticks2"})
            sticks1 = pyro.sample("sticks1", self.lower_weights_posterior(h), infer={"weights": "pi1"})
            lower = self.lower_component_posterior(h, z2, stick_weights(sticks1))
            pyro.sample("z1", lower, infer={"mixture_weights": "sticks1"})
