"""What the adversarial systems share: games by name, and priors with the decoders that fit them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer import Hinge, NonSaturating, Wasserstein
from pyrodgm.infer.estimators.adversarial.games import Game
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.nn import Dense, StickWeights, mlp
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior

GameName = Literal["non-saturating", "wasserstein", "hinge"]
PriorName = Literal["standard", "mixture", "vampprior", "sticks"]

GAMES: dict[GameName, Callable[[], Game]] = {
    "non-saturating": NonSaturating,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
}


def named_prior(
    name: PriorName, posterior: nn.Module, latent: int, components: int, concentration: float, data: Dataset
) -> nn.Module:
    """A prior of ``latent`` real numbers; for sticks these are the logits of as many fractions.

    Pseudo-inputs of a VampPrior start at training images. They are learned where the posterior has a density.
    """
    if name == "standard":
        return StandardNormal(latent)
    if name == "mixture":
        return MixtureOfGaussians(latent, components)
    if name == "sticks":
        return GEMPrior(latent + 1, concentration)
    return VampPrior.from_data(posterior, components, data.binarize(data.train.images))


def decoder(name: PriorName, latent: int, hidden: Sequence[int], data: Dataset) -> BernoulliLikelihood:
    """Bernoulli pixels of ReLU layers, behind the weights of sticks if the latents are such."""
    pixels = data.train.images.shape[1]
    if name == "sticks":
        net = nn.Sequential(StickWeights(), mlp(latent + 1, hidden, pixels, layer=Dense))
        return BernoulliLikelihood(net, mean=data.mean)
    return BernoulliLikelihood(mlp(latent, hidden, pixels, layer=Dense), mean=data.mean)


def adam(learning_rate: float, beta1: float = 0.5) -> OptimizerMaker:
    """Adam with the short memory of the gradient that games need."""
    return partial(torch.optim.Adam, lr=learning_rate, betas=(beta1, 0.999), fused=True)
