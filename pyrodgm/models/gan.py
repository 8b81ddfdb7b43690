"""The generative adversarial network."""

from torch import nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.likelihoods import GaussianLikelihood, ImplicitLikelihood
from pyrodgm.models.density_network import DensityNetwork


class GAN(DensityNetwork):
    r"""A generator of draws, and the discriminator that it is trained against.

    .. math:: z \sim p(z), \qquad x = G(z)

    The data have no density, so that :class:`~pyrodgm.infer.ELBO`, :func:`~pyrodgm.infer.log_likelihood` and whatever
    else needs one refuse the pair by name; :class:`~pyrodgm.infer.GANLoss` trains it. A likelihood that has a density,
    of grey values say, may stand in the place of the generator: then only its draws are used, or its mean where these
    have no gradient.

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``; an
            :class:`~pyrodgm.likelihoods.ImplicitLikelihood` for a generator.
        discriminator: Called with ``x``, returns one number per datum.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z"``,
    which the guide draws from the prior, and ``"x"``.

    Source: Goodfellow et al. (2014), arXiv 1406.2661.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import GANLoss
        >>> from pyrodgm.nn import Discriminator, mlp
        >>> from pyrodgm.priors import StandardNormal
        >>> gan = GAN(StandardNormal(2), ImplicitLikelihood(mlp(2, [32], 64)), Discriminator.dense(64, [32]))
        >>> GANLoss().of(gan).differentiable_loss(gan.model, gan.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, discriminator: nn.Module) -> None:
        super().__init__(prior, likelihood)
        callables(discriminator=discriminator)
        self.discriminator = discriminator

    def with_density(self, scale: float) -> DensityNetwork:
        r"""The model whose data are the generator's with Gaussian noise, :math:`x \sim \mathcal N(G(z), \sigma^2 I)`.

        The networks are shared, and in evaluation mode. Log-likelihoods of it, by
        :func:`~pyrodgm.infer.annealed_log_likelihood`, depend on the scale, which has to be stated beside them.

        Args:
            scale: Standard deviation of the noise, positive, in the unit of the data.

        Raises:
            ValueError: If the scale is not positive.
            TypeError: If the pair has a likelihood with a density.

        Source: Wu, Burda, Salakhutdinov and Grosse (2017), arXiv 1611.04273, section 2.
        """
        if not isinstance(self.likelihood, ImplicitLikelihood):
            raise TypeError(f"likelihood must be an ImplicitLikelihood, got {type(self.likelihood).__name__}")
        noisy = GaussianLikelihood(self.likelihood.net, scale).to(next(self.parameters()))
        return DensityNetwork(self.prior, noisy).eval()
