"""The latent mixtures of Nalisnick, Hertel and Smyth with their ReLU networks."""

from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import one_of, whole_number, whole_numbers
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DLGMM
from pyrodgm.nn import Dense, mlp
from pyrodgm.posteriors import StickBreakingPosterior, WeightedGaussians
from pyrodgm.priors import GaussianComponents, GEMPrior, SymmetricDirichletPrior
from pyrodgm.priors.gaussian_components import KINDS


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
    num_components = whole_number("num_components", num_components, 2)
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
        torch.Size([4])
    """
    truncation = whole_number("truncation", truncation, 2)
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
    one_of("components", components, KINDS)
    latent, hidden = whole_number("latent", latent), whole_numbers("hidden", hidden)
    pixels = whole_number("pixels", pixels)
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
    if not hidden:
        raise ValueError("hidden must give the size of at least one layer, got none")
    return nn.Sequential(*(Dense(a, b) for a, b in zip((in_features, *hidden), hidden, strict=False)))
