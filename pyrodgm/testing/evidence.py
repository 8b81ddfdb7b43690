"""Exact evidence and posterior moments of random pairs: linear algebra, and quadrature of one predictor."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pyrodgm.testing.exact import labels, normal
from pyrodgm.testing.noise import hermite
from pyrodgm.testing.random_pair import INNER, LABELS, RandomPair, counted, pair_of, rare

NODES = 48


@dataclass(frozen=True)
class Posterior:
    """What is known of each datum.

    Attributes:
        log_evidence: log p(x), ``[B]``.
        mean: Posterior mean of ``z1``, ``[B]``.
        variance: Its posterior variance, ``[B]``.
    """

    log_evidence: Tensor
    mean: Tensor
    variance: Tensor


def log_evidence(pair: RandomPair, batch: tuple[Tensor, ...]) -> Tensor:
    """Log p(x) of each datum ``[B]``; no mask, scale or subsampled inner plate, no global site."""
    return exact_posterior(pair, batch).log_evidence


def exact_posterior(pair: RandomPair, batch: tuple[Tensor, ...]) -> Posterior:
    """Evidence and posterior of each datum; no mask, scale or subsampled inner plate, no global site.

    Given the labels, observations, ``z1`` and the predictor of ``c`` are linear functions of standard normal noise.
    """
    rows = []
    with torch.no_grad():
        for n in range(len(batch[0])):
            parts = [_given_labels(pair, tuple(part[n] for part in batch), y, b) for y, b in labels(pair)]
            log_joint, mean, square = (torch.stack(column) for column in zip(*parts, strict=True))
            share = log_joint.softmax(0)
            first = (share * mean).sum()
            rows.append((log_joint.logsumexp(0), first, (share * square).sum() - first**2))
    return Posterior(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _given_labels(pair: RandomPair, datum: tuple[Tensor, ...], y: float, b: float) -> tuple[Tensor, Tensor, Tensor]:
    """Log p(x, y, b), and the first two moments of ``z1`` given all of these."""
    f, w, x = pair.features, pair.weights, datum[0]
    inside = [x * (0.5 + j) for j in range(INNER)] if f.inner != "none" else []
    second = [x**2] if f.missing and bool(x > 0.0) else []
    observed = torch.stack([x, *second, *(pair_of(x) if f.vector != "none" else []), *inside])

    def simulate(eps: Tensor) -> Tensor:
        """``z1``, the predictor of ``c`` and the observations."""
        noise = iter(eps)
        loc: Any = w["prior_loc"] + w["z1_of_y"] * y * f.label
        if f.own_site != "none":
            loc = loc + w["tau_loc"] + w["tau_scale"] * next(noise)
        z1 = loc + w["prior_scale"] * next(noise)
        mean = z1 + w["x_of_y"] * y * f.label + (w["x_of_c"] * datum[1] if f.argument else 0.0)
        predictor = w["c_of_z1"] * z1
        if f.model_only:
            mean = mean + w["x_of_u"] * (w["u_of_z1"] * z1 + w["u_scale"] * next(noise))
        if f.second_latent:
            z2 = w["z2_of_z1"] * z1 + w["z2_of_b"] * b + w["z2_scale"] * next(noise)
            mean, predictor = mean + w["x_of_z2"] * z2, predictor + w["c_of_z2"] * z2
        if f.vector != "none":
            first, step = next(noise), next(noise)
            s0 = w["s_of_z1"] * z1 + w["s_scale"] * first
            s1 = w["s_below"] * first + w["s_scale"] * step
            mean = mean + w["x_of_s"] * s1
        out = [z1, predictor, mean + w["x_scale"] * next(noise)]
        if f.missing and bool(x > 0.0):
            out.append(w["x2_of_z1"] * z1 + w["x2_scale"] * next(noise))
        if f.vector != "none":
            out += [w["xs_of_s"] * s + w["xs_scale"] * next(noise) for s in (s0, s1)]
        for _ in inside:
            v = w["v_of_z1"] * z1 + w["v_scale"] * next(noise) if f.inner_latent else z1
            out.append(v + w["w_scale"] * next(noise))
        return torch.stack(out)

    loc = simulate(torch.zeros(16, dtype=x.dtype))
    factor = torch.stack([simulate(row) for row in torch.eye(16, dtype=x.dtype)]) - loc
    covariance = factor.T @ factor
    density = torch.distributions.MultivariateNormal(loc[2:], covariance[2:, 2:]).log_prob(observed)
    gain = torch.linalg.solve(covariance[2:, 2:], covariance[2:, :2]).T
    mean, spread = loc[:2] + gain @ (observed - loc[2:]), covariance[:2, :2] - gain @ covariance[2:, :2]
    moments = mean[0], mean[0] ** 2 + spread[0, 0]
    if f.count != "none":
        nodes, weights = hermite(NODES)
        log_p = log_count(pair, x, mean[1] + spread[1, 1].sqrt() * nodes) + weights.log()
        density, share = density + log_p.logsumexp(0), log_p.softmax(0)
        given = mean[0] + spread[0, 1] / spread[1, 1].sqrt() * nodes
        rest = spread[0, 0] - spread[0, 1] ** 2 / spread[1, 1]
        moments = (share * given).sum(), (share * (given**2 + rest)).sum()
    if f.rate != "none":
        n, shape, rate = rare(x), w["r_shape"], w["r_rate"]
        density = density + torch.lgamma(n + shape) - torch.lgamma(shape) - torch.lgamma(n + 1.0)
        density = density + shape * (rate / (rate + 1.0)).log() - n * (rate + 1.0).log()
    if f.label:
        density = density + (w["y_logit"] * torch.arange(LABELS, dtype=x.dtype)).log_softmax(-1)[int(y)]
        if f.second_label:
            logit = w["b_logit"] + w["b_of_y"] * y
            density = density + functional.logsigmoid((2.0 * b - 1.0) * logit)
            density = density + normal(x, w["z2_of_b"] * b, w["x2_scale"])
    return density, *moments


def log_count(pair: RandomPair, x: Tensor, predictor: Tensor) -> Tensor:
    """Log-probability of ``c`` given its predictor."""
    c = counted(x, pair.features.count)
    if pair.features.count == "bernoulli":
        return functional.logsigmoid((2.0 * c - 1.0) * predictor)
    return c * predictor - predictor.exp() - torch.lgamma(c + 1.0)
