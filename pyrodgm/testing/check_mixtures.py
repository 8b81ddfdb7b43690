"""Checks of the estimators of mixture posteriors on a random pair, against exact values and gradients."""

from functools import partial
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrodgm.distributions import DiagNormalMixture, StickLogits
from pyrodgm.infer import MixtureDensityELBO, StratifiedELBO, StratifiedIWELBO, log_likelihood
from pyrodgm.testing.check_estimators import unless_refused
from pyrodgm.testing.exact_mixtures import (
    MixtureNoise,
    density_bound,
    mixture_evidence,
    mixture_terms,
    stratified_bound,
    stratified_iw_bound,
)
from pyrodgm.testing.mixture_pair import MixtureFeatures, MixturePair

BATCH, PARTICLES, EVIDENCE_SAMPLES = 3, 4, 2000


def check_mixtures(features: MixtureFeatures, thorough: bool = False) -> None:
    """Run the estimators of mixture posteriors on a random pair and compare them with exact values.

    Bounds and gradients must agree at given noise to rounding, and to 1e-7 where divergences are quadratures.

    Args:
        features: What the pair has.
        thorough: Whether to estimate the log-likelihood too, to five standard errors.

    Raises:
        AssertionError: If a value, gradient or refusal is wrong; says which.
    """
    pair = MixturePair(features)
    x = pair.batch(BATCH)
    kl_weight = torch.rand((), generator=torch.Generator().manual_seed(features.seed)).item()
    noise = mixture_noise(pair, PARTICLES)
    terms = mixture_terms(pair, x, noise)
    scale = pair.full_size(BATCH) / BATCH
    many: Any = {"kl_weight": kl_weight, "num_particles": PARTICLES}
    without = not features.sticks or features.unnamed
    cases: list[tuple[Any, Tensor, bool]] = [
        (StratifiedELBO(**many), stratified_bound(terms, kl_weight).mean(), False),
        (StratifiedIWELBO(PARTICLES, kl_weight=kl_weight), stratified_iw_bound(terms, kl_weight), features.scale),
    ]
    for pairing in ("full", "own"):
        exact = density_bound(terms, kl_weight, pairing == "own", features.mixture_prior).mean()
        cases.append((MixtureDensityELBO(pairing=pairing, **many), exact, without))
    for objective, exact, refused in cases:
        name = f"{type(objective).__name__} ({getattr(objective, 'pairing', 'drawn')})"
        with FixedMixtureNoise(noise):
            loss = unless_refused(
                name, ["z"] if refused else [], objective.differentiable_loss, pair.model, pair.guide, x
            )
        if loss is None:
            continue
        _agree(loss, -scale * exact, name)
        _agree(_gradient(loss, pair), _gradient(-scale * exact, pair), f"gradient of {name}")
    if thorough and not features.mask and not features.scale:
        result = partial(log_likelihood, progress=False)(pair, x, EVIDENCE_SAMPLES, seed=features.seed)
        error = (1.0 / result.ess - 1.0 / EVIDENCE_SAMPLES).clamp(min=0.0).sqrt()
        off = (result.values - mixture_evidence(pair, x)).abs() / (error + 1e-9)
        fine = (off < 5.0) | ~(result.k_hat < 0.5)
        assert fine.all(), f"log_likelihood is off by {off.tolist()} standard errors"


def mixture_noise(pair: MixturePair, count: int) -> MixtureNoise:
    """Random noise of ``count`` particles."""
    generator = torch.Generator().manual_seed(pair.features.seed + 2)
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    uniform = torch.rand(count, pair.features.components - 1, generator=generator, dtype=torch.float64)
    return MixtureNoise(-uniform.clamp(min=1e-3).log(), draw(count, pair.features.size), draw(count))


class FixedMixtureNoise(Messenger):
    """Gives the guide's sites the values that they have for given noise; enter it outside of one run of an estimator.

    The model, which comes second, replays them.
    """

    def __init__(self, noise: MixtureNoise) -> None:
        super().__init__()
        self.noise, self.given = noise, set[str]()

    def _pyro_sample(self, msg: Any) -> None:
        frames = [f for f in msg["cond_indep_stack"] if f.name == "num_particles_vectorized"]
        if not frames or msg["name"] not in ("sticks", "z", "v") or msg["name"] in self.given:
            return
        self.given.add(msg["name"])
        fn, shape = msg["fn"], (-1, *[1] * (-1 - frames[0].dim))
        if isinstance(fn, StickLogits):
            exponential = self.noise.sticks.reshape(*shape, self.noise.sticks.shape[-1])
            msg["value"] = fn.base_dist.transport(exponential)
        elif isinstance(fn, DiagNormalMixture):  # already drawn, from every component
            loc, scale = (t.movedim(-2, 0) for t in (fn.loc, fn.scale))
            drawn = loc + scale * self.noise.z.reshape(*shape, self.noise.z.shape[-1])
            msg["value"] = drawn.reshape(msg["value"].shape)
        else:
            msg["value"] = fn.loc + fn.scale * self.noise.v.reshape(shape)
        msg["done"] = True


def _gradient(value: Tensor, pair: MixturePair) -> Tensor:
    options: Any = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    found = torch.autograd.grad(value, list(pair.parameters()), **options)
    return torch.cat([part.flatten() for part in found])


def _agree(found: Tensor, exact: Tensor, what: str) -> None:
    error = ((found - exact).abs().max() / exact.abs().max().clamp(min=1.0)).item()
    assert error < 1e-7, f"{what}: {found} where {exact} is right"
