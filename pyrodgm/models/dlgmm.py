"""Deep latent Gaussian mixtures: finite, and truncated Dirichlet-process ones."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models.pair import Pair
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import StickBreakingPosterior, WeightedGaussians
from pyrodgm.priors import GaussianComponents, GEMPrior, SymmetricDirichletPrior


class DLGMM(Pair):
    r"""Latents from a mixture whose weights are latent as well; the component's index is summed out.

    .. math:: p(x, z, \pi) = p(\pi) \sum_k \pi_k\, p_k(z)\, p(x \mid z), \qquad
              q(z, \pi \mid x) = q(\pi \mid x) \sum_k \pi_k\, q_k(z \mid x)

    A symmetric Dirichlet prior makes the deep latent Gaussian mixture model, a truncated stick-breaking one
    (:class:`~pyrodgm.priors.GEMPrior`) the Dirichlet-process VAE. :class:`~pyrodgm.infer.MixtureDensityELBO` is the
    published objective; every other estimator trains the pair too.

    Args:
        prior: Called with nothing, returns the distribution of the weights ``pi``.
        component_prior: Called with ``pi``, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``.
        encoder: What the two posteriors share: maps ``x`` to features ``h``.
        weights_posterior: Called with ``h``, returns the approximate posterior of ``pi``.
        component_posterior: Called with ``h`` and ``pi``, returns that of ``z``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"pi"``,
    ``"z"`` and ``"x"``. E[pi] of each datum, exact, is ``posterior_means(pair, x)["pi"]``.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> import torch
        >>> from pyrodgm.infer import MixtureDensityELBO
        >>> pair = dense_dpvae(pixels=64, truncation=5, latent=4, hidden=(16, 16))
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
        self.prior, self.component_prior, self.likelihood = prior, component_prior, likelihood
        self.encoder, self.weights_posterior, self.component_posterior = encoder, weights_posterior, component_posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pi = pyro.sample("pi", self.prior())
            z = pyro.sample("z", self.component_prior(pi))
            pyro.sample("x", self.likelihood(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            h = self.encoder(x)
            pi = pyro.sample("pi", self.weights_posterior(h))
            pyro.sample("z", self.component_posterior(h, pi), infer={"mixture_weights": "pi"})


def dense_dlgmm(
    pixels: int = 784,
    num_components: int = 3,
    latent: int = 25,
    hidden: tuple[int, ...] = (500, 500),
    concentration: float = 1.0,
    components: str = "standard",
    spread: float = 0.5,
    mean: Tensor | None = None,
) -> DLGMM:
    """The deep latent Gaussian mixture model with the published networks: symmetric Dirichlet weights.

    Args:
        pixels: Number of binary values of an image, D.
        num_components: Number of components K.
        latent: Number of dimensions of ``z``.
        hidden: Sizes of the encoder's ReLU layers and, in reverse, of the decoder's.
        concentration: Concentration of the Dirichlet.
        components: Prior of the components, as :class:`~pyrodgm.priors.GaussianComponents` calls it.
        spread: How far apart their means are.
        mean: Mean of the training images ``[D]``, where the untrained decoder starts.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> sorted(name for name, _ in dense_dlgmm(64, hidden=(8,)).named_children())[:3]
        ['component_posterior', 'component_prior', 'encoder']
    """
    prior = SymmetricDirichletPrior(num_components, concentration)
    return _dense(prior, pixels, num_components, latent, hidden, components, spread, mean)


def dense_dpvae(
    pixels: int = 784,
    truncation: int = 17,
    latent: int = 25,
    hidden: tuple[int, ...] = (500, 500),
    concentration: float = 1.0,
    components: str = "standard",
    spread: float = 0.5,
    mean: Tensor | None = None,
) -> DLGMM:
    """The Dirichlet-process VAE with the published networks: stick weights, truncated.

    Args:
        pixels: Number of binary values of an image, D.
        truncation: Number of sticks, and of components.
        latent: Number of dimensions of ``z``.
        hidden: Sizes of the encoder's ReLU layers and, in reverse, of the decoder's.
        concentration: Concentration of the Dirichlet process.
        components: Prior of the components, as :class:`~pyrodgm.priors.GaussianComponents` calls it.
        spread: How far apart their means are.
        mean: Mean of the training images ``[D]``, where the untrained decoder starts.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> dense_dpvae(64, truncation=5, hidden=(8,)).prior().event_shape
        torch.Size([5])
    """
    prior = GEMPrior(truncation, concentration)
    return _dense(prior, pixels, truncation, latent, hidden, components, spread, mean)


def _dense(
    prior: nn.Module,
    pixels: int,
    count: int,
    latent: int,
    hidden: tuple[int, ...],
    components: str,
    spread: float,
    mean: Tensor | None,
) -> DLGMM:
    return DLGMM(
        prior,
        GaussianComponents(latent, count, components, spread),
        BernoulliLikelihood(mlp(latent, hidden[::-1], pixels, layer=Dense), mean),
        relu_layers(pixels, hidden),
        StickBreakingPosterior(mlp(hidden[-1], [], 2 * (count - 1))),
        WeightedGaussians(mlp(hidden[-1], [], 2 * count * latent), count),
    )


def relu_layers(in_features: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Hidden layers alone, for heads to share."""
    return nn.Sequential(*(Dense(a, b) for a, b in zip((in_features, *hidden), hidden, strict=False)))
