"""Checks of every estimator on a random pair, against exact values and gradients."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrodgm.infer import ELBO, IWELBO, SemiSupervisedELBO, StratifiedELBO, StratifiedIWELBO, TrainStep, log_likelihood
from pyrodgm.infer.estimators.reading import counted
from pyrodgm.infer.estimators.sites import traces
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.feeds.validation import valid_bound
from pyrodgm.testing.evidence import exact_posterior
from pyrodgm.testing.exact import all_terms, drawn_sites, exact_elbo, exact_rule
from pyrodgm.testing.exact import labels as choices
from pyrodgm.testing.exact_iwelbo import IN_THE_DATA_PLATE, exact_iwelbo, gradient_of, weights_are_refused
from pyrodgm.testing.features import Features
from pyrodgm.testing.noise import FixedNoise, Rule, sigma_points
from pyrodgm.testing.random_pair import LABELS, RandomPair

BATCH = 3
EVIDENCE_SAMPLES = 4000


def check_estimators(features: Features, thorough: bool = False, compiled: bool = False) -> None:
    """Run all estimators on a random pair and compare them with exact values.

    Bounds and gradients must agree to rounding: the noise is fixed (:func:`exact_rule`), so that averages are exact.
    Log-likelihoods and posterior means must agree to five standard errors. What cannot be estimated must be refused
    with a :class:`ProgramError`.

    Args:
        features: What the pair has.
        thorough: Whether to run every gradient, the log-likelihood eager and traced, and a traced training step: ten
            times as long. Otherwise the seed decides which gradient, and whether there is a log-likelihood.
        compiled: Whether to run the log-likelihood compiled too, which takes a minute.

    Raises:
        AssertionError: If a value, gradient or refusal is wrong; says which.
    """
    pair = RandomPair(features)
    batch = pair.batch(BATCH)
    rule, points = exact_rule(pair), sigma_points(drawn_sites(pair))
    if features.fault != "none":
        _check_fault(pair, batch, points)
        return
    numbers = torch.Generator().manual_seed(features.seed)
    kl_weight, alpha = torch.rand(2, generator=numbers).tolist()
    _check_elbo(pair, batch, rule, kl_weight)
    if features.label and not features.argument:
        _check_labels(pair, batch[0], rule, kl_weight)
    gradients = ("reparam", "stl", "dreg")
    for gradient in gradients if thorough else gradients[features.seed % 3 :][:1]:
        for order, weight in ((0.0, 1.0), (alpha, kl_weight)):
            _check_iwelbo(pair, batch, points, order, weight, gradient)
    if thorough or features.seed % 4 == 0:
        _check_log_likelihood(pair, batch, "eager")
    if thorough:
        _check_step(pair, batch, rule)
        _check_log_likelihood(pair, batch, "traced")
    if compiled:
        _check_log_likelihood(pair, batch, "compiled")


def nesting(pair: RandomPair) -> float:
    """The depth of plates that estimators are told of; each fifth pair lets them find it out, which takes time."""
    return math.inf if pair.features.seed % 5 == 0 else 2


def _check_fault(pair: RandomPair, batch: tuple[Tensor, ...], rule: Rule) -> None:
    """A site that cannot be counted is refused by name, by every estimator."""
    f = pair.features
    site = {"stray": "stray", "factor": "f", "observed": "h", "discrete": "k"}[f.fault]
    count = rule.size
    objectives: list[Any] = [ELBO(), ELBO(num_particles=count, vectorize_particles=True)]
    if not f.label:
        objectives += [StratifiedELBO(), IWELBO(count), IWELBO(count, gradient="dreg"), StratifiedIWELBO(count)]
    for objective in objectives:
        name = f"{type(objective).__name__} of a pair with a {f.fault} site"
        assert unless_refused(name, [site], objective.differentiable_loss, pair.model, pair.guide, *batch) is None
    if f.fault != "discrete" and not f.argument:
        name = f"log_likelihood of a pair with a {f.fault} site"
        unless_refused(name, [site], partial(log_likelihood, progress=False), pair, batch[0], 10)


def _check_elbo(pair: RandomPair, batch: tuple[Tensor, ...], rule: Rule, kl_weight: float) -> None:
    count = rule.size
    exact = -exact_elbo(pair, batch, rule, kl_weight)
    slope = gradient_of(exact, pair)
    many: Any = {"kl_weight": kl_weight, "num_particles": count, "max_plate_nesting": nesting(pair)}
    objectives = [ELBO(vectorize_particles=True, **many)]
    if not pair.features.argument:
        objectives.append(SemiSupervisedELBO(vectorize_particles=True, **many))
    if not pair.features.label:
        objectives.append(StratifiedELBO(**many))
    with FixedNoise(rule):
        for objective in objectives:
            name = type(objective).__name__
            loss = objective.differentiable_loss(pair.model, pair.guide, *batch)
            _agree(loss, exact, name)
            _agree(gradient_of(loss, pair), slope, f"gradient of {name}")
        evidence_bound = ELBO(num_particles=count, vectorize_particles=True)
        with torch.no_grad():
            bound = valid_bound(pair, evidence_bound, lambda: iter([batch]))
            _agree(torch.tensor(bound), exact_elbo(pair, batch, rule) / pair.full_size(BATCH), "valid_bound")
    _check_slope(pair, lambda: -exact_elbo(pair, batch, rule, kl_weight), slope)


def _check_labels(pair: RandomPair, x: Tensor, rule: Rule, kl_weight: float) -> None:
    """Labels of some data are known; all, or none, or the first two of three."""
    labels = torch.arange(len(x)) % LABELS
    scale = pair.full_size(BATCH) / BATCH
    for known in (2, len(x)):
        objective = SemiSupervisedELBO(
            classifier_weight=0.7,
            kl_weight=kl_weight,
            num_particles=rule.size,
            vectorize_particles=True,
            max_plate_nesting=nesting(pair),
        )
        refused = _refused_with_labels(pair, known)
        name, programs = f"SemiSupervisedELBO with {known} labels", (pair.model, pair.guide)
        with FixedNoise(rule):
            loss = unless_refused(name, refused, objective.differentiable_loss, *programs, x, labels[:known])
        if loss is None:
            continue
        exact = -exact_elbo(pair, (x[:known],), rule, kl_weight, labels[:known])
        found = zip(choices(pair), all_terms(pair, (x,), rule.noise), strict=True)
        log_labels = {y: t.log_label for (y, _), t in found}
        exact = exact - 0.7 * scale * sum(log_labels[float(y)][n] for n, y in enumerate(labels[:known]))
        if known < len(x):
            exact = exact - exact_elbo(pair, (x[known:],), rule, kl_weight)
        _agree(loss, exact, name)
        _agree(gradient_of(loss, pair), gradient_of(exact, pair), f"gradient of {name}")


def _refused_with_labels(pair: RandomPair, known: int) -> list[str]:
    """The sites of which one has to be refused where so many data are labelled."""
    f = pair.features
    parts = known < BATCH  # whose sites outside would count in both, and whose scales are not the same
    if parts and f.subsampled:
        return [site["name"] for trace in traces(pair, *pair.batch(BATCH)) for site in counted(trace)]
    if parts and f.global_latent != "none":
        return ["g"]
    return ["y"] if f.inner == "right" else []  # whose data plate is not at -1


def _check_slope(pair: RandomPair, value: Callable[[], Tensor], slope: Tensor) -> None:
    """The exact gradient itself, along one direction, by finite differences."""
    trained = [p for p in pair.parameters() if p.requires_grad]
    direction = torch.cos(torch.arange(len(trained), dtype=torch.float64))
    step, values = 1e-5, []
    for sign in (1.0, -2.0, 1.0):
        with torch.no_grad():
            for parameter, along in zip(trained, direction, strict=True):
                parameter.add_(sign * step * along)
        values.append(value().detach())
    _agree((values[0] - values[1]) / (2 * step), slope @ direction, "finite difference", 1e-6)


def _check_iwelbo(
    pair: RandomPair, batch: tuple[Tensor, ...], points: Rule, alpha: float, weight: float, gradient: Any
) -> None:
    count, noise = points.size, points.noise
    many: Any = {"kl_weight": weight, "max_plate_nesting": nesting(pair)}
    objectives: list[Any] = [IWELBO(count, alpha=alpha, gradient=gradient, **many)]
    if gradient == "reparam" and alpha == 0.0:
        objectives.append(StratifiedIWELBO(count, **many))
    refused = weights_are_refused(pair, batch)
    refused += ["z1"] if pair.features.auxiliary and gradient != "reparam" else []
    refused += ["y", "b"] if pair.features.label else []
    for objective in objectives:
        name = f"{type(objective).__name__} (alpha {alpha}, kl_weight {weight}, {gradient})"
        with FixedNoise(points):
            loss = unless_refused(name, refused, objective.differentiable_loss, pair.model, pair.guide, *batch)
        if loss is None:
            continue
        exact, slope = exact_iwelbo(pair, batch, noise, alpha, weight, gradient)
        _agree(loss, exact, name)
        _agree(gradient_of(loss, pair), slope, f"gradient of {name}")
        if gradient == "reparam":
            _check_slope(pair, lambda: exact_iwelbo(pair, batch, noise, alpha, weight, gradient)[0], slope)


def _check_log_likelihood(pair: RandomPair, batch: tuple[Tensor, ...], mode: Any) -> None:
    f = pair.features
    if f.argument:  # it calls the programs with the data alone
        return
    refused = weights_are_refused(pair, batch)
    if f.global_latent != "none" or f.inner == "right":
        refused = [*refused, "g", *IN_THE_DATA_PLATE]
    for sum_out in (False, True) if f.label else (False,):
        name = f"log_likelihood ({mode}, sum_out={sum_out})"
        options: Any = {"seed": f.seed, "compile": mode, "progress": False, "sum_out": sum_out, "keep": not sum_out}
        result = unless_refused(name, refused, partial(log_likelihood, **options), pair, batch[0], EVIDENCE_SAMPLES)
        if result is None or f.mask != "none":
            continue
        exact = exact_posterior(pair, batch)
        error = (1.0 / result.ess - 1.0 / EVIDENCE_SAMPLES).clamp(min=0.0).sqrt()
        sure = result.k_hat < 0.5  # weights whose variance, and so the standard error, is finite
        _within(result.values, exact.log_evidence, error, sure, name)
        if result.draws is not None and result.log_weights is not None:
            z, weights = result.draws["z1"], result.log_weights.softmax(0)
            mean = (weights * z).sum(0)
            error = (weights * (z - mean)).square().sum(0).sqrt()
            _within(mean, exact.mean, error, sure, f"posterior mean by {name}")
            spread = (weights * (z - exact.mean) ** 2).sum(0)
            error = (weights * ((z - exact.mean) ** 2 - spread)).square().sum(0).sqrt()
            sure = result.k_hat < 0.3  # few draws from the tails carry a variance
            _within(spread, exact.variance, error, sure, f"posterior variance by {name}")


def _within(found: Tensor, exact: Tensor, error: Tensor, sure: Tensor, what: str) -> None:
    """Within five standard errors, where these are known."""
    fine = ((found - exact).abs() < 5.0 * error + 1e-9) | ~sure
    assert fine.all(), f"{what}: {found} where {exact} is right, with standard errors {error}"


def _check_step(pair: RandomPair, batch: tuple[Tensor, ...], rule: Rule) -> None:
    count = rule.size
    objective = ELBO(num_particles=count, vectorize_particles=True)
    trained = [p for p in pair.parameters() if p.requires_grad]
    step = TrainStep(pair, objective, torch.optim.SGD(trained, lr=0.0), compile="traced")
    with FixedNoise(rule):
        losses = [step(*batch) for _ in range(2)]
    exact = -exact_elbo(pair, batch, rule) / pair.full_size(BATCH)
    for loss in losses:
        _agree(loss, exact, "traced step")
    found = torch.stack([torch.zeros(()) if p.grad is None else p.grad for p in trained])
    _agree(found, gradient_of(exact, pair), "gradient of the traced step")
    pair.zero_grad()


def unless_refused(name: str, refused: list[str], run: Callable[..., Any], *args: Any) -> Any:
    """What ``run`` returns, or None if it refuses one of the sites that it has to refuse."""
    try:
        result = run(*args)
    except ProgramError as error:
        if error.site not in refused:
            raise AssertionError(f"{name} must serve the pair, got: {error}") from error
        return None
    assert not refused, f"{name} must refuse one of the sites {refused}"
    return result


def _agree(found: Tensor, exact: Tensor, what: str, tolerance: float = 1e-8) -> None:
    found, exact = found.detach().double(), exact.detach()
    error = (found - exact).abs().max() / exact.abs().max().clamp(min=1.0)
    assert error < tolerance, f"{what}: {found} where {exact} is right"
