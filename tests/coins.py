"""Data of coins that are tossed, and pairs for them."""

import torch
from torch import nn
from toy_pairs import small_vae

from pyrodgm.datasets import Dataset, Split
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

PIXELS, LATENT = 12, 3


def dataset(labels=True):
    images = (torch.rand(60, PIXELS) < torch.linspace(0.5, 0.9, PIXELS)).double()
    splits = (Split(x, x[:, 0].long() if labels else None) for x in images.split(20))
    return Dataset.from_tensors(*splits, image_shape=(1, 3, 4), name="coins")


def pair(vamp=True):
    return small_vae(PIXELS, LATENT, 8, pseudo_inputs=5 * vamp)


def coins(mean, copied=()):
    """A pair whose likelihood does not depend on z, so that log p(x) is known; the latents ``copied`` are pixels."""
    posterior = GaussianPosterior(nn.Linear(PIXELS, 2 * LATENT))
    likelihood = BernoulliLikelihood(nn.Linear(LATENT, PIXELS), mean)
    for net in (posterior.net, likelihood.net):
        nn.init.zeros_(net.weight)
        nn.init.zeros_(net.bias)
    for unit in copied:
        posterior.net.weight.data[unit, unit] = 1.0
        posterior.net.bias.data[unit] = -0.5
    return VAE(StandardNormal(LATENT), likelihood, posterior)
