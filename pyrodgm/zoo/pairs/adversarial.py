"""What the adversarial systems share: flags, games by name, and priors with the decoders that fit them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from pyrodgm import experiment
from pyrodgm.datasets import Dataset
from pyrodgm.infer import Hinge, NonSaturating, Wasserstein
from pyrodgm.infer.estimators.adversarial.games import Game
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.nn import Dense, StickWeights, mlp
from pyrodgm.priors import VampPrior
from pyrodgm.zoo.pairs.named_prior import PriorName, named_prior

GameName = Literal["non-saturating", "wasserstein", "hinge"]

GAMES: dict[GameName, Callable[[], Game]] = {
    "non-saturating": NonSaturating,
    "wasserstein": Wasserstein,
    "hinge": Hinge,
}


@dataclass(frozen=True)
class TwoPlayerConfig(experiment.TrainingConfig):
    """Flags of every system of two players."""

    num_images: int | None = 100
    hidden: tuple[int, ...] = (256, 512)
    """Sizes of the hidden layers of decoder and, in reverse, of the other networks."""
    critic_steps: int = 1
    """Steps of the discriminator before each of the rest."""
    beta1: float = 0.5
    """Decay of the first moment of Adam, of both players."""


@dataclass(frozen=True)
class AdversarialVAEConfig(TwoPlayerConfig):
    """Flags of those with an encoder."""

    latent: int = 32
    """Number of latent dimensions."""
    prior: PriorName = "standard"
    """Prior of the latents; sticks are those of a Dirichlet process, the latents the logits of their fractions."""
    components: int = 500
    """Components of a mixture, pseudo-inputs of a VampPrior."""
    concentration: float = 5.0
    """Concentration of the sticks."""


def prior_of(config: AdversarialVAEConfig, posterior: nn.Module, data: Dataset) -> nn.Module:
    """A prior of ``latent`` real numbers; for sticks these are the logits of as many fractions.

    Pseudo-inputs of a VampPrior start at training images. They are learned where the posterior has a density.
    """
    size = config.latent + (config.prior == "sticks")
    vampprior = lambda: VampPrior.from_data(posterior, config.components, data.binarize(data.train.images))  # noqa: E731
    return named_prior(config.prior, size, config.components, vampprior, config.concentration)


def decoder(config: AdversarialVAEConfig, data: Dataset) -> BernoulliLikelihood:
    """Bernoulli pixels of ReLU layers, behind the weights of sticks if the latents are such."""
    pixels = data.train.images.shape[1]
    if config.prior == "sticks":
        net = nn.Sequential(StickWeights(), mlp(config.latent + 1, config.hidden, pixels, layer=Dense))
        return BernoulliLikelihood(net, mean=data.mean)
    return BernoulliLikelihood(mlp(config.latent, config.hidden, pixels, layer=Dense), mean=data.mean)


def optimizer(config: TwoPlayerConfig) -> OptimizerMaker:
    """Adam of both players, made from parameters, with the short memory of the gradient that games need."""
    return partial(torch.optim.Adam, lr=config.learning_rate, betas=(config.beta1, 0.999), fused=True)


def settings(config: TwoPlayerConfig, data: Dataset) -> dict[str, Any]:
    """Steps of the discriminator."""
    return {"critic_steps": config.critic_steps}
