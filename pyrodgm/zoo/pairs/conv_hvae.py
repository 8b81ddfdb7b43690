"""The two-level VAEs of Tomczak and Welling whose encoders are gated convolutions."""

from collections.abc import Callable
from math import ceil

from torch import nn

from pyrodgm.arithmetic.arguments import callables, whole_number, whole_numbers
from pyrodgm.likelihoods import BernoulliLikelihood, PixelCNNLikelihood
from pyrodgm.models import HVAE
from pyrodgm.nn import Concatenate, GatedDense, GatedJoint, Images, Joint, PixelCNN, gated_convs, mlp
from pyrodgm.nn.pixelcnn import Norm
from pyrodgm.posteriors import GaussianPosterior

ImageShape = tuple[int, int, int]
FEATURES = 6  # channels of the encoders' last layer


def conv_hvae(
    prior: Callable[[nn.Module], nn.Module],
    image_shape: ImageShape = (1, 28, 28),
    latents: tuple[int, int] = (40, 40),
    hidden: int = 300,
    channels: int = 32,
    likelihood: Callable[[nn.Module], nn.Module] = BernoulliLikelihood,
    outputs: int = 1,
) -> HVAE:
    """The published two-level VAE of gated convolutions.

    Five gated convolutions in each encoder, two of them of stride 2; in the decoder dense layers that make an image,
    and four gated convolutions of that.

    Args:
        prior: Makes the prior of ``z2`` from the approximate posterior of ``z2``, which a VampPrior shares.
        image_shape: Channels, height, width of the images.
        latents: Numbers of dimensions of ``z1`` and ``z2``.
        hidden: Size of the dense hidden layers.
        channels: Channels of the encoders' first two convolutions; those after them, and the decoder's, have twice as
            many.
        likelihood: Makes the likelihood from a network that maps ``z1`` and ``z2`` to ``[*, outputs * D]``.
        outputs: Parameters of the likelihood a pixel and channel.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, section 4.2 and the authors' code.

    Example:
        >>> import torch
        >>> from pyrodgm.priors import StandardNormal
        >>> hvae = conv_hvae(lambda posterior: StandardNormal(40))
        >>> hvae.posterior(torch.zeros(5, 784)).mean.shape
        torch.Size([5, 40])
    """
    callables(prior=prior, likelihood=likelihood)
    lower, upper = whole_numbers("latents", latents, length=2)
    hidden, channels = whole_number("hidden", hidden), whole_number("channels", channels)
    outputs, image_shape = whole_number("outputs", outputs), _sizes(image_shape)
    pixels = image_shape[0] * image_shape[1] * image_shape[2]
    convs = nn.Sequential(
        gated_convs(image_shape[0], [(2 * channels, 3, 1)] * 4),
        nn.Conv2d(2 * channels, outputs * image_shape[0], 1),
    )
    branches = [GatedDense(lower, hidden), GatedDense(upper, hidden)]
    decoder = Joint(branches, GatedJoint([hidden, hidden], pixels), Images(convs, image_shape))
    return _with_encoders(prior, likelihood(decoder), image_shape, (lower, upper), hidden, channels)


def pixel_hvae(
    prior: Callable[[nn.Module], nn.Module],
    image_shape: ImageShape = (1, 28, 28),
    latents: tuple[int, int] = (40, 40),
    hidden: int = 300,
    channels: int = 32,
    num_bins: int | None = None,
    layers: int = 8,
    norm: Norm = "channel",
) -> HVAE:
    """The published two-level VAE whose decoder is a PixelCNN.

    The encoders are those of :func:`conv_hvae`. ``z1`` and ``z2`` each make a map of the size of the image, which eight
    masked 3x3 convolutions see beside the pixels before their own. Two things differ from the publication: the maps
    enter without a mask, so that each pixel sees all that is around it in them, and ``norm="channel"`` keeps the images
    and particles of a batch apart, which the published batch normalisation (``norm="batch"``) does not.

    Args:
        prior: Makes the prior of ``z2`` from the approximate posterior of ``z2``, which a VampPrior shares.
        image_shape: Channels, height, width of the images.
        latents: Numbers of dimensions of ``z1`` and ``z2``.
        hidden: Size of the dense hidden layers.
        channels: Channels of the encoders' first two convolutions; those after them, and the decoder's, have twice as
            many.
        num_bins: Number of grey values, None for binary images, as in
            :class:`~pyrodgm.likelihoods.PixelCNNLikelihood`.
        layers: Number of masked convolutions.
        norm: ``"channel"`` or ``"batch"``, as in :class:`~pyrodgm.nn.PixelCNN`.

    Raises:
        ValueError: If :class:`~pyrodgm.nn.PixelCNN` refuses the ``2 * channels`` features, as its ``hidden``, that
            ``channels`` gives each of its layers.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, section 4.2 and the authors' code.

    Example:
        >>> import torch
        >>> from pyrodgm.priors import StandardNormal
        >>> hvae = pixel_hvae(lambda posterior: StandardNormal(3), (1, 8, 8), latents=(3, 3), channels=2, layers=2)
        >>> hvae.likelihood(torch.zeros(5, 3), torch.zeros(5, 3)).sample().shape
        torch.Size([5, 64])
    """
    callables(prior=prior)
    lower, upper = whole_numbers("latents", latents, length=2)
    hidden, channels = whole_number("hidden", hidden), whole_number("channels", channels)
    image_shape = _sizes(image_shape)
    size = image_shape[0] * image_shape[1] * image_shape[2]
    maps = Joint([GatedDense(lower, size), GatedDense(upper, size)], Concatenate())
    outputs = 1 if num_bins is None else 2
    net = PixelCNN(image_shape, 2 * image_shape[0], 2 * channels, layers, outputs=outputs, norm=norm)
    return _with_encoders(prior, PixelCNNLikelihood(maps, net, num_bins), image_shape, (lower, upper), hidden, channels)


def _sizes(image_shape: ImageShape) -> ImageShape:
    """Channels, height and width as whole numbers."""
    channels, height, width = whole_numbers("image_shape", image_shape, length=3)
    return channels, height, width


def _with_encoders(
    prior: Callable[[nn.Module], nn.Module],
    likelihood: nn.Module,
    image_shape: ImageShape,
    latents: tuple[int, int],
    hidden: int,
    channels: int,
) -> HVAE:
    lower, upper = latents
    features = FEATURES * ceil(image_shape[1] / 4) * ceil(image_shape[2] / 4)

    def encoder(first: int, third: int) -> Images:
        """Five gated convolutions; those named have kernels of their own size."""
        wide = 2 * channels
        layers = [(channels, first, 1), (channels, 3, 2), (wide, third, 1), (wide, 3, 2), (FEATURES, 3, 1)]
        return Images(gated_convs(image_shape[0], layers), image_shape)

    posterior = GaussianPosterior(nn.Sequential(encoder(7, 5), mlp(features, [], 2 * upper)))
    branches = [encoder(3, 3), GatedDense(upper, features)]
    return HVAE(
        prior(posterior),
        GaussianPosterior(mlp(upper, [hidden, hidden], 2 * lower)),
        likelihood,
        posterior,
        GaussianPosterior(Joint(branches, GatedJoint([features, features], hidden), mlp(hidden, [], 2 * lower))),
    )
