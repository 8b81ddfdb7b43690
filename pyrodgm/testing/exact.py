"""Exact evidence and bounds of random pairs, by formulas of their own: no Pyro, no traces."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pyrodgm.testing.noise import Rule, gamma_points, rotated, sigma_points
from pyrodgm.testing.random_pair import INNER, LABELS, RandomPair, beside, counted, pair_of, rare

Values = dict[str, Any]


def normal(value: Any, loc: Any, scale: Tensor) -> Tensor:
    """Log-density of a normal distribution."""
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


def normal_pair(value: Tensor, first: Any, second: Any, scale: Tensor, below: Tensor) -> Tensor:
    """Log-density of two normal variables: the second given the noise of the first."""
    log_first = normal(value[..., 0], first, scale)
    return log_first + normal(value[..., 1], second + below * (value[..., 0] - first) / scale, scale)


def gamma(value: Any, shape: Any, rate: Any) -> Tensor:
    """Log-density of a gamma distribution."""
    return shape * rate.log() - torch.lgamma(shape) + (shape - 1.0) * value.log() - rate * value


def gamma_divergence(shape: Tensor, rate: Tensor, p_shape: Tensor, p_rate: Tensor) -> Tensor:
    """KL of two gamma distributions, from their expectations of r and log r."""
    mean, log_mean = shape / rate, torch.digamma(shape) - rate.log()
    own = shape * rate.log() - torch.lgamma(shape) + (shape - 1.0) * log_mean - rate * mean
    other = p_shape * p_rate.log() - torch.lgamma(p_shape) + (p_shape - 1.0) * log_mean - p_rate * mean
    return own - other


def columns(noise: Tensor) -> Tensor:
    """Noise ``[K]`` of all data, or ``[K, B]`` of each, by particle and datum."""
    return noise if noise.dim() == 2 else noise.unsqueeze(-1)


def drawn_sites(pair: RandomPair) -> list[str]:
    """The sites with a density that are drawn, by either program."""
    f = pair.features
    return [
        *(["g"] if f.global_latent != "none" else []),
        *(["tau"] if f.own_site != "none" else []),
        "a" if f.auxiliary else "z1",
        *(["z2"] if f.second_latent else []),
        *(["u"] if f.model_only else []),
        *(["s0", "s1"] if f.vector != "none" else []),
        *(["v"] if f.inner != "none" and f.inner_latent else []),
        *(["r"] if f.rate != "none" else []),
    ]


@dataclass(frozen=True)
class Terms:
    """Log-probabilities of one choice of labels, ``[K, B]`` for K particles, the global site's ``[K]`` apart.

    Attributes:
        observed: log p(x | z).
        prior: log p(z) of the sites that the guide has too.
        posterior: log q(z | x).
        global_prior: log p(g).
        global_posterior: log q(g).
        weight: Probability of these labels in the guide, ``[B]``.
        label_prior: log p(y), ``[B]``.
        log_label: log q(y | x), ``[B]``.
        surplus: By how much log p(r) - log q(r) is above its expectation under the guide.
    """

    observed: Tensor
    prior: Tensor
    posterior: Tensor
    global_prior: Tensor
    global_posterior: Tensor
    weight: Tensor
    label_prior: Tensor
    log_label: Tensor
    surplus: Tensor


def labels(pair: RandomPair) -> Iterator[tuple[float, float]]:
    """All choices of the labels y and b; zero where there is none."""
    f = pair.features
    return itertools.product(
        map(float, range(LABELS if f.label else 1)), map(float, range(2 if f.label and f.second_label else 1))
    )


def guide_values(pair: RandomPair, x: Tensor, noise: dict[str, Tensor], y: float) -> Values:
    """The guide's draws, ``[K, B]`` (``v``: ``[K, B, INNER]``), from standard normal noise ``[K]`` or ``[K, B]``."""
    f, w = pair.features, pair.weights
    eps = {name: columns(value) for name, value in noise.items()}
    out: Values = {}
    if f.global_latent == "paired":
        out["g"] = w["q_g"] + w["q_g_scale"] * eps["g"]
    loc = w["q_z1"] + w["q_z1_of_x"] * x + w["q_z1_of_y"] * y
    if f.own_site == "paired":
        out["tau"] = w["q_tau"] + w["q_tau_of_x"] * x + w["q_tau_scale"] * eps["tau"]
        loc = loc + w["q_z1_of_tau"] * out["tau"]
    if f.rate == "paired":
        out["r"] = gamma_points(w["q_r_shape"], w["q_r_rate"] * (w["q_r_of_x"] * x).exp(), eps["r"])
    if f.second_latent and f.reversed_guide:
        out["z2"] = w["q_z2"] + w["q_z2_of_x"] * x + w["q_z2_scale"] * eps["z2"]
        loc = loc + w["q_z1_of_z2"] * out["z2"]
    if f.auxiliary:
        out["a"] = loc + w["q_z1_scale"] * eps["a"]
        out["z1"] = w["q_stretch"] * out["a"]
    else:
        out["z1"] = loc + w["q_z1_scale"] * eps["z1"]
    if f.second_latent and not f.reversed_guide:
        loc = w["q_z2"] + w["q_z2_of_x"] * x + w["q_z2_of_z1"] * out["z1"]
        out["z2"] = loc + w["q_z2_scale"] * eps["z2"]
    if f.vector in ("diagonal", "correlated"):
        first = w["q_s"] + w["q_s_of_x"] * x + w["q_s_scale"] * eps["s0"]
        below = w["q_s_below"] * eps["s0"] if f.vector == "correlated" else 0.0
        second = w["q_s_of_z1"] * out["z1"] + below + w["q_s_scale"] * eps["s1"]
        out["s"] = beside(first, second)
    if f.inner != "none" and f.inner_latent:
        inside = x.unsqueeze(-1) * (0.5 + torch.arange(INNER, dtype=x.dtype))
        out["v"] = w["q_v"] + w["q_v_of_x"] * inside + w["q_v_scale"] * eps["v"].unsqueeze(-1)
    return out


def terms(
    pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor], y: float, b: float, given: Values
) -> Terms:
    """All log-probabilities at given values of the guide's sites; what the model alone draws is made from ``noise``."""
    f, w, x = pair.features, pair.weights, batch[0]
    zero = torch.zeros(len(next(iter(noise.values()))), len(x), dtype=x.dtype)
    prior, posterior, observed = zero, zero, zero
    global_prior = global_posterior = zero[:, 0]
    weight, label_prior, log_label = torch.ones_like(x), torch.zeros_like(x), torch.zeros_like(x)
    surplus = zero
    mean: Any = w["x_of_c"] * batch[1] if f.argument else 0.0
    shift: Any = 0.0
    if f.global_latent != "none":
        g = given["g"] if f.global_latent == "paired" else columns(noise["g"])
        if f.global_latent == "paired":
            global_prior = normal(g, 0.0, torch.ones_like(w["q_g"]))[:, 0]
            global_posterior = normal(g, w["q_g"], w["q_g_scale"])[:, 0]
        mean, shift = mean + w["x_of_g"] * g, w["z1_of_g"] * g
    if f.label:
        levels = torch.arange(LABELS, dtype=x.dtype)
        label_prior = (w["y_logit"] * levels).log_softmax(-1)[int(y)].expand_as(x)
        prior = prior + label_prior
        log_label = ((w["q_y"] + w["q_y_of_x"] * x).unsqueeze(-1) * levels).log_softmax(-1)[:, int(y)]
        posterior, weight = posterior + log_label, weight * log_label.exp()
        mean, shift = mean + w["x_of_y"] * y, shift + w["z1_of_y"] * y
        if f.second_label:
            sign = 2.0 * b - 1.0
            prior = prior + functional.logsigmoid(sign * (w["b_logit"] + w["b_of_y"] * y))
            logit = w["q_b"] + (w["q_b_of_y"] * y if f.dependent_labels else 0.0)
            log_q = functional.logsigmoid(sign * logit)
            posterior, weight = posterior + log_q, weight * log_q.exp()
            observed = observed + normal(x, w["z2_of_b"] * b, w["x2_scale"])
    if f.rate == "model":
        r = gamma_points(w["r_shape"], w["r_rate"], columns(noise["r"]))
    if f.rate == "paired":
        r, own = given["r"], (w["q_r_shape"], w["q_r_rate"] * (w["q_r_of_x"] * x).exp())
        log_p, log_q = gamma(r, w["r_shape"], w["r_rate"]), gamma(r, *own)
        prior, posterior = prior + log_p, posterior + log_q
        surplus = log_p - log_q + gamma_divergence(*own, w["r_shape"], w["r_rate"])
    if f.rate != "none":
        observed = observed + rare(x) * r.log() - r - torch.lgamma(rare(x) + 1.0)
    tau: Any = 0.0
    loc = w["q_z1"] + w["q_z1_of_x"] * x + w["q_z1_of_y"] * y
    if f.own_site == "model":
        tau = w["tau_loc"] + w["tau_scale"] * columns(noise["tau"])
    if f.own_site == "paired":
        tau = given["tau"]
        prior = prior + normal(tau, w["tau_loc"], w["tau_scale"])
        posterior = posterior + normal(tau, w["q_tau"] + w["q_tau_of_x"] * x, w["q_tau_scale"])
        loc = loc + w["q_z1_of_tau"] * tau
    if f.second_latent and f.reversed_guide:
        loc = loc + w["q_z1_of_z2"] * given["z2"]
    z1 = given["z1"]
    masked = (x < 0.5).to(x.dtype)
    factors = [
        (masked if f.mask == "both" or (f.mask in ("model", "own") and model) else 1.0)
        * (0.5 if f.scale == "both" or (f.scale == "model" and model) else 1.0)
        for model in (True, False)
    ]
    prior = prior + factors[0] * normal(z1, w["prior_loc"] + tau + shift, w["prior_scale"])
    if f.auxiliary:
        posterior = posterior + normal(given["a"], loc, w["q_z1_scale"]) - w["q_stretch"].log()
    else:
        posterior = posterior + factors[1] * normal(z1, loc, w["q_z1_scale"])
    mean = mean + z1
    if f.model_only:
        mean = mean + w["x_of_u"] * (w["u_of_z1"] * z1 + w["u_scale"] * columns(noise["u"]))
    if f.second_latent:
        z2 = given["z2"]
        prior = prior + normal(z2, w["z2_of_z1"] * z1 + (w["z2_of_b"] * b if f.label else 0.0), w["z2_scale"])
        loc = w["q_z2"] + w["q_z2_of_x"] * x + (0.0 if f.reversed_guide else w["q_z2_of_z1"] * z1)
        posterior = posterior + normal(z2, loc, w["q_z2_scale"])
        mean = mean + w["x_of_z2"] * z2
    if f.vector == "model":
        first = w["s_of_z1"] * z1 + w["s_scale"] * columns(noise["s0"])
        second = w["s_below"] * columns(noise["s0"]) + w["s_scale"] * columns(noise["s1"])
        s = beside(first, second)
    elif f.vector != "none":
        s = given["s"]
        prior = prior + normal_pair(s, w["s_of_z1"] * z1, 0.0, w["s_scale"], w["s_below"])
        below = w["q_s_below"] if f.vector == "correlated" else torch.zeros_like(w["q_s_below"])
        of_guide = w["q_s"] + w["q_s_of_x"] * x, w["q_s_of_z1"] * z1
        posterior = posterior + normal_pair(s, *of_guide, w["q_s_scale"], below)
    if f.vector != "none":
        mean = mean + w["x_of_s"] * s[..., 1]
        observed = observed + normal(pair_of(x), w["xs_of_s"] * s, w["xs_scale"]).sum(-1)
    if f.count != "none":
        predictor = w["c_of_z1"] * z1 + (w["c_of_z2"] * z2 if f.second_latent else 0.0)
        c = counted(x, f.count)
        bernoulli = f.count == "bernoulli"
        log_partition = functional.softplus(predictor) if bernoulli else predictor.exp() + torch.lgamma(c + 1.0)
        observed = observed + c * predictor - log_partition
    observed = observed + normal(x, mean, w["x_scale"])
    if f.missing:
        observed = observed + (x > 0.0) * normal(x**2, w["x2_of_z1"] * z1, w["x2_scale"])
    if f.inner != "none":
        inside = x.unsqueeze(-1) * (0.5 + torch.arange(INNER, dtype=x.dtype))
        times = 2.0 if f.inner_subsampled else 1.0
        v = z1.unsqueeze(-1)
        if f.inner_latent:
            v = given["v"]
            prior = prior + times * normal(v, w["v_of_z1"] * z1.unsqueeze(-1), w["v_scale"]).sum(-1)
            posterior = posterior + times * normal(v, w["q_v"] + w["q_v_of_x"] * inside, w["q_v_scale"]).sum(-1)
        observed = observed + times * normal(inside, v, w["w_scale"]).sum(-1)
    return Terms(observed, prior, posterior, global_prior, global_posterior, weight, label_prior, log_label, surplus)


def all_terms(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor]) -> list[Terms]:
    """The terms of every choice of labels, at the guide's own draws."""
    return [terms(pair, batch, noise, y, b, guide_values(pair, batch[0], noise, y)) for y, b in labels(pair)]


def exact_elbo(
    pair: RandomPair,
    batch: tuple[Tensor, ...],
    rule: Rule,
    kl_weight: float = 1.0,
    known: Tensor | None = None,
) -> Tensor:
    """The evidence lower bound: exact, where ``rule`` averages its terms exactly; ``known`` are observed labels."""
    scale = pair.full_size(len(batch[0])) / len(batch[0])
    total = torch.zeros((), dtype=batch[0].dtype)
    found = all_terms(pair, batch, rule.noise)
    for t, (y, _) in zip(found, labels(pair), strict=True):
        observed, divergence, weight = t.observed, t.posterior - t.prior + t.surplus, t.weight
        if known is not None:  # it counts as data
            observed, divergence = observed + t.label_prior, divergence + t.label_prior - t.log_label
            weight = weight * (known == y) / t.log_label.exp()
        row = observed - kl_weight * divergence
        total = total + scale * rule.average((weight * row).sum(-1))
    return total + kl_weight * rule.average(found[0].global_prior - found[0].global_posterior)


def log_weights(pair: RandomPair, t: Terms, size: int, kl_weight: float = 1.0) -> Tensor:
    """Log importance weights ``[K, rows]``; all data are one row where they share a latent."""
    log_w = t.observed + kl_weight * (t.prior - t.posterior)
    if pair.features.global_latent == "none":
        return log_w
    return (log_w.sum(-1) + kl_weight * (t.global_prior - t.global_posterior)).unsqueeze(-1)


def exact_rule(pair: RandomPair) -> Rule:
    """A rule under which the evidence lower bound is exact, or within 1e-6 for a pair with the site ``c``."""
    names = drawn_sites(pair)
    if pair.features.count == "none":
        return sigma_points(names)
    x = torch.zeros(1, dtype=torch.float64)

    def predictor(noise: Tensor) -> Tensor:
        """The predictor of ``c`` for noise ``[K, sites]``."""
        values = guide_values(pair, x, {name: noise[:, i] for i, name in enumerate(names)}, 0.0)
        of_z2 = pair.weights["c_of_z2"] * values["z2"] if pair.features.second_latent else 0.0
        return (pair.weights["c_of_z1"] * values["z1"] + of_z2)[:, 0]

    with torch.no_grad():
        normal_sites = len(names) - ("r" in names)
        noise = torch.eye(len(names), dtype=x.dtype)[:normal_sites]
        direction = predictor(noise) - predictor(torch.zeros_like(noise))
    return rotated(names, direction)
