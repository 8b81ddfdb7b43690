"""The objective of a VAE whose reconstructions are compared by what a discriminator sees in them."""

import contextlib
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.distributions import divergence_given
from pyrodgm.infer.estimators.adversarial.games import NON_SATURATING, Game, require_game
from pyrodgm.infer.estimators.adversarial.objective import (
    AdversarialObjective,
    made,
    only_latent,
    only_observed,
    trace_of,
)
from pyrodgm.infer.estimators.kl_weight import KLWeight
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.reading import Latent, fn_of
from pyrodgm.infer.estimators.sites import Site, Trace, exchange, log_prob


@runtime_checkable
class HasFeatures(Protocol):
    """A discriminator that shows its features, as :class:`pyrodgm.nn.Discriminator` does."""

    features: nn.Module


class VAEGANLoss(AdversarialObjective):
    r"""Divergence and errors of a discriminator's features for the guide; these errors and a game for the decoder.

    .. math:: L_q &= w\, \mathrm{KL}(q(z \mid x) \,\|\, p(z)) + L_f, \qquad
        L_f = \tfrac12 \mathbb E_q \lVert f(x) - f(\tilde x(z)) \rVert^2 \\
        L_p &= \gamma L_f + \tfrac12 [L_G(D; \tilde x(z)) + L_G(D; \tilde x(z_p))], \qquad z_p \sim p(z) \\
        L_D &= \tfrac12 [L_D(D; x, \tilde x(z)) + L_D(D; x, \tilde x(z_p))]

    Here f are the features of the discriminator and :math:`\tilde x(z)` is the mean of the likelihood, or a draw where
    that has none. The value is the sum of the divergence, :math:`\gamma L_f` and the game; its gradient in the guide is
    that of :math:`L_q`. In the paper the two games are summed without the factor, with the term of x once.

    The discriminator takes ``x`` and has a module ``features``.

    Args:
        kl_weight: The weight w of the divergence.
        feature_weight: The weight :math:`\gamma`, positive.
        game: The losses: :class:`NonSaturating`, :class:`Wasserstein` or :class:`Hinge`.

    Raises:
        ValueError: If a weight is out of range.
        ProgramError: From the loss, if a program has not one latent and observed site, or one is masked or scaled.

    Source: Larsen et al. (2016), arXiv 1512.09300, algorithm 1.
    """

    kl_weight = KLWeight()

    def __init__(self, kl_weight: float = 1.0, feature_weight: float = 1.0, game: Game = NON_SATURATING) -> None:
        super().__init__()
        self.kl_weight = finite_number("kl_weight", kl_weight, least=0.0)
        self.feature_weight = finite_number("feature_weight", feature_weight, least=1e-9)
        self.game = require_game(game)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        drawn = trace_of(guide, args, kwargs)
        site = only_latent(drawn)
        z = site["value"]

        def decoded(value: Tensor) -> Trace:
            return trace_of(model, args, kwargs, exchange(drawn, {site["name"]: value}))

        weight = self.feature_weight
        compared = decoded(z.detach() + (z - z.detach()) / weight)  # the guide sees the errors unweighted
        x = only_observed(compared)["value"]
        errors = (self._features(x) - self._features(_shown(compared))).flatten(1).square().sum(1)
        shown = [_shown(trace) for trace in (decoded(z.detach()), trace_of(model, args, kwargs))]
        game = self.game.generator(self.score, shown[0]) + self.game.generator(self.score, shown[1])
        divergence = _divergence(site, {**only_latent(compared), "value": z})
        return self.kl_weight.to(z) * divergence + 0.5 * (weight * errors + game).sum()

    def critic_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            again, fresh = trace_of(model, args, kwargs, trace_of(guide, args, kwargs)), trace_of(model, args, kwargs)
            real, first, second = only_observed(fresh)["value"], _shown(again), _shown(fresh)
        return 0.5 * (self.game.critic(self.score, real, first) + self.game.critic(self.score, real, second)).sum()

    def _features(self, x: Tensor) -> Tensor:
        if not isinstance(self.discriminator, HasFeatures):
            raise TypeError(
                "pair must have a discriminator with a module features for VAEGANLoss, as pyrodgm.nn.Discriminator "
                f"has, got {type(self.discriminator).__name__}"
            )
        found: Tensor = self.discriminator.features(x)
        return found


def _shown(trace: Trace) -> Tensor:
    """The data as the decoder shows them: their mean, or a draw where there is none."""
    site = only_observed(trace)
    try:
        mean: Tensor = site["fn"].mean
    except NotImplementedError:
        return made(site)
    return mean


def _divergence(q: Site, p: Site) -> Tensor:
    """KL(q || p) summed over the data, exact where it is known and sampled otherwise."""
    if Latent(q, p, ordered=True).has_divergence():
        with contextlib.suppress(NotImplementedError):
            return divergence_given(fn_of(q), fn_of(p), q["value"]).sum()
    return (log_prob(q) - log_prob(p)).sum()
