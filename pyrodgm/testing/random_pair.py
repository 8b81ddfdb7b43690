"""Small random pairs of Pyro programs whose evidence and bounds are known exactly."""

from contextlib import ExitStack
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.testing.features import Features

INNER = 2  # elements of the inner plate that are seen
LABELS = 3


_NAMES = """
    y_logit b_logit b_of_y prior_loc tau_loc z1_of_g z1_of_y z2_of_z1 z2_of_b u_of_z1 x_of_z2 x_of_u x_of_y
    x_of_g x_of_c x2_of_z1 v_of_z1 q_g q_y q_y_of_x q_b q_b_of_y q_tau q_tau_of_x q_z1 q_z1_of_x q_z1_of_y
    q_z1_of_tau q_z1_of_z2 q_z2 q_z2_of_x q_z2_of_z1 q_v q_v_of_x c_of_z1 c_of_z2 q_r_of_x
    s_below s_of_z1 x_of_s xs_of_s q_s q_s_of_x q_s_of_z1 q_s_below
"""
WEIGHTS = _NAMES.split()
SCALES = [f"{name}_scale" for name in ("prior", "tau", "z2", "u", "x", "x2", "v", "w", "s", "xs")] + [
    "r_shape",
    "r_rate",
]
GUIDE_SCALES = [f"q_{name}_scale" for name in ("g", "tau", "z1", "z2", "v", "s")] + [
    "q_stretch",
    "q_r_shape",
    "q_r_rate",
]


def counted(x: Tensor, kind: str) -> Tensor:
    """The data of the site ``c``."""
    return (x > 0.2).to(x.dtype) if kind == "bernoulli" else (2.0 * x.abs()).floor()


def rare(x: Tensor) -> Tensor:
    """The data of the site ``n``."""
    return (3.0 * x.abs()).floor()


def pair_of(x: Tensor) -> Tensor:
    """The data of the site ``xs``, ``[*, 2]``."""
    return torch.stack([x, x.cos()], -1)


def beside(first: Tensor, second: Tensor) -> Tensor:
    """Two elements of a vector, ``[*, 2]``."""
    return torch.stack(torch.broadcast_tensors(first, second), -1)


def factor(scale: Tensor, below: Tensor) -> Tensor:
    """A lower-triangular matrix ``[2, 2]``, the Cholesky factor of a covariance."""
    zero = torch.zeros_like(scale)
    return torch.stack([torch.stack([scale, zero]), torch.stack([below, scale])])


class _Prior(nn.Module):
    """The prior of ``z1``, called with nothing; draws a site of its own if asked to."""

    def __init__(self, weights: nn.ParameterDict, draws: bool) -> None:
        super().__init__()
        self.weights, self.draws = weights, draws

    def forward(self) -> dist.TorchDistribution:
        loc = self.weights["prior_loc"]
        if self.draws:
            loc = loc + pyro.sample("tau", dist.Normal(self.weights["tau_loc"], self.weights["tau_scale"]))
        return dist.Normal(loc, self.weights["prior_scale"])


class RandomPair(nn.Module):
    """A linear-Gaussian model with discrete parts and counts and a guide of the same kind, as :class:`Features` say.

    ``model(x)`` and ``guide(x)`` take data ``[B]``; as a second argument a covariate ``[B]`` with the feature
    ``argument``, and else, where they are known, the labels ``[B]``.

    Attributes:
        features: What it has.
        weights: All parameters, scalars.
    """

    def __init__(self, features: Features) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(features.seed)

        def draw(low: float, high: float) -> nn.Parameter:
            return nn.Parameter(low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64))

        self.features = features
        self.weights = nn.ParameterDict({name: draw(-0.7, 0.7) for name in WEIGHTS})
        self.weights.update({name: draw(0.7, 1.3) for name in SCALES})
        self.weights.update({name: draw(0.9, 1.2) for name in GUIDE_SCALES})
        if features.tied:
            self.weights["q_z1_scale"] = self.weights["prior_scale"]
        if features.frozen:
            self.weights["q_z1_of_x"].requires_grad_(False)
        self.prior = _Prior(self.weights, features.own_site != "none")
        self.data_dim = -2 if features.inner == "right" else -1

    def batch(self, size: int) -> tuple[Tensor, ...]:
        """Arguments of both programs for ``size`` data."""
        generator = torch.Generator().manual_seed(self.features.seed + 1)
        x, covariate = torch.randn(2, size, generator=generator, dtype=torch.float64)
        return (x, covariate) if self.features.argument else (x,)

    def full_size(self, size: int) -> int:
        """The size of the plate that ``size`` data are a subsample of."""
        return 3 * size if self.features.subsampled else size

    def model(self, x: Tensor, second: Tensor | None = None) -> None:
        f, w, column = self.features, self.weights, self._column(x)
        covariate, known = (second, None) if f.argument else (None, second)
        mean: Any = 0.0 if covariate is None else w["x_of_c"] * self._column(covariate)
        shift: Any = 0.0
        if f.global_latent != "none":
            g = pyro.sample("g", dist.Normal(0.0, torch.ones_like(w["q_g"])))
            mean, shift = mean + w["x_of_g"] * g, shift + w["z1_of_g"] * g
        with self._data(x):
            if f.label:
                logits = w["y_logit"] * torch.arange(LABELS, dtype=x.dtype)
                known = None if known is None else self._column(known)
                y = pyro.sample("y", dist.Categorical(logits=logits), obs=known).to(x.dtype)
                mean, shift = mean + w["x_of_y"] * y, shift + w["z1_of_y"] * y
                if f.second_label:
                    b = pyro.sample("b", dist.Bernoulli(logits=w["b_logit"] + w["b_of_y"] * y))
                    pyro.sample("x3", dist.Normal(w["z2_of_b"] * b, w["x2_scale"]), obs=column)
            if f.rate != "none":
                r = pyro.sample("r", dist.Gamma(w["r_shape"], w["r_rate"]))
                pyro.sample("n", dist.Poisson(r), obs=rare(column))
            prior = self.prior()
            with self._handled(column, True):
                fn = dist.Normal(prior.loc + shift, prior.scale)
                z1 = pyro.sample("z1", fn.mask(column < 0.5) if f.mask == "own" else fn)
            mean = mean + z1
            if f.deterministic:
                pyro.deterministic("twice", 2.0 * z1)
            if f.fault == "observed":
                pyro.sample("h", dist.Normal(0.0, w["x_scale"]), obs=column)
            if f.fault == "discrete":
                pyro.sample("k", dist.Bernoulli(logits=w["b_logit"]))
            if f.model_only:
                u = pyro.sample("u", dist.Normal(w["u_of_z1"] * z1, w["u_scale"]))
                mean = mean + w["x_of_u"] * u
            if f.second_latent:
                loc = w["z2_of_z1"] * z1 + (w["z2_of_b"] * b if f.second_label and f.label else 0.0)
                z2 = pyro.sample("z2", dist.Normal(loc, w["z2_scale"]))
                mean = mean + w["x_of_z2"] * z2
            if f.vector != "none":
                loc = beside(w["s_of_z1"] * z1, torch.zeros_like(z1))
                s = pyro.sample("s", dist.MultivariateNormal(loc, scale_tril=factor(w["s_scale"], w["s_below"])))
                mean = mean + w["x_of_s"] * s[..., 1]
                fn = dist.Normal(w["xs_of_s"] * s, w["xs_scale"]).to_event(1)
                pyro.sample("xs", fn, obs=pair_of(column))
            if f.count != "none":
                predictor = w["c_of_z1"] * z1 + (w["c_of_z2"] * z2 if f.second_latent else 0.0)
                fn = dist.Bernoulli(logits=predictor) if f.count == "bernoulli" else dist.Poisson(predictor.exp())
                pyro.sample("c", fn, obs=counted(column, f.count))
            pyro.sample("x", dist.Normal(mean, w["x_scale"]), obs=column)
            if f.missing:
                fn = dist.Normal(w["x2_of_z1"] * z1, w["x2_scale"])
                pyro.sample("x2", fn, obs=column.square(), obs_mask=column > 0.0)
            if f.inner != "none":
                with self._inner():
                    v = z1
                    if f.inner_latent:
                        v = pyro.sample("v", dist.Normal(w["v_of_z1"] * z1, w["v_scale"]))
                    pyro.sample("w", dist.Normal(v, w["w_scale"]), obs=self._inside(column))

    def guide(self, x: Tensor, second: Tensor | None = None) -> None:
        f, w, column = self.features, self.weights, self._column(x)
        if f.global_latent == "paired":
            pyro.sample("g", dist.Normal(w["q_g"], w["q_g_scale"]))
        with self._data(x):
            y: Any = 0.0
            if f.label:
                logits = (w["q_y"] + w["q_y_of_x"] * column).unsqueeze(-1) * torch.arange(LABELS, dtype=x.dtype)
                known = None if f.argument else second
                y = pyro.sample("y", dist.Categorical(logits=logits)) if known is None else self._column(known)
                y = y.to(x.dtype)
                if f.second_label:
                    given = w["q_b_of_y"] * y if f.dependent_labels else 0.0
                    pyro.sample("b", dist.Bernoulli(logits=w["q_b"] + given + 0.0 * column))
            if f.rate == "paired":
                pyro.sample("r", dist.Gamma(w["q_r_shape"], w["q_r_rate"] * (w["q_r_of_x"] * column).exp()))
            loc = w["q_z1"] + w["q_z1_of_x"] * column + w["q_z1_of_y"] * y
            if f.own_site == "paired":
                tau = pyro.sample("tau", dist.Normal(w["q_tau"] + w["q_tau_of_x"] * column, w["q_tau_scale"]))
                loc = loc + w["q_z1_of_tau"] * tau
            first = f.second_latent and f.reversed_guide
            if first:
                z2 = pyro.sample("z2", dist.Normal(w["q_z2"] + w["q_z2_of_x"] * column, w["q_z2_scale"]))
                loc = loc + w["q_z1_of_z2"] * z2
            if f.auxiliary:
                a = pyro.sample("a", dist.Normal(loc, w["q_z1_scale"]), infer={"is_auxiliary": True})
                fn: Any = dist.Delta(w["q_stretch"] * a, log_density=-w["q_stretch"].log())
            else:
                fn = dist.Normal(loc, w["q_z1_scale"])
            with self._handled(column, False):
                z1 = pyro.sample("z1", fn)
            if f.deterministic:
                pyro.deterministic("thrice", 3.0 * z1)
            if f.fault in ("stray", "observed"):
                pyro.sample("stray" if f.fault == "stray" else "h", dist.Normal(0.0, w["x_scale"]))
            if f.fault == "factor":
                pyro.factor("f", 0.0 * column, has_rsample=True)
            if f.second_latent and not first:
                loc = w["q_z2"] + w["q_z2_of_x"] * column + w["q_z2_of_z1"] * z1
                pyro.sample("z2", dist.Normal(loc, w["q_z2_scale"]))
            if f.vector in ("diagonal", "correlated"):
                loc = beside(w["q_s"] + w["q_s_of_x"] * column, w["q_s_of_z1"] * z1)
                if f.vector == "diagonal":
                    fn = dist.Normal(loc, w["q_s_scale"]).to_event(1)
                else:
                    fn = dist.MultivariateNormal(loc, scale_tril=factor(w["q_s_scale"], w["q_s_below"]))
                pyro.sample("s", fn)
            if f.inner != "none" and f.inner_latent:
                with self._inner():
                    pyro.sample("v", dist.Normal(w["q_v"] + w["q_v_of_x"] * self._inside(column), w["q_v_scale"]))

    def _column(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1) if self.data_dim == -2 else x

    def _inside(self, column: Tensor) -> Tensor:
        """What is observed in the inner plate."""
        factors = 0.5 + torch.arange(INNER, dtype=column.dtype)
        return column * factors if self.data_dim == -2 else column * factors.unsqueeze(-1)

    def _data(self, x: Tensor) -> Any:
        return pyro.plate("data", self.full_size(len(x)), subsample_size=len(x), dim=self.data_dim)

    def _inner(self) -> Any:
        size = 2 * INNER if self.features.inner_subsampled else INNER
        return pyro.plate("inner", size, subsample_size=INNER, dim=-1 if self.data_dim == -2 else -2)

    def _handled(self, column: Tensor, in_model: bool) -> Any:
        """Mask and scale of ``z1``; masks are computed in each program anew."""
        f = self.features
        mask = column < 0.5 if f.mask == "both" or (f.mask == "model" and in_model) else torch.ones_like(column).bool()
        scale = 0.5 if f.scale == "both" or (f.scale == "model" and in_model) else 1.0
        stack = ExitStack()
        if f.mask in ("both", "model"):
            stack.enter_context(poutine.mask(mask=mask))
        if f.scale != "none":
            stack.enter_context(poutine.scale(scale=scale))
        return stack
