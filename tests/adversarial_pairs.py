"""Pairs of two players, small, each with the objective that it is made for."""

from functools import partial

import torch

from pyrodgm.infer import (
    AdversarialAutoencoderLoss,
    AdversarialELBO,
    GANLoss,
    Hinge,
    NonSaturating,
    VAEGANLoss,
    Wasserstein,
)
from pyrodgm.likelihoods import BernoulliLikelihood, ImplicitLikelihood
from pyrodgm.models import GAN, AdversarialVAE
from pyrodgm.nn import Discriminator, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, ImplicitPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior

D, LATENT, NOISE, ROWS = 12, 3, 2, 30


def data():
    return torch.rand(ROWS, D, generator=torch.Generator().manual_seed(1)).round().to(torch.get_default_dtype())


def gan():
    return GAN(StandardNormal(LATENT), ImplicitLikelihood(mlp(LATENT, [8], D)), Discriminator.dense(D, [8]))


def implicit(noise=NOISE):
    return ImplicitPosterior(mlp(D + noise, [8], LATENT), LATENT, noise)


def gaussian():
    return GaussianPosterior(mlp(D, [8], 2 * LATENT))


def decoder(prior):
    if prior == "sticks":
        return BernoulliLikelihood(torch.nn.Sequential(StickWeights(), mlp(LATENT + 1, [8], D)))
    return BernoulliLikelihood(mlp(LATENT, [8], D))


def prior_of(name, posterior):
    return {
        "standard": lambda: StandardNormal(LATENT),
        "mixture": lambda: MixtureOfGaussians(LATENT, 4),
        "vampprior": lambda: VampPrior.from_data(posterior, 4, data()),
        "sticks": lambda: GEMPrior(LATENT + 1, 2.0, learn=True),
    }[name]()


def autoencoder(prior, posterior, critic_of=LATENT):
    q = posterior()
    return AdversarialVAE(prior_of(prior, q), decoder(prior), q, Discriminator.dense(critic_of, [8]))


PRIORS = ("standard", "mixture", "vampprior", "sticks")
CASES = {
    **{f"gan-{type(game).__name__}": (gan, GANLoss(game)) for game in (NonSaturating(), Wasserstein(), Hinge())},
    **{f"aae-{p}": (partial(autoencoder, p, gaussian), AdversarialAutoencoderLoss()) for p in PRIORS},
    "aae-point": (
        partial(autoencoder, "standard", partial(implicit, 0)),
        AdversarialAutoencoderLoss(game=Wasserstein()),
    ),
    "aae-implicit-vampprior": (partial(autoencoder, "vampprior", implicit), AdversarialAutoencoderLoss()),
    **{f"avb-{p}": (partial(autoencoder, p, implicit, D + LATENT), AdversarialELBO()) for p in PRIORS},
    "avb-contrast": (partial(autoencoder, "mixture", implicit, D + LATENT), AdversarialELBO(contrast=3)),
    **{f"vae_gan-{p}": (partial(autoencoder, p, gaussian, D), VAEGANLoss(feature_weight=0.5)) for p in PRIORS[:3]},
    "vae_gan-sticks": (
        partial(autoencoder, "sticks", lambda: StickBreakingPosterior(mlp(D, [8], 2 * LATENT), "kumaraswamy", 2.0), D),
        VAEGANLoss(game=Hinge()),
    ),
}
