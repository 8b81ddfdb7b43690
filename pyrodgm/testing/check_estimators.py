"""Checks of every estimator on a random pair, against exact values and gradients."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer import ELBO, IWELBO, SemiSupervisedELBO, StratifiedELBO, StratifiedIWELBO, TrainStep, log_likelihood
from pyrodgm.infer.estimators.reading import ProgramError
from pyrodgm.infer.training.feeds.validation import valid_bound
from pyrodgm.testing.exact import Values, drawn_sites, exact_elbo, guide_values, log_evidence, log_weights, terms
from pyrodgm.testing.noise import FixedNoise, sigma_points
from pyrodgm.testing.random_pair import Features, RandomPair

BATCH = 3
EVIDENCE_SAMPLES = 4000


def check_estimators(features: Features, thorough: bool = False) -> None:
    """Run all estimators on a random pair and compare them with exact values.

    Bounds and gradients must agree to rounding: the noise is fixed (:func:`sigma_points`), so that averages of
    quadratic functions are exact. Log-likelihoods must agree to five standard errors. What cannot be estimated must be
    refused with a :class:`ProgramError`.

    Args:
        features: What the pair has.
        thorough: Whether to run every gradient, the log-likelihood eager and traced, and a traced training step: ten
            times as long. Otherwise the seed decides which gradient, and whether there is a log-likelihood.

    Raises:
        AssertionError: If a value, gradient or refusal is wrong; says which.
    """
    pair = RandomPair(features)
    batch = pair.batch(BATCH)
    noise = sigma_points(drawn_sites(pair))
    if features.fault != "none":
        _check_fault(pair, batch, noise)
        return
    numbers = torch.Generator().manual_seed(features.seed)
    kl_weight, alpha = torch.rand(2, generator=numbers).tolist()
    _check_elbo(pair, batch, noise, kl_weight)
    gradients = ("reparam", "stl", "dreg")
    for gradient in gradients if thorough else gradients[features.seed % 3 :][:1]:
        for order, weight in ((0.0, 1.0), (alpha, kl_weight)):
            _check_iwelbo(pair, batch, noise, order, weight, gradient)
    if thorough or features.seed % 4 == 0:
        _check_log_likelihood(pair, batch, "eager")
    if thorough:
        _check_step(pair, batch, noise)
        _check_log_likelihood(pair, batch, "traced")


def _check_fault(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor]) -> None:
    """A site that cannot be counted is refused by name, by every estimator."""
    f = pair.features
    site = {"stray": "stray", "factor": "f", "observed": "h", "discrete": "k"}[f.fault]
    count = len(next(iter(noise.values())))
    objectives: list[Any] = [ELBO(), ELBO(num_particles=count, vectorize_particles=True)]
    if not f.label:
        objectives += [StratifiedELBO(), IWELBO(count), IWELBO(count, gradient="dreg"), StratifiedIWELBO(count)]
    for objective in objectives:
        name = f"{type(objective).__name__} of a pair with a {f.fault} site"
        assert _unless_refused(name, [site], objective.differentiable_loss, pair.model, pair.guide, *batch) is None
    if f.fault != "discrete" and not f.argument:
        name = f"log_likelihood of a pair with a {f.fault} site"
        _unless_refused(name, [site], partial(log_likelihood, progress=False), pair, batch[0], 10)


def _check_elbo(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor], kl_weight: float) -> None:
    count = len(next(iter(noise.values())))
    exact = -exact_elbo(pair, batch, noise, kl_weight)
    slope = _gradient(exact, pair)
    many: Any = {"kl_weight": kl_weight, "num_particles": count}
    objectives = [ELBO(vectorize_particles=True, **many)]
    if not pair.features.argument:
        objectives.append(SemiSupervisedELBO(vectorize_particles=True, **many))
    if not pair.features.label:
        objectives.append(StratifiedELBO(**many))
    with FixedNoise(noise):
        for objective in objectives:
            name = type(objective).__name__
            loss = objective.differentiable_loss(pair.model, pair.guide, *batch)
            _agree(loss, exact, name)
            _agree(_gradient(loss, pair), slope, f"gradient of {name}")
        evidence_bound = ELBO(num_particles=count, vectorize_particles=True)
        with torch.no_grad():
            bound = valid_bound(pair, evidence_bound, lambda: iter([batch]))
            _agree(torch.tensor(bound), exact_elbo(pair, batch, noise) / pair.full_size(BATCH), "valid_bound")
    # the exact gradient itself, along one direction, by finite differences
    trained = [p for p in pair.parameters() if p.requires_grad]
    direction = torch.cos(torch.arange(len(trained), dtype=torch.float64))
    step, values = 1e-5, []
    with torch.no_grad():
        for sign in (1.0, -2.0, 1.0):
            for parameter, along in zip(trained, direction, strict=True):
                parameter.add_(sign * step * along)
            values.append(-exact_elbo(pair, batch, noise, kl_weight))
    _agree(((values[0] - values[1]) / (2 * step)), slope @ direction, "finite difference", 1e-6)


def _check_iwelbo(
    pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor], alpha: float, weight: float, gradient: Any
) -> None:
    count = len(next(iter(noise.values())))
    objectives: list[Any] = [IWELBO(count, alpha=alpha, gradient=gradient, kl_weight=weight)]
    if gradient == "reparam" and alpha == 0.0:
        objectives.append(StratifiedIWELBO(count, kl_weight=weight))
    refused = weights_are_refused(pair, batch)
    refused += ["z1"] if pair.features.auxiliary and gradient != "reparam" else []
    refused += ["y", "b"] if pair.features.label else []
    for objective in objectives:
        name = f"{type(objective).__name__} (alpha {alpha}, kl_weight {weight}, {gradient})"
        with FixedNoise(noise):
            loss = _unless_refused(name, refused, objective.differentiable_loss, pair.model, pair.guide, *batch)
        if loss is None:
            continue
        exact, slope = exact_iwelbo(pair, batch, noise, alpha, weight, gradient)
        _agree(loss, exact, name)
        _agree(_gradient(loss, pair), slope, f"gradient of {name}")


def weights_are_refused(pair: RandomPair, batch: tuple[Tensor, ...]) -> list[str]:
    """The sites of which an importance-weighted bound must refuse one; none if it must serve the pair."""
    f = pair.features
    sites = []
    if f.inner_subsampled:
        sites += ["w", *(["v"] if f.inner_latent else [])]
    if f.global_latent != "none" and f.subsampled:
        sites += ["x", "x2_observed", "x3", "w", "z1", "z2", "tau", "u", "v", "y", "b", "a"]
    if f.scale != "none" or (f.mask in ("model", "own") and bool((batch[0] >= 0.5).any())):
        sites.append("z1")
    return sites


def exact_iwelbo(
    pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor], alpha: float, weight: float, gradient: str
) -> tuple[Tensor, Tensor]:
    """The loss of the importance-weighted bound at given noise, and its gradient as the papers write it."""
    drawn = guide_values(pair, batch[0], noise, 0.0)
    leaves: Values = {name: z.detach().requires_grad_() for name, z in drawn.items()}
    count, order = len(next(iter(noise.values()))), 1.0 - alpha
    scale = 1.0 if pair.features.global_latent != "none" else pair.full_size(BATCH) / BATCH

    def weights(given: Values, posterior: bool = True) -> Tensor:
        found = terms(pair, batch, noise, 0.0, 0.0, given)
        if not posterior:
            zero = torch.zeros_like
            found = replace(found, posterior=zero(found.posterior), global_posterior=zero(found.global_posterior))
        return log_weights(pair, found, BATCH, weight)

    log_w = weights(drawn)
    loss = -scale * ((order * log_w).logsumexp(0) - math.log(count)).sum() / order
    if gradient == "reparam":
        return loss, _gradient(loss, pair)
    normalised = (order * log_w).softmax(0).detach()
    slopes = torch.autograd.grad((normalised * weights(leaves)).sum(), list(leaves.values()), allow_unused=True)
    factor = 1.0 - weight * order * (1.0 - normalised) if gradient == "dreg" else torch.ones_like(normalised)
    surrogate = (normalised * weights({n: z.detach() for n, z in leaves.items()}, posterior=False)).sum()
    for (name, z), slope in zip(drawn.items(), slopes, strict=True):
        if slope is not None:
            own = factor.unsqueeze(-1) if name == "v" else factor
            surrogate = surrogate + ((own * slope).detach() * z).sum()
    return loss, _gradient(-scale * surrogate, pair)


def _check_log_likelihood(pair: RandomPair, batch: tuple[Tensor, ...], mode: Any) -> None:
    f = pair.features
    if f.argument:  # it calls the programs with the data alone
        return
    refused = weights_are_refused(pair, batch)
    if f.global_latent != "none" or f.inner == "right":
        refused = [
            *refused,
            "g",
            "x",
            "x2_observed",
            "x2_unobserved",
            "x3",
            "w",
            "z1",
            "z2",
            "tau",
            "u",
            "v",
            "y",
            "b",
            "a",
        ]
    for sum_out in (False, True) if f.label else (False,):
        name = f"log_likelihood ({mode}, sum_out={sum_out})"
        options: Any = {"seed": f.seed, "compile": mode, "progress": False, "sum_out": sum_out}
        result = _unless_refused(name, refused, partial(log_likelihood, **options), pair, batch[0], EVIDENCE_SAMPLES)
        if result is not None and f.mask == "none":
            error = (1.0 / result.ess - 1.0 / EVIDENCE_SAMPLES).clamp(min=0.0).sqrt()
            distance = (result.values - log_evidence(pair, batch)).abs()
            sure = result.k_hat < 0.5  # weights whose variance, and so the standard error, is finite
            fine = (distance < 5.0 * error + 1e-9) | ~sure
            assert fine.all(), f"{name}: {distance} for standard errors {error}"


def _check_step(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor]) -> None:
    count = len(next(iter(noise.values())))
    objective = ELBO(num_particles=count, vectorize_particles=True)
    trained = [p for p in pair.parameters() if p.requires_grad]
    step = TrainStep(pair, objective, torch.optim.SGD(trained, lr=0.0), compile="traced")
    with FixedNoise(noise):
        losses = [step(*batch) for _ in range(2)]
    exact = -exact_elbo(pair, batch, noise) / pair.full_size(BATCH)
    for loss in losses:
        _agree(loss, exact, "traced step")
    found = torch.stack([torch.zeros(()) if p.grad is None else p.grad for p in trained])
    _agree(found, _gradient(exact, pair), "gradient of the traced step")
    pair.zero_grad()


def _unless_refused(name: str, refused: list[str], run: Callable[..., Any], *args: Any) -> Any:
    """What ``run`` returns, or None if it refuses one of the sites that it has to refuse."""
    try:
        result = run(*args)
    except ProgramError as error:
        if error.site not in refused:
            raise AssertionError(f"{name} must serve the pair, got: {error}") from error
        return None
    assert not refused, f"{name} must refuse one of the sites {refused}"
    return result


def _gradient(loss: Tensor, pair: RandomPair) -> Tensor:
    """The gradient of all trained parameters, which are scalars."""
    trained = [p for p in pair.parameters() if p.requires_grad]
    return torch.stack(torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True))


def _agree(found: Tensor, exact: Tensor, what: str, tolerance: float = 1e-8) -> None:
    found, exact = found.detach().double(), exact.detach()
    error = (found - exact).abs().max() / exact.abs().max().clamp(min=1.0)
    assert error < tolerance, f"{what}: {found} where {exact} is right"
