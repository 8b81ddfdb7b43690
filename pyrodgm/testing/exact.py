"""Exact evidence and bounds of random pairs, by formulas of their own: no Pyro, no traces."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrodgm.testing.random_pair import INNER, LABELS, RandomPair

Values = dict[str, Any]


def normal(value: Any, loc: Any, scale: Tensor) -> Tensor:
    """Log-density of a normal distribution."""
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


def drawn_sites(pair: RandomPair) -> list[str]:
    """The normal sites that are drawn, by either program."""
    f = pair.features
    return [
        *(["g"] if f.global_latent != "none" else []),
        *(["tau"] if f.own_site != "none" else []),
        "a" if f.auxiliary else "z1",
        *(["z2"] if f.second_latent else []),
        *(["u"] if f.model_only else []),
        *(["v"] if f.inner != "none" and f.inner_latent else []),
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
    """

    observed: Tensor
    prior: Tensor
    posterior: Tensor
    global_prior: Tensor
    global_posterior: Tensor
    weight: Tensor


def labels(pair: RandomPair) -> Iterator[tuple[float, float]]:
    """All choices of the labels y and b; zero where there is none."""
    f = pair.features
    return itertools.product(
        map(float, range(LABELS if f.label else 1)), map(float, range(2 if f.label and f.second_label else 1))
    )


def guide_values(pair: RandomPair, x: Tensor, noise: dict[str, Tensor], y: float) -> Values:
    """The guide's draws, ``[K, B]`` (``v``: ``[K, B, INNER]``), from standard normal noise ``[K]`` of each site."""
    f, w = pair.features, pair.weights
    eps = {name: value.unsqueeze(-1) for name, value in noise.items()}
    out: Values = {}
    if f.global_latent == "paired":
        out["g"] = w["q_g"] + w["q_g_scale"] * eps["g"]
    loc = w["q_z1"] + w["q_z1_of_x"] * x + w["q_z1_of_y"] * y
    if f.own_site == "paired":
        out["tau"] = w["q_tau"] + w["q_tau_of_x"] * x + w["q_tau_scale"] * eps["tau"]
        loc = loc + w["q_z1_of_tau"] * out["tau"]
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
    weight = torch.ones_like(x)
    mean: Any = w["x_of_c"] * batch[1] if f.argument else 0.0
    shift: Any = 0.0
    if f.global_latent != "none":
        g = given["g"] if f.global_latent == "paired" else noise["g"].unsqueeze(-1)
        if f.global_latent == "paired":
            global_prior = normal(g, 0.0, torch.ones_like(w["q_g"]))[:, 0]
            global_posterior = normal(g, w["q_g"], w["q_g_scale"])[:, 0]
        mean, shift = mean + w["x_of_g"] * g, w["z1_of_g"] * g
    if f.label:
        levels = torch.arange(LABELS, dtype=x.dtype)
        prior = prior + (w["y_logit"] * levels).log_softmax(-1)[int(y)]
        log_q = ((w["q_y"] + w["q_y_of_x"] * x).unsqueeze(-1) * levels).log_softmax(-1)[:, int(y)]
        posterior, weight = posterior + log_q, weight * log_q.exp()
        mean, shift = mean + w["x_of_y"] * y, shift + w["z1_of_y"] * y
        if f.second_label:
            sign = 2.0 * b - 1.0
            prior = prior + torch.nn.functional.logsigmoid(sign * (w["b_logit"] + w["b_of_y"] * y))
            logit = w["q_b"] + (w["q_b_of_y"] * y if f.dependent_labels else 0.0)
            log_q = torch.nn.functional.logsigmoid(sign * logit)
            posterior, weight = posterior + log_q, weight * log_q.exp()
            observed = observed + normal(x, w["z2_of_b"] * b, w["x2_scale"])
    tau: Any = 0.0
    loc = w["q_z1"] + w["q_z1_of_x"] * x + w["q_z1_of_y"] * y
    if f.own_site == "model":
        tau = w["tau_loc"] + w["tau_scale"] * noise["tau"].unsqueeze(-1)
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
        mean = mean + w["x_of_u"] * (w["u_of_z1"] * z1 + w["u_scale"] * noise["u"].unsqueeze(-1))
    if f.second_latent:
        z2 = given["z2"]
        prior = prior + normal(z2, w["z2_of_z1"] * z1 + (w["z2_of_b"] * b if f.label else 0.0), w["z2_scale"])
        loc = w["q_z2"] + w["q_z2_of_x"] * x + (0.0 if f.reversed_guide else w["q_z2_of_z1"] * z1)
        posterior = posterior + normal(z2, loc, w["q_z2_scale"])
        mean = mean + w["x_of_z2"] * z2
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
    return Terms(observed, prior, posterior, global_prior, global_posterior, weight)


def all_terms(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor]) -> list[Terms]:
    """The terms of every choice of labels, at the guide's own draws."""
    return [terms(pair, batch, noise, y, b, guide_values(pair, batch[0], noise, y)) for y, b in labels(pair)]


def exact_elbo(pair: RandomPair, batch: tuple[Tensor, ...], noise: dict[str, Tensor], kl_weight: float = 1.0) -> Tensor:
    """The evidence lower bound: exact, where ``noise`` averages quadratic functions exactly."""
    scale = pair.full_size(len(batch[0])) / len(batch[0])
    total = torch.zeros((), dtype=batch[0].dtype)
    found = all_terms(pair, batch, noise)
    for t in found:
        row = t.observed + kl_weight * (t.prior - t.posterior)
        total = total + scale * (t.weight * row).sum(-1).mean()
    return total + kl_weight * (found[0].global_prior - found[0].global_posterior).mean()


def log_weights(pair: RandomPair, t: Terms, size: int, kl_weight: float = 1.0) -> Tensor:
    """Log importance weights ``[K, rows]``; all data are one row where they share a latent."""
    log_w = t.observed + kl_weight * (t.prior - t.posterior)
    if pair.features.global_latent == "none":
        return log_w
    return (log_w.sum(-1) + kl_weight * (t.global_prior - t.global_posterior)).unsqueeze(-1)


def log_evidence(pair: RandomPair, batch: tuple[Tensor, ...]) -> Tensor:
    """Log p(x) of each datum ``[B]``; no mask, scale or subsampled inner plate, no global site.

    The observations of a datum are a linear function of standard normal noise, given the labels.
    """
    f, w = pair.features, pair.weights
    results = []
    for n in range(len(batch[0])):
        x = batch[0][n]
        values = [x]
        if f.missing and bool(x > 0.0):
            values.append(x**2)
        if f.inner != "none":
            values += [x * (0.5 + j) for j in range(INNER)]
        observed = torch.stack(values)
        joint = []
        for y, b in labels(pair):

            def simulate(eps: Tensor, y: float = y, b: float = b, x: Tensor = x, n: int = n) -> Tensor:
                noise = iter(eps)
                loc = w["prior_loc"] + w["z1_of_y"] * y * f.label
                if f.own_site != "none":
                    loc = loc + w["tau_loc"] + w["tau_scale"] * next(noise)
                z1 = loc + w["prior_scale"] * next(noise)
                mean = z1 + w["x_of_y"] * y * f.label + (w["x_of_c"] * batch[1][n] if f.argument else 0.0)
                if f.model_only:
                    mean = mean + w["x_of_u"] * (w["u_of_z1"] * z1 + w["u_scale"] * next(noise))
                if f.second_latent:
                    z2 = w["z2_of_z1"] * z1 + w["z2_of_b"] * b + w["z2_scale"] * next(noise)
                    mean = mean + w["x_of_z2"] * z2
                out = [mean + w["x_scale"] * next(noise)]
                if f.missing and bool(x > 0.0):
                    out.append(w["x2_of_z1"] * z1 + w["x2_scale"] * next(noise))
                if f.inner != "none":
                    for _ in range(INNER):
                        v = w["v_of_z1"] * z1 + w["v_scale"] * next(noise) if f.inner_latent else z1
                        out.append(v + w["w_scale"] * next(noise))
                return torch.stack(out)

            zero = torch.zeros(16, dtype=x.dtype)
            loc, columns = simulate(zero), torch.stack([simulate(row) for row in torch.eye(16, dtype=x.dtype)])
            factor = columns - loc
            density = torch.distributions.MultivariateNormal(loc, factor.T @ factor).log_prob(observed)
            if f.label:
                density = density + (w["y_logit"] * torch.arange(LABELS, dtype=x.dtype)).log_softmax(-1)[int(y)]
                if f.second_label:
                    logit = w["b_logit"] + w["b_of_y"] * y
                    density = density + torch.nn.functional.logsigmoid((2.0 * b - 1.0) * logit)
                    density = density + normal(x, w["z2_of_b"] * b, w["x2_scale"])
            joint.append(density)
        results.append(torch.stack(joint).logsumexp(0))
    return torch.stack(results).detach()
