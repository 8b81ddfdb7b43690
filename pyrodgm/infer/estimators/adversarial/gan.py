"""The objective of a generator whose draws are told from the data."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer.estimators.adversarial.games import NON_SATURATING, Game, require_game
from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective, made, only_observed, trace_of
from pyrodgm.infer.estimators.protocols import Program


class GANLoss(AdversarialObjective):
    r"""Draws of the model against the data; the likelihood need only be sampled.

    .. math:: \min_D \mathbb E[L_D(D; x, G(z))], \qquad \min_G \mathbb E[L_G(D; G(z))], \qquad z \sim p(z)

    The discriminator takes ``x``. Draws of a likelihood without reparametrised samples, of bits say, are its means. The
    guide is not run.

    Args:
        game: The losses: :class:`NonSaturating`, :class:`Wasserstein` or :class:`Hinge`.

    Raises:
        ProgramError: From the loss, if the model has not exactly one observed site, or that is masked or scaled.

    Source: Goodfellow et al. (2014), arXiv 1406.2661, algorithm 1.

    Example:
        >>> from pyrodgm.likelihoods import ImplicitLikelihood
        >>> from pyrodgm.models import GAN
        >>> from pyrodgm.nn import Discriminator, mlp
        >>> from pyrodgm.priors import StandardNormal
        >>> gan = GAN(StandardNormal(2), ImplicitLikelihood(mlp(2, [8], 3)), Discriminator.dense(3, [8]))
        >>> objective = GANLoss().of(gan)
        >>> objective.critic().differentiable_loss(gan.model, gan.guide, torch.zeros(5, 3)).shape
        torch.Size([])
    """

    def __init__(self, game: Game = NON_SATURATING) -> None:
        super().__init__()
        self.game = require_game(game)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        site = only_observed(trace_of(model, args, kwargs))
        return self.game.generator(self.score, made(site)).sum()

    def critic_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            site = only_observed(trace_of(model, args, kwargs))
            real, fake = site["value"], made(site)
        return self.game.critic(self.score, real, fake).sum()
