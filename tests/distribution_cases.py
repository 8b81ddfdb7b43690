"""The rows of the generic distribution test, and the grids that they are integrated over."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import torch
from pyro.distributions import Beta, TorchDistribution
from scipy import special, stats
from torch import Tensor

from pyrodgm import distributions as dgm
from pyrodgm.boltzmann import BipartiteMachine, Bits, Gaussian, Potts

Grid = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Case:
    """One distribution: `build(**params)`, its oracle and a grid of `(points, volumes)` to integrate over.

    `log_density(value, **params)` takes and gives NumPy arrays, for one element of the batch.
    """

    name: str
    build: Callable[..., TorchDistribution]
    params: dict[str, Tensor]
    log_density: Callable[..., Any]
    points: Tensor
    grid: Callable[[], Grid]
    outside: list[Any]
    float32_error: float = 1e-5
    batch: int = 2
    event_dim: int = 0
    discrete: bool = False  # has points of positive mass
    proxy: bool = False  # its log_prob is not the density of its draws
    moments: bool = True  # has a mean and a variance in closed form

    def distribution(self, dtype: torch.dtype = torch.float64, device: str = "cpu", **kwargs: Any) -> TorchDistribution:
        return self.build(**{k: v.to(device, dtype) for k, v in self.params.items()}, **kwargs)

    def element(self, index: int) -> dict[str, np.ndarray]:
        """The parameters of one element of the batch."""
        return {name: value[index].numpy() for name, value in self.params.items()}


def plane_grid() -> Grid:
    side = torch.linspace(-9, 9, 301)
    points = torch.cartesian_prod(side, side)
    return points, torch.full((len(points),), (side[1] - side[0]).item() ** 2)


def count_grid() -> Grid:
    return torch.arange(150, dtype=torch.float64), torch.ones(150, dtype=torch.float64)


def poisson_log_density(value, log_mean):
    return stats.poisson(np.exp(log_mean)).logpmf(value)


def negative_binomial_log_density(value, log_mean, log_inverse_dispersion):
    mean, theta = np.exp(log_mean), np.exp(log_inverse_dispersion)
    return stats.nbinom(theta, theta / (theta + mean)).logpmf(value)


def zero_inflated_log_density(value, log_mean, log_inverse_dispersion, gate_logits):
    gate = special.expit(gate_logits)
    kept = np.exp(negative_binomial_log_density(value, log_mean, log_inverse_dispersion))
    return np.log(gate * (value == 0) + (1 - gate) * kept)


def mixture_log_density(value, logits, loc, scale):
    each = stats.norm(loc, scale).logpdf(value[..., None, :]).sum(-1)
    return special.logsumexp(special.log_softmax(logits) + each, axis=-1)


@np.vectorize
def kumaraswamy_log_density(value, concentration1, concentration0):
    v, a, b = mp.mpf(float(value)), mp.mpf(float(concentration1)), mp.mpf(float(concentration0))
    return float(mp.log(a) + mp.log(b) + (a - 1) * mp.log(v) + (b - 1) * mp.log(1 - v**a))


@np.vectorize
def logit_normal_log_density(value, loc, scale):
    v, m, s = mp.mpf(float(value)), mp.mpf(float(loc)), mp.mpf(float(scale))
    white = (mp.log(v) - mp.log(1 - v) - m) / s
    return float(-(white**2) / 2 - mp.log(s) - mp.log(2 * mp.pi) / 2 - mp.log(v) - mp.log(1 - v))


@np.vectorize
def small_shape_gamma_ratio_log_density(value, concentration1, concentration0):
    """From the two densities of log x and log y, whose difference is the logit: a convolution by quadrature."""
    v, a, b = mp.mpf(float(value)), mp.mpf(float(concentration1)), mp.mpf(float(concentration0))
    logit = mp.log(v) - mp.log(1 - v)
    x_top, y_top = mp.loggamma(a + 1) / a, mp.loggamma(b + 1) / b
    # P(x < t) = t^a / (a Gamma(a)) up to where that is 1, and likewise y: log x = logit + log y.
    top = min(y_top, x_top - logit)
    cuts = [top - mp.mpf(reach) / (a + b) for reach in (150, 100, 70, 50, 35, 20, 10, 5, 0)]
    density = mp.quad(lambda s: a * mp.exp(a * (logit + s - x_top)) * b * mp.exp(b * (s - y_top)), cuts)
    return float(mp.log(density) - mp.log(v) - mp.log(1 - v))


@np.vectorize
def discretized_logistic_log_density(value, loc, log_scale):
    m, s = mp.mpf(float(loc)), mp.exp(mp.mpf(float(log_scale)))
    k = round(float(value) * 7)
    above = 1 if k == 7 else 1 / (1 + mp.exp(-((k + mp.mpf("0.5")) / 7 - m) / s))
    below = 0 if k == 0 else 1 / (1 + mp.exp(-((k - mp.mpf("0.5")) / 7 - m) / s))
    return float(mp.log(above - below))


def smooth(form, value, z, beta):
    """The density r(value | z) of a smoothing, in mpmath."""
    v, b = (1 - value if z else value), mp.mpf(beta)
    peak = b * mp.exp(-b * v) / (1 - mp.exp(-b))
    if form == "normal":
        return mp.sqrt(b / (2 * mp.pi)) * mp.exp(-b * (value - z) ** 2 / 2)
    return {"peak": peak, "floor": mp.mpf("0.95") * peak + mp.mpf("0.05"), "power": v ** (1 / b - 1) / b}[form]


def overlapping_log_density(form):
    @np.vectorize
    def log_density(value, logits, beta):
        v, q = mp.mpf(float(value)), 1 / (1 + mp.exp(-mp.mpf(float(logits))))
        return float(mp.log((1 - q) * smooth(form, v, 0, float(beta)) + q * smooth(form, v, 1, float(beta))))

    return log_density


@np.vectorize
def spike_exponential_log_density(value, logits, beta):
    q = 1 / (1 + mp.exp(-mp.mpf(float(logits))))
    return float(mp.log(q * smooth("peak", mp.mpf(float(value)), 1, float(beta)) if value > 0 else 1 - q))


def lgamma_ratio(a, b):
    return math.lgamma(a + 1) / a - math.lgamma(b + 1) / b


def sticks(each):
    """Log-density of three stick weights from that of their two fractions."""

    def log_density(value, **params):
        v1, v2 = value[..., 0], value[..., 1] / (1 - value[..., 0])
        first, second = ({k: p[..., i] for k, p in params.items()} for i in range(2))
        return each(v1, **first) + each(v2, **second) - np.log1p(-v1)

    return log_density


def gem_log_density(value, concentration):
    beta = stats.beta(1.0, concentration)
    v2 = value[..., 1] / (1 - value[..., 0])
    return beta.logpdf(value[..., 0]) + beta.logpdf(v2) - np.log1p(-value[..., 0])


def unit_grid(count: int = 4000, reach: float = 3.6) -> Grid:
    t = torch.linspace(-reach, reach, count, dtype=torch.float64)
    points = torch.sigmoid(torch.pi * t.sinh())
    return points, points * (1 - points) * torch.pi * t.cosh() * (t[1] - t[0])


def kinked_grid(*kinks: float) -> Grid:
    """Gauss-Legendre rules over the logit between the points where a density has kinks."""
    cuts = np.unique([-80.0, -40.0, *np.linspace(-20.0, 20.0, 17), 40.0, 80.0, *kinks])
    nodes, weights = np.polynomial.legendre.leggauss(60)
    half = np.diff(cuts)[:, None] / 2
    logits = torch.as_tensor((cuts[:-1, None] + half * (nodes + 1)).ravel())
    points = torch.sigmoid(logits)
    return points, points * torch.sigmoid(-logits) * torch.as_tensor((half * weights).ravel())


def simplex_grid(count: int = 250) -> Grid:
    v, volume = unit_grid(count, 2.5)
    one, two = torch.cartesian_prod(v, v).unbind(-1)
    points = torch.stack([one, (1 - one) * two, (1 - one) * (1 - two)], -1)
    return points, torch.cartesian_prod(volume, volume).prod(-1) * (1 - one)


def build_kumaraswamy_sticks(concentration1, concentration0, validate_args=None):
    fractions = dgm.Kumaraswamy(concentration1, concentration0, validate_args=validate_args)
    return dgm.StickBreaking(fractions.to_event(1), validate_args=validate_args)


def build_beta_sticks(concentration1, concentration0, validate_args=None):
    fractions = Beta(concentration1, concentration0, validate_args=validate_args)
    return dgm.StickBreaking(fractions.to_event(1), validate_args=validate_args)


def build_overlapping(smoothing):
    def build(logits, beta, validate_args=None):
        return dgm.OverlappingBernoulli(logits, smoothing(beta), validate_args=validate_args)

    return build


def fine_unit_grid() -> Grid:
    return unit_grid(20_000, 4.2)


def spike_grid() -> Grid:
    points, volumes = unit_grid(20_000)
    return torch.cat([wide(0.0), points]), torch.cat([wide(1.0), volumes])


def spike_plane_grid() -> Grid:
    points, volumes = unit_grid(300, 2.5)
    points, volumes = torch.cat([wide(0.0), points]), torch.cat([wide(1.0), volumes])
    return torch.cartesian_prod(points, points), torch.cartesian_prod(volumes, volumes).prod(-1)


def build_spike_boltzmann(weights, left_bias, right_bias, validate_args=None):
    machine = dgm.BoltzmannMachine(weights, left_bias, right_bias, validate_args=validate_args)
    return dgm.SpikeBoltzmann(machine, 3.0, validate_args=validate_args)


def spike_boltzmann_log_density(value, weights, left_bias, right_bias):
    z = (value > 0).astype(float)

    def energy(z):
        return z[..., 0] * z[..., 1] * weights[0, 0] + z[..., 0] * left_bias[0] + z[..., 1] * right_bias[0]

    log_partition = special.logsumexp(energy(np.array([[0, 0], [0, 1], [1, 0], [1, 1]])))
    rising = np.log(3.0) + 3.0 * value - np.log(np.expm1(3.0))
    return energy(z) - log_partition + (z * rising).sum(-1)


def line_grid() -> Grid:
    points = torch.linspace(-6, 7, 8001, dtype=torch.float64)
    return points, torch.full((len(points),), (points[1] - points[0]).item())


def build_gem(concentration, validate_args=None):
    return dgm.GEM(concentration, 3, validate_args=validate_args)


def build_discretized_logistic(loc, log_scale, validate_args=None):
    return dgm.DiscretizedLogistic(loc, log_scale, 8, validate_args=validate_args)


def wide(*values):
    return torch.tensor(values, dtype=torch.float64)


def machine_log_density(value, weights, left_bias, right_bias):
    def negative_energy(z):
        left, right = z[..., :2], z[..., 2:]
        return np.einsum("...i,ij,...j->...", left, weights, right) + left @ left_bias + right @ right_bias

    return negative_energy(value) - special.logsumexp(negative_energy(UNITS.numpy()))


def relaxed_log_density(log_ratio_and_base):
    """Of zeta = [left, right], one unit each, by the sum over the four states with the densities written out."""

    def log_density(value, weights, left_bias, right_bias):
        joint = []
        for left in (0, 1):
            for right in (0, 1):
                energy = weights[0, 0] * left * right + left_bias[0] * left + right_bias[0] * right
                joint.append((energy, log_ratio_and_base(value, np.array([left, right]), weights[0, 0])))
        total = special.logsumexp([energy for energy, _ in joint])
        return special.logsumexp([energy - total + each for energy, each in joint], axis=0)

    return log_density


def normal_around(value, z, weight):
    return stats.norm(0.0, 1 / math.sqrt(10.0)).logpdf(value - z).sum(-1)


def exponential_towards(value, z, weight):
    distance = np.where(z == 1, 1 - value, value)
    return (math.log(4.0) - 4.0 * distance - math.log1p(-math.exp(-4.0))).sum(-1)


def integral_around(value, z, weight):
    beta = max(4.0, 2.0 + abs(weight))
    precision = np.array([[beta, weight], [weight, beta]])
    return stats.multivariate_normal(np.zeros(2), np.linalg.inv(precision)).logpdf(value - z)


def build_relaxed_normal(validate_args=None, **parameters):
    machine = dgm.BoltzmannMachine(**parameters, validate_args=validate_args)
    return dgm.RelaxedBoltzmann(machine, dgm.GaussianSmoothing(10.0), validate_args=validate_args)


def build_relaxed_exponential(validate_args=None, **parameters):
    machine = dgm.BoltzmannMachine(**parameters, validate_args=validate_args)
    return dgm.RelaxedBoltzmann(machine, dgm.ExponentialSmoothing(4.0), validate_args=validate_args)


def build_gaussian_integral(validate_args=None, **parameters):
    machine = dgm.BoltzmannMachine(**parameters, validate_args=validate_args)
    return dgm.GaussianIntegralBoltzmann(machine, 4.0, 2.0, validate_args=validate_args)


def build_visible(validate_args=None, **parameters):
    machine = dgm.BoltzmannMachine(**parameters, validate_args=validate_args)
    return dgm.VisibleBoltzmann(machine, 2, validate_args=validate_args)


def visible_log_density(value, weights, left_bias, right_bias):
    states = [np.concatenate([value, np.broadcast_to(h, (*value.shape[:-1], 3))], -1) for h in BITS.numpy()]
    return special.logsumexp([machine_log_density(s, weights, left_bias, right_bias) for s in states], axis=0)


def of_kinds(left, right):
    """Builds the machine of two kinds of units."""

    def build(weights, left_bias, right_bias, validate_args=None):
        machine = BipartiteMachine(weights, left_bias, right_bias, (left, right))
        return dgm.BoltzmannMachine(machine, validate_args=validate_args)

    return build


def build_real_visible(validate_args=None, **parameters):
    machine = of_kinds(Gaussian(), Bits())(**parameters)
    return dgm.VisibleBoltzmann(machine, 2, validate_args=validate_args)


def potts_log_density(value, weights, left_bias, right_bias):
    """Of one unit of three states and two bits, by the sum over all twelve states."""

    def energy(z):
        return np.einsum("...i,ij,...j->...", z[..., :3], weights, z[..., 3:]) + z @ np.r_[left_bias, right_bias]

    return energy(value) - special.logsumexp(energy(POTTS_AND_BITS.numpy()))


def real_visible_log_density(value, weights, left_bias, right_bias):
    """A mixture of normal distributions, one for each state of the hidden bits, by completing the square."""
    states = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    means = states @ weights.T + left_bias
    logs = special.log_softmax(states @ right_bias + 0.5 * (means**2).sum(-1))
    each = stats.norm(means, 1.0).logpdf(value[..., None, :]).sum(-1)
    return special.logsumexp(logs + each, axis=-1)


def one_hot_log_density(value, logits):
    return (value * special.log_softmax(logits.reshape(2, 3), axis=-1).reshape(6)).sum(-1)


def overlapping_states_log_density(value, logits):
    each = [exponential_towards(value, np.array(z), None) for z in ([1, 0], [0, 1])]
    return special.logsumexp(special.log_softmax(logits)[:, None] + each, axis=0)


def build_continued_boltzmann(validate_args=None, **parameters):
    machine = dgm.BoltzmannMachine(**parameters, validate_args=validate_args)
    return dgm.ContinuedBoltzmann(machine, validate_args=validate_args)


class Running:
    """A network of three pixels in a row: the logits of each are its context and what the pixel before it adds."""

    image_shape = (1, 1, 3)

    def __call__(self, images, context):
        before = torch.nn.functional.pad(images[..., :-1], (1, 0))
        return (context[..., 0, :, :] + 1.5 * before[..., 0, :, :]).unsqueeze(-3).unsqueeze(-4)

    def ancestral(self, context, draw, done=None):
        images = context.new_zeros(len(context), *self.image_shape)
        for i in range(3):
            images[..., i] = draw(self(images, context).movedim(-4, 1))[..., i]
        return images


def build_autoregressive(context, validate_args=None):
    return dgm.AutoregressiveImages(Running(), context, None, validate_args=validate_args)


class Following:
    """Logits of three symbols: a context, and more of the symbol after the last one."""

    num_symbols = context_size = 3

    def __call__(self, x, context, kept=None):
        before = torch.nn.functional.pad(x[..., :-1].long().clamp(min=0) + 1, (1, 0)) % 3
        return context.unsqueeze(-2) + 1.5 * torch.eye(3, dtype=context.dtype)[before]

    def draw(self, context, length, choose, end):
        x = torch.full((*context.shape[:-1], length), -1)
        for t in range(length):
            over = (x == end).any(-1)
            x[..., t] = torch.where(over, -1, choose(self(x, context)[..., t, :]))
        return x


def build_sentences(context, validate_args=None):
    return dgm.Sentences(Following(), context, 3, 2, validate_args=validate_args)


def following_log_density(value, context):
    found = []
    for row in value.reshape(-1, 3).astype(int):
        total, before = 0.0, 0
        for symbol in row[row >= 0]:
            total += special.log_softmax(context + 1.5 * np.eye(3)[before])[symbol]
            before = (symbol + 1) % 3
        found.append(total)
    return np.reshape(found, value.shape[:-1])


def running_log_density(value, context):
    before = np.concatenate([np.zeros_like(value[..., :1]), value[..., :-1]], -1)
    logits = context[0, 0] + 1.5 * before
    return (value * logits - np.logaddexp(0, logits)).sum(-1)


def square_grid() -> Grid:
    side, volume = unit_grid(300, 2.5)
    return torch.cartesian_prod(side, side), torch.cartesian_prod(volume, volume).prod(-1)


TWO_UNITS = {
    "weights": torch.tensor([[[1.5]], [[-4.0]]], dtype=torch.float64),
    "left_bias": torch.tensor([[-0.5], [1.0]], dtype=torch.float64),
    "right_bias": torch.tensor([[0.2], [2.0]], dtype=torch.float64),
}
UNITS = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 5)
VISIBLE_UNITS = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 2)
ONE_OF_THREE = torch.eye(3, dtype=torch.float64)
TWO_OF_THREE = torch.cat([ONE_OF_THREE.repeat_interleave(3, 0), ONE_OF_THREE.repeat(3, 1)], -1)
POTTS_AND_BITS = torch.cat([ONE_OF_THREE.repeat_interleave(4, 0), VISIBLE_UNITS.repeat(3, 1)], -1)
UNIT_POINTS = wide(1e-30, 1e-9, 0.1, 0.5, 0.93, 1 - 1e-9)
SIMPLEX_POINTS = wide([0.2, 0.3, 0.5], [0.01, 0.98, 0.01], [1e-12, 1e-3, 1 - 1e-3 - 1e-12], [0.9, 0.09, 0.01])
BITS = torch.cartesian_prod(*[wide(0.0, 1.0)] * 3)
# Rows of 0 and 1 up to a 2, and -1 after it.
SENTENCES = torch.cat([BITS, wide([2, -1, -1], [0, 2, -1], [1, 2, -1], *([i, j, 2] for i in (0, 1) for j in (0, 1)))])
OUTSIDE_UNIT = [-0.1, 1.1, math.nan]
OUTSIDE_PLANE = [[-0.1, 0.5], [0.5, 1.1], [math.nan, 0.5]]
OUTSIDE_SIMPLEX = [[0.5, 0.6, 0.2], [-0.1, 0.6, 0.5], [math.nan, 0.5, 0.5]]


def of_logit(log_density):
    """Log-density of the logit of a fraction from that of the fraction."""

    def of(value, **params):
        fraction = special.expit(value)
        return log_density(fraction, **params) + special.log_expit(value) + special.log_expit(-value)

    return of


def beta_log_density(value, concentration1, concentration0):
    return stats.beta(concentration1, concentration0).logpdf(value)


def logit_grid() -> Grid:
    points = torch.linspace(-60, 60, 60_001, dtype=torch.float64)
    return points, torch.full((len(points),), (points[1] - points[0]).item())


def logit_plane_grid() -> Grid:
    side = torch.linspace(-30, 30, 601, dtype=torch.float64)
    points = torch.cartesian_prod(side, side)
    return points, torch.full((len(points),), (side[1] - side[0]).item() ** 2)


def build_logit_of_kumaraswamy(concentration1, concentration0, validate_args=None):
    fraction = dgm.Kumaraswamy(concentration1, concentration0, validate_args=validate_args)
    return dgm.LogitOf(fraction, validate_args=validate_args)


def build_stick_logits(concentration1, concentration0, validate_args=None):
    logits = dgm.BetaLogit(concentration1, concentration0, validate_args=validate_args)
    return dgm.StickLogits(logits, validate_args=validate_args)


def build_gem_logits(concentration, validate_args=None):
    return dgm.GEMLogits(concentration, 3, validate_args=validate_args)


CONCENTRATIONS = {"concentration1": wide(0.8, 3.0), "concentration0": wide(2.0, 0.9)}
LOGIT_POINTS = wide(-15.0, -3.0, -0.2, 1.0, 9.0)
LOGIT_PAIRS = wide([0.0, 0.0], [-3.0, 2.0], [4.0, -9.0])

CASES = [
    Case(
        "Kumaraswamy",
        dgm.Kumaraswamy,
        {"concentration1": wide(0.7, 3.0), "concentration0": wide(0.8, 5.0)},
        kumaraswamy_log_density,
        UNIT_POINTS,
        unit_grid,
        OUTSIDE_UNIT,
    ),
    Case(
        "LogitNormal",
        dgm.LogitNormal,
        {"loc": wide(0.3, -1.0), "scale": wide(0.5, 2.0)},
        logit_normal_log_density,
        UNIT_POINTS,
        unit_grid,
        OUTSIDE_UNIT,
    ),
    Case(
        "SmallShapeGammaRatio",
        dgm.SmallShapeGammaRatio,
        {"concentration1": wide(0.7, 3.0), "concentration0": wide(0.8, 5.0)},
        small_shape_gamma_ratio_log_density,
        UNIT_POINTS,
        lambda: kinked_grid(*(lgamma_ratio(a, b) for a, b in ((0.7, 0.8), (3.0, 5.0)))),
        OUTSIDE_UNIT,
    ),
    Case(
        "StickBreaking of Kumaraswamy",
        build_kumaraswamy_sticks,
        {"concentration1": wide([0.8, 3.0], [1.0, 2.0]), "concentration0": wide([2.0, 1.0], [0.9, 4.0])},
        sticks(kumaraswamy_log_density),
        SIMPLEX_POINTS,
        simplex_grid,
        OUTSIDE_SIMPLEX,
        event_dim=1,
    ),
    Case(
        "StickBreaking of Beta",
        build_beta_sticks,
        {"concentration1": wide([0.8, 3.0], [1.0, 2.0]), "concentration0": wide([2.0, 1.0], [0.9, 4.0])},
        sticks(lambda v, concentration1, concentration0: stats.beta(concentration1, concentration0).logpdf(v)),
        SIMPLEX_POINTS,
        simplex_grid,
        OUTSIDE_SIMPLEX,
        event_dim=1,
    ),
    *(
        Case(
            name,
            family,
            params,
            of_logit(density),
            LOGIT_POINTS,
            logit_grid,
            [math.nan],
        )
        for name, family, params, density in [
            ("KumaraswamyLogit", dgm.KumaraswamyLogit, CONCENTRATIONS, kumaraswamy_log_density),
            ("BetaLogit", dgm.BetaLogit, CONCENTRATIONS, beta_log_density),
            ("GammaRatioLogit", dgm.GammaRatioLogit, CONCENTRATIONS, small_shape_gamma_ratio_log_density),
            (
                "NormalLogit",
                dgm.NormalLogit,
                {"loc": wide(-1.0, 2.0), "scale": wide(0.7, 2.5)},
                logit_normal_log_density,
            ),
        ]
    ),
    Case(
        "LogitOf",
        build_logit_of_kumaraswamy,
        CONCENTRATIONS,
        of_logit(kumaraswamy_log_density),
        LOGIT_POINTS,
        logit_grid,
        [math.nan],
        moments=False,
    ),
    Case(
        "StickLogits",
        build_stick_logits,
        {"concentration1": wide([0.8, 3.0], [1.0, 2.0]), "concentration0": wide([2.0, 1.0], [0.9, 4.0])},
        lambda value, **params: of_logit(beta_log_density)(value, **params).sum(-1),
        LOGIT_PAIRS,
        logit_plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    Case(
        "GEMLogits",
        build_gem_logits,
        {"concentration": wide(0.9, 4.0)},
        lambda value, concentration: of_logit(beta_log_density)(
            value, concentration1=1.0, concentration0=concentration
        ).sum(-1),
        LOGIT_PAIRS,
        logit_plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    Case(
        "GEM",
        build_gem,
        {"concentration": wide(0.9, 4.0)},
        gem_log_density,
        SIMPLEX_POINTS,
        simplex_grid,
        OUTSIDE_SIMPLEX,
        event_dim=1,
    ),
    Case(
        "FactorizedBernoulli",
        dgm.FactorizedBernoulli,
        {"logits": wide([0.4, -2.0, 1.0], [30.0, 0.0, -0.1])},
        lambda value, logits: (value * logits - np.logaddexp(0, logits)).sum(-1),
        BITS,
        lambda: (BITS, torch.ones(len(BITS), dtype=torch.float64)),
        [[0.0, 0.5, 1.0], [math.nan, 0.0, 0.0]],
        event_dim=1,
        discrete=True,
    ),
    Case(
        "DiscretizedLogistic",
        build_discretized_logistic,
        {"loc": wide(0.4, 1.1), "log_scale": wide(-2.0, -0.5)},
        discretized_logistic_log_density,
        torch.arange(8, dtype=torch.float64) / 7,
        lambda: (torch.arange(8, dtype=torch.float64) / 7, torch.ones(8, dtype=torch.float64)),
        OUTSIDE_UNIT,
        discrete=True,
    ),
    *(
        Case(
            family.__name__,
            family,
            params,
            oracle,
            torch.arange(12, dtype=torch.float64),
            count_grid,
            [-1.0, 0.5, math.nan],
            discrete=True,
        )
        for family, params, oracle in [
            (dgm.PoissonCounts, {"log_mean": wide(0.7, -2.0)}, poisson_log_density),
            (
                dgm.NegativeBinomialCounts,
                {"log_mean": wide(0.7, 1.0), "log_inverse_dispersion": wide(0.9, 5.0)},
                negative_binomial_log_density,
            ),
            (
                dgm.ZeroInflatedNegativeBinomialCounts,
                {
                    "log_mean": wide(0.7, 1.0),
                    "log_inverse_dispersion": wide(0.9, 5.0),
                    "gate_logits": wide(-1.0, 0.5),
                },
                zero_inflated_log_density,
            ),
        ]
    ),
    Case(
        "IsotropicNormalMixture",
        dgm.IsotropicNormalMixture,
        {
            "logits": torch.tensor([[0.0, 1.0, -0.5], [0.3, 0.0, 0.2]], dtype=torch.float64),
            "loc": torch.tensor(
                [[[-2.0, 0.0], [1.0, 1.5], [3.0, -3.0]], [[0.0, 0.0], [0.5, 0.0], [0.0, 1.5]]], dtype=torch.float64
            ),
            "scale": torch.tensor([0.7, 1.1], dtype=torch.float64),
        },
        mixture_log_density,
        torch.tensor([[0.0, 0.0], [1.5, -2.0], [8.0, 8.0], [-100.0, 3.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    Case(
        "DiagNormalMixture",
        dgm.DiagNormalMixture,
        {
            "logits": torch.tensor([[0.0, 1.0, -0.5], [0.3, 0.0, 0.2]], dtype=torch.float64),
            "loc": torch.tensor(
                [[[-2.0, 0.0], [1.0, 1.5], [3.0, -3.0]], [[0.0, 0.0], [0.5, 0.0], [0.0, 1.5]]], dtype=torch.float64
            ),
            "scale": torch.tensor(
                [[[0.5, 1.0], [1.2, 0.4], [0.7, 0.7]], [[1.0, 0.5], [0.3, 1.0], [1.0, 1.0]]], dtype=torch.float64
            ),
        },
        mixture_log_density,
        torch.tensor([[0.0, 0.0], [1.5, -2.0], [8.0, 8.0], [-100.0, 3.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    *(
        Case(
            f"OverlappingBernoulli, {form}",
            build_overlapping(smoothing),
            {"logits": wide(0.4, -1.5), "beta": beta},
            overlapping_log_density(form),
            UNIT_POINTS,
            fine_unit_grid,
            OUTSIDE_UNIT,
            float32_error=float32_error,
        )
        for form, smoothing, beta, float32_error in [
            ("peak", dgm.ExponentialSmoothing, wide(3.0, 12.0), 1e-5),
            ("floor", dgm.UniformExponentialSmoothing, wide(2.0, 16.0), 1e-5),
            # A float32 knows 1 - zeta to 6e-8 only, where the density is steep.
            ("power", dgm.PowerSmoothing, wide(1.5, 2.5), 1e-2),
        ]
    ),
    Case(
        "OverlappingBernoulli, normal",
        build_overlapping(dgm.GaussianSmoothing),
        {"logits": wide(0.4, -1.5), "beta": wide(4.0, 25.0)},
        overlapping_log_density("normal"),
        wide(-0.5, 0.0, 0.3, 0.5, 1.0, 1.7),
        line_grid,
        [math.nan],
    ),
    Case(
        "SpikeExponential",
        dgm.SpikeExponential,
        {"logits": wide(0.4, -1.5), "beta": wide(3.0, 6.0)},
        spike_exponential_log_density,
        wide(0.0, 1e-9, 0.1, 0.5, 0.93, 1.0),
        spike_grid,
        OUTSIDE_UNIT,
        discrete=True,
    ),
    Case(
        "SpikeBoltzmann",
        build_spike_boltzmann,
        {
            "weights": wide([[1.5]], [[-2.0]]),
            "left_bias": wide([0.3], [1.0]),
            "right_bias": wide([-0.5], [0.4]),
        },
        spike_boltzmann_log_density,
        wide([0.0, 0.0], [0.3, 0.0], [0.0, 1.0], [0.9, 1e-3]),
        spike_plane_grid,
        OUTSIDE_PLANE,
        event_dim=1,
        discrete=True,
    ),
    Case(
        "BoltzmannMachine",
        dgm.BoltzmannMachine,
        {
            "weights": wide([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0]], [[-4.0, 3.0, 0.0], [2.0, -1.0, 0.7]]),
            "left_bias": wide([0.5, -0.2], [1.0, 0.0]),
            "right_bias": wide([-1.0, 0.4, 0.0], [0.3, -2.0, 0.1]),
        },
        machine_log_density,
        UNITS,
        lambda: (UNITS, torch.ones(32, dtype=torch.float64)),
        [[0.5, 0.0, 1.0, 1.0, 0.0], [math.nan, 0.0, 1.0, 1.0, 0.0]],
        event_dim=1,
        discrete=True,
    ),
    Case(
        "BoltzmannMachine, three states and bits",
        of_kinds(Potts(3), Bits()),
        {
            "weights": wide([[1.0, -2.0], [0.3, 1.5], [0.0, -1.0]], [[-4.0, 3.0], [2.0, -1.0], [0.7, 0.1]]),
            "left_bias": wide([0.5, -0.2, 0.1], [1.0, 0.0, -2.0]),
            "right_bias": wide([-1.0, 0.4], [0.3, -2.0]),
        },
        potts_log_density,
        POTTS_AND_BITS,
        lambda: (POTTS_AND_BITS, torch.ones(12, dtype=torch.float64)),
        [
            [1.0, 1.0, 0.0, 1.0, 0.0],
            [0.5, 0.5, 0.0, 1.0, 0.0],
            [1.0, 0.0, 0.0, 0.5, 0.0],
            [math.nan, 0.0, 0.0, 0.0, 0.0],
        ],
        event_dim=1,
        discrete=True,
    ),
    Case(
        "VisibleBoltzmann, real",
        build_real_visible,
        {
            "weights": wide([[1.0, -2.0], [0.3, 1.5]], [[-1.5, 2.0], [2.0, -1.0]]),
            "left_bias": wide([0.5, -0.2], [1.0, 0.0]),
            "right_bias": wide([-1.0, 0.4], [0.3, -2.0]),
        },
        real_visible_log_density,
        torch.tensor([[0.0, 0.0], [1.2, -0.3], [0.5, 0.5], [5.0, -5.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
        moments=False,
    ),
    Case(
        "FactorizedCategorical",
        lambda logits, validate_args=None: dgm.FactorizedCategorical(logits, 3, validate_args=validate_args),
        {"logits": wide([0.4, -1.0, 0.2, 1.0, 0.0, -2.0], [3.0, -1.0, 0.0, 0.1, 0.2, 0.3])},
        one_hot_log_density,
        TWO_OF_THREE,
        lambda: (TWO_OF_THREE, torch.ones(9, dtype=torch.float64)),
        [[1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [0.5, 0.5, 0.0, 1.0, 0.0, 0.0], [math.nan, 0.0, 0.0, 1.0, 0.0, 0.0]],
        event_dim=1,
        discrete=True,
    ),
    Case(
        "ContinuedCategorical",
        lambda logits, validate_args=None: dgm.ContinuedCategorical(logits, 3, 4.0, validate_args=validate_args),
        {"logits": wide([0.4, -1.0, 0.2, 1.0, 0.0, -2.0], [3.0, -1.0, 0.0, 0.1, 0.2, 0.3])},
        one_hot_log_density,
        torch.cat([TWO_OF_THREE, 0.7 * TWO_OF_THREE + 0.1]),
        lambda: (TWO_OF_THREE, torch.ones(9, dtype=torch.float64)),
        [[0.9, 0.9, 0.0, 1.0, 0.0, 0.0], [-0.1, 1.1, 0.0, 1.0, 0.0, 0.0], [math.nan, 0.0, 0.0, 1.0, 0.0, 0.0]],
        event_dim=1,
        proxy=True,
    ),
    Case(
        "OverlappingCategorical",
        lambda logits, validate_args=None: dgm.OverlappingCategorical(
            logits, 2, dgm.ExponentialSmoothing(4.0), validate_args=validate_args
        ),
        {"logits": wide([0.4, -1.0], [2.0, 0.0])},
        overlapping_states_log_density,
        torch.tensor([[0.0, 0.0], [1.0, 0.3], [0.5, 0.5], [1e-9, 0.99]], dtype=torch.float64),
        square_grid,
        OUTSIDE_PLANE,
        event_dim=1,
    ),
    Case(
        "VisibleBoltzmann",
        build_visible,
        {
            "weights": wide([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0]], [[-4.0, 3.0, 0.0], [2.0, -1.0, 0.7]]),
            "left_bias": wide([0.5, -0.2], [1.0, 0.0]),
            "right_bias": wide([-1.0, 0.4, 0.0], [0.3, -2.0, 0.1]),
        },
        visible_log_density,
        VISIBLE_UNITS,
        lambda: (VISIBLE_UNITS, torch.ones(4, dtype=torch.float64)),
        [[0.5, 0.0], [math.nan, 0.0]],
        event_dim=1,
        discrete=True,
    ),
    Case(
        "RelaxedBoltzmann, normal",
        build_relaxed_normal,
        TWO_UNITS,
        relaxed_log_density(normal_around),
        torch.tensor([[0.0, 0.0], [1.2, -0.3], [0.5, 0.5], [7.0, -7.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    Case(
        "RelaxedBoltzmann, exponential",
        build_relaxed_exponential,
        TWO_UNITS,
        relaxed_log_density(exponential_towards),
        torch.tensor([[0.0, 0.0], [1.0, 0.3], [0.5, 0.5], [1e-9, 0.99]], dtype=torch.float64),
        square_grid,
        [[1.1, 0.5], [0.5, math.nan]],
        event_dim=1,
    ),
    Case(
        "GaussianIntegralBoltzmann",
        build_gaussian_integral,
        TWO_UNITS,
        relaxed_log_density(integral_around),
        torch.tensor([[0.0, 0.0], [1.2, -0.3], [0.5, 0.5], [7.0, -7.0]], dtype=torch.float64),
        plane_grid,
        [[math.nan, 0.0]],
        event_dim=1,
    ),
    Case(
        "ContinuedBernoulli",
        dgm.ContinuedBernoulli,
        {"logits": wide(0.4, -1.5), "beta": wide(3.0, 12.0)},
        lambda value, logits, beta: value * logits - np.logaddexp(0, logits),
        wide(0.0, 1e-9, 0.1, 0.5, 1.0),
        unit_grid,
        OUTSIDE_UNIT,
        proxy=True,
    ),
    Case(
        "ContinuedBoltzmann",
        build_continued_boltzmann,
        {
            "weights": wide([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0]], [[-4.0, 3.0, 0.0], [2.0, -1.0, 0.7]]),
            "left_bias": wide([0.5, -0.2], [1.0, 0.0]),
            "right_bias": wide([-1.0, 0.4, 0.0], [0.3, -2.0, 0.1]),
        },
        machine_log_density,
        torch.cat([UNITS, UNITS.flip(0) * 0.7 + 0.1]),
        lambda: (UNITS, torch.ones(32, dtype=torch.float64)),
        [[1.5, 0.0, 1.0, 1.0, 0.0], [math.nan, 0.0, 1.0, 1.0, 0.0]],
        event_dim=1,
        proxy=True,
    ),
    Case(
        "GreyBernoulli",
        lambda logits, validate_args=None: dgm.GreyBernoulli(logits=logits, validate_args=validate_args),
        {"logits": wide(0.4, -1.5)},
        lambda value, logits: value * logits - np.logaddexp(0, logits),
        wide(0.0, 0.1, 0.5, 1.0),
        unit_grid,
        OUTSIDE_UNIT,
        proxy=True,
    ),
    Case(
        "AutoregressiveImages",
        build_autoregressive,
        {"context": wide([[[0.4, -1.0, 0.2]]], [[[-0.3, 0.6, 1.5]]])},
        running_log_density,
        BITS,
        lambda: (BITS, torch.ones(len(BITS), dtype=torch.float64)),
        [[0.0, 0.5, 1.0], [math.nan, 0.0, 0.0]],
        event_dim=1,
        discrete=True,
        moments=False,
    ),
    Case(
        "Sentences",
        build_sentences,
        {"context": wide([0.4, -1.0, 0.2], [-0.3, 0.6, 1.5])},
        following_log_density,
        SENTENCES,
        lambda: (SENTENCES, torch.ones(len(SENTENCES), dtype=torch.float64)),
        [[0.0, 2.0, 1.0], [0.5, 0.0, 0.0], [-1.0, -1.0, -1.0], [math.nan, 0.0, 0.0], [0.0, -1.0, -1.0]],
        event_dim=1,
        discrete=True,
        moments=False,
    ),
]

# Distributions that a row cannot describe, and what tests them instead.
ELSEWHERE = {
    "FlowDistribution": "tests/posteriors/test_flow.py",  # its parameters are networks
    "Hierarchical": "tests/distributions/test_hierarchical.py",  # its parameter is a function
    "Implicit": "tests/distributions/test_implicit.py",  # it has no density
    "RecurrentSticks": "tests/models/test_sequence.py",  # likewise
}
