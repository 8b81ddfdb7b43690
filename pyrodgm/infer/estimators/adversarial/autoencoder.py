"""The objective of an autoencoder whose latents are told from draws of the prior."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.infer.estimators.adversarial.games import NON_SATURATING, Game, require_game
from pyrodgm.infer.estimators.adversarial.objective import (
    AdversarialObjective,
    only_latent,
    only_observed,
    trace_of,
)
from pyrodgm.infer.estimators.adversarial.prior import fit_of_prior
from pyrodgm.infer.estimators.kl_weight import KLWeight
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.sites import log_prob


class AdversarialAutoencoderLoss(AdversarialObjective):
    r"""Reconstruction, with the aggregated posterior matched to the prior; both need only be sampled.

    .. math:: \min_{p, q} \mathbb E_{q(z \mid x)}[-\log p(x \mid z)] + w\, L_G(D; z), \qquad
        \min_D \mathbb E[L_D(D; z_p, z)], \quad z_p \sim p(z)

    The discriminator takes ``z``. A learned prior that has a density is fitted to the latents,
    :math:`\max_p \mathbb E_q[\log p(z)]`, which adds nothing to the value; one that has none is left as it is.

    Args:
        kl_weight: The weight w of the adversarial term, in the place of the divergence of an ELBO.
        game: The losses: :class:`NonSaturating`, :class:`Wasserstein` or :class:`Hinge`.

    Raises:
        ProgramError: From the loss, if a program has not one latent and observed site, or one is masked or scaled.

    Source: Makhzani et al. (2015), arXiv 1511.05644, section 2.
    """

    kl_weight = KLWeight()

    def __init__(self, kl_weight: float = 1.0, game: Game = NON_SATURATING) -> None:
        super().__init__()
        self.kl_weight = finite_number("kl_weight", kl_weight, least=0.0)
        self.game = require_game(game)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        drawn = trace_of(guide, args, kwargs)
        decoded = trace_of(model, args, kwargs, drawn)
        z = only_latent(drawn)["value"]
        loss = -log_prob(only_observed(decoded)).sum() + fit_of_prior(only_latent(decoded))
        adversarial = self.game.generator(self.score, z).sum()
        return loss + self.kl_weight.to(adversarial) * adversarial

    def critic_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            real = only_latent(trace_of(model, args, kwargs))["value"]
            fake = only_latent(trace_of(guide, args, kwargs))["value"]
        return self.game.critic(self.score, real, fake).sum()
