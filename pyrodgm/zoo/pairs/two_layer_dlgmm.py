"""A latent mixture on top of a latent mixture, of ReLU networks."""

from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import whole_number, whole_numbers
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import TwoLayerDLGMM
from pyrodgm.nn import Concatenate, Dense, Joint, mlp
from pyrodgm.posteriors import StickBreakingPosterior, WeightedGaussians
from pyrodgm.priors import GaussianComponents, SymmetricDirichletPrior
from pyrodgm.zoo.pairs.dlgmm import relu_layers


def dense_two_layer_dlgmm(
    pixels: int = 784,
    num_components: int = 3,
    latents: tuple[int, int] = (50, 25),
    hidden: tuple[int, ...] = (500, 500),
    concentration: float = 1.0,
    mean: Tensor | None = None,
) -> TwoLayerDLGMM:
    """A two-layer mixture of ReLU networks, with as many components in each layer and symmetric Dirichlet weights.

    Args:
        pixels: Number of binary values of an image, D.
        num_components: Number of components of each layer.
        latents: Numbers of dimensions of ``z1`` and ``z2``.
        hidden: Sizes of the encoder's layers and, in reverse, of the decoder's; the last is that of the others.
        concentration: Concentration of both Dirichlets.
        mean: Mean of the training images ``[D]``, where the untrained decoder starts.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import MixtureDensityELBO
        >>> pair = dense_two_layer_dlgmm(pixels=64, num_components=3, latents=(4, 2), hidden=(16,))
        >>> MixtureDensityELBO().differentiable_loss(pair.model, pair.guide, torch.zeros(7, 64)).shape
        torch.Size([])
    """
    lower, upper = whole_numbers("latents", latents, length=2)
    pixels, hidden = whole_number("pixels", pixels), whole_numbers("hidden", hidden)
    if not hidden:
        raise ValueError("hidden must give the size of at least one layer, got none")
    num_components = whole_number("num_components", num_components, 2)
    count, width = num_components, hidden[-1]
    both = Joint([nn.Identity(), nn.Identity()], Concatenate(), mlp(width + upper, [width], 2 * count * lower, Dense))
    return TwoLayerDLGMM(
        SymmetricDirichletPrior(count, concentration),
        GaussianComponents(upper, count),
        SymmetricDirichletPrior(count, concentration),
        WeightedGaussians(mlp(upper, [width], 2 * count * lower, Dense), count),
        BernoulliLikelihood(mlp(lower, hidden[::-1], pixels, layer=Dense), mean),
        relu_layers(pixels, hidden),
        StickBreakingPosterior(mlp(width, [], 2 * (count - 1))),
        WeightedGaussians(mlp(width, [], 2 * count * upper), count),
        StickBreakingPosterior(mlp(width, [], 2 * (count - 1))),
        WeightedGaussians(both, count),
    )
