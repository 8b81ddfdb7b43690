"""The autoencoders that are trained with a discriminator."""

from torch import nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.vae import VAE


class AdversarialVAE(VAE):
    """A VAE with a discriminator; the objective says of what.

    ======================================================= ======================= ==========================
    Objective                                               Discriminator takes     Need only be sampled
    ======================================================= ======================= ==========================
    :class:`~pyrodgm.infer.AdversarialAutoencoderLoss`      ``z``                   prior and posterior
    :class:`~pyrodgm.infer.AdversarialELBO`                 ``x`` and ``z``         prior and posterior
    :class:`~pyrodgm.infer.VAEGANLoss`                      ``x``                   likelihood
    ======================================================= ======================= ==========================

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``.
        posterior: Called with ``x``, returns the approximate posterior of ``z``.
        discriminator: Returns one number per datum.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z"`` and
    ``"x"``.

    Source: Makhzani et al. (2015), arXiv 1511.05644; Larsen et al. (2016), arXiv 1512.09300; Mescheder et al. (2017),
    arXiv 1701.04722.
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module, discriminator: nn.Module) -> None:
        super().__init__(prior, likelihood, posterior)
        callables(discriminator=discriminator)
        self.discriminator = discriminator
