"""Every registered divergence against mpmath: value, gradient, sign, shape; and that Pyro finds it."""

import functools

import mpmath as mp
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import kl_divergence
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.distributions import (
    GEM,
    Kumaraswamy,
    LogitNormal,
    SmallShapeGammaRatio,
    StickBreaking,
    kl_kumaraswamy_beta_series,
)

GRADED = [-90, -60, -40, -30, -20, -15, -10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5]


def log_of_power_complement(minus_log_v, log1m_v, power):
    """log(1 - v^power)."""
    distance = minus_log_v * power
    if distance > 1:
        return mp.log1p(-mp.exp(-distance))
    return mp.log(-mp.expm1(-distance)) if distance > mp.mpf(10) ** -18 else mp.log(power) + log1m_v


@functools.cache
def kumaraswamy_log1m_power(a, b, power):
    def integrand(x):
        e = mp.exp(x)
        y = mp.exp(-e / b)
        minus_log_va = -mp.log1p(-y) if e > b else -mp.log(-mp.expm1(-e / b))
        return e * mp.exp(-e) * log_of_power_complement(minus_log_va, -e / b, mp.mpf(power) / a)

    with mp.workdps(16):
        return mp.quad(integrand, GRADED)


def kumaraswamy_beta(a, b, alpha, beta):
    with mp.workdps(25):
        expected_log = -mp.harmonic(mp.mpf(b)) / a
        closed = mp.log(mp.mpf(a) * b) + (mp.mpf(a) - alpha) * expected_log - 1 + 1 / mp.mpf(b)
        return closed - (mp.mpf(beta) - 1) * kumaraswamy_log1m_power(a, b, 1.0) + mp.log(mp.beta(alpha, beta))


def kumaraswamy_kumaraswamy(a, b, c, d):
    with mp.workdps(25):
        expected_log = -mp.harmonic(mp.mpf(b)) / a
        closed = mp.log(mp.mpf(a) * b / c / d) + (mp.mpf(a) - c) * expected_log - 1 + 1 / mp.mpf(b)
        return closed - (mp.mpf(d) - 1) * kumaraswamy_log1m_power(a, b, c)


def beta_kumaraswamy(alpha, beta, a, b):
    def integrand(t):
        softplus = mp.log1p(mp.exp(-abs(t)))
        log_v, log1m_v = min(t, 0) - softplus, -max(t, 0) - softplus
        log_p = (alpha - 1) * log_v + (beta - 1) * log1m_v - log_norm
        log_q = log_ab + (a - 1) * log_v + (b - 1) * log_of_power_complement(-log_v, log1m_v, mp.mpf(a))
        return mp.exp(log_p + log_v + log1m_v) * (log_p - log_q)

    with mp.workdps(16):
        alpha, beta = mp.mpf(alpha), mp.mpf(beta)
        log_norm, log_ab = mp.log(mp.beta(alpha, beta)), mp.log(mp.mpf(a) * b)
        cuts = [-60 / alpha, -20 / alpha, *range(-12, 13, 3), 20, 60 / beta + 40]
        return mp.quad(integrand, sorted(map(mp.mpf, cuts)))


def logit_normal_beta(loc, scale, alpha, beta):
    with mp.workdps(16):
        loc, scale = mp.mpf(loc), mp.mpf(scale)
        edge = min(max(-loc / scale, -12), 12)
        cuts = {
            -13,
            -6,
            -3,
            0,
            3,
            6,
            13,
            edge,
            *(edge + j / scale for j in (-10, -3, 3, 10) if abs(edge + j / scale) < 13),
        }

        def integrand(z):
            t = loc + scale * z
            return mp.npdf(z) * (mp.log1p(mp.exp(-abs(t))) + max(t, 0))

        softplus = mp.quad(integrand, sorted(cuts))
        normal = -mp.log(2 * mp.pi * mp.e) / 2 - mp.log(scale)
        return normal + alpha * (softplus - loc) + beta * softplus + mp.log(mp.beta(alpha, beta))


def logit_normal_logit_normal(loc, scale, other_loc, other_scale):
    ratio = mp.mpf(scale) / other_scale
    return (ratio**2 - 1 + ((mp.mpf(loc) - other_loc) / other_scale) ** 2) / 2 - mp.log(ratio)


def small_shape_gamma_ratio_beta(a, b, alpha, beta):
    """The integral of p (log p - log q) over the logit, on either side of the kink."""
    with mp.workdps(16):
        a, b = mp.mpf(a), mp.mpf(b)
        kink = mp.loggamma(a + 1) / a - mp.loggamma(b + 1) / b
        log_norm, log_q_norm = mp.log(a * b / (a + b)), mp.log(mp.beta(alpha, beta))

        def integrand(t):
            log_p = log_norm + (a * (t - kink) if t < kink else -b * (t - kink))
            softplus = mp.log1p(mp.exp(-abs(t)))
            log_q = alpha * (min(t, 0) - softplus) + beta * (-max(t, 0) - softplus) - log_q_norm
            return mp.exp(log_p) * (log_p - log_q)

        cuts = {
            kink,
            *range(-12, 13, 3),
            *(kink - s / a for s in (80, 20, 5, 1)),
            *(kink + s / b for s in (1, 5, 20, 80)),
        }
        return mp.quad(integrand, sorted(map(mp.mpf, cuts)))


def beta_beta(a, b, alpha, beta):
    with mp.workdps(25):
        a, b, alpha, beta = map(mp.mpf, (a, b, alpha, beta))
        expected_log, expected_log1m = (mp.digamma(x) - mp.digamma(a + b) for x in (a, b))
        log_norms = mp.log(mp.beta(alpha, beta)) - mp.log(mp.beta(a, b))
        return log_norms + (a - alpha) * expected_log + (b - beta) * expected_log1m


def sticks_of_one_break(a, b, c, d):
    """The divergence of Beta fractions as that of sticks takes it."""
    p, q = (StickBreaking(dist.Beta(x.unsqueeze(-1), y.unsqueeze(-1)).to_event(1)) for x, y in ((a, b), (c, d)))
    return kl_divergence(p, q)


def pair(first, second):
    return lambda a, b, c, d: kl_divergence(first(a, b), second(c, d))


EXTREMES = [
    (a, b, *prior) for a in (0.01, 0.3, 200.0) for b in (0.01, 0.7, 200.0) for prior in ((0.1, 50.0), (1.0, 5.0))
]
PAIRS = {
    "Kumaraswamy-Beta": (
        pair(Kumaraswamy, dist.Beta),
        kumaraswamy_beta,
        [*EXTREMES, (20.0, 1e6, 1.0, 5.0), (2.0, 3.0, 1.0, 5.0), (200.0, 0.01, 50.0, 0.1), (1.0, 4.0, 1.001, 4.001)],
        1e-7,
    ),
    "Kumaraswamy-Kumaraswamy": (
        pair(Kumaraswamy, Kumaraswamy),
        kumaraswamy_kumaraswamy,
        [(2.0, 3.0, 1.0, 5.0), (0.3, 0.05, 20.0, 9.0), (100.0, 0.02, 0.1, 30.0), (0.1, 50.0, 50.0, 0.1)],
        1e-7,
    ),
    "Beta-Kumaraswamy": (
        pair(dist.Beta, Kumaraswamy),
        beta_kumaraswamy,
        [(0.1, 0.1, 2.0, 5.0), (50.0, 0.1, 0.05, 3.0), (0.1, 50.0, 200.0, 0.5), (50.0, 50.0, 30.0, 100.0)],
        1e-10,
    ),
    "LogitNormal-Beta": (
        pair(LogitNormal, dist.Beta),
        logit_normal_beta,
        [(0.0, 1.0, 1.0, 5.0), (-9.0, 0.02, 0.1, 50.0), (4.0, 30.0, 50.0, 0.1), (30.0, 3.0, 2.0, 2.0)],
        1e-8,
    ),
    "SmallShapeGammaRatio-Beta": (
        pair(SmallShapeGammaRatio, dist.Beta),
        small_shape_gamma_ratio_beta,
        [*EXTREMES, (20.0, 1e6, 1.0, 5.0), (2.0, 3.0, 1.0, 5.0), (200.0, 0.01, 50.0, 0.1), (0.2, 0.9, 0.2, 0.9)],
        1e-8,
    ),
    "Beta-Beta": (
        sticks_of_one_break,
        beta_beta,
        [*EXTREMES, (20.0, 1e6, 1.0, 5.0), (2.0, 3.0, 1.0, 5.0), (200.0, 0.01, 50.0, 0.1), (1.0, 4.0, 1.001, 4.001)],
        1e-7,
    ),
    "LogitNormal-LogitNormal": (
        pair(LogitNormal, LogitNormal),
        logit_normal_logit_normal,
        [(0.0, 1.0, 1.0, 5.0), (-9.0, 0.02, 0.1, 50.0), (4.0, 30.0, 50.0, 0.1), (1.0, 1.0, 1.0, 1.0001)],
        1e-7,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_matches_oracle(name):
    divergence, oracle, points, tolerance = PAIRS[name]
    got = divergence(*torch.tensor(points).unbind(-1))
    assert (got >= -1e-12).all()
    for value, point in zip(got, points, strict=True):
        expected = oracle(*point)
        assert abs(mp.mpf(value.item()) / expected - 1) < tolerance, point


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_gradient_matches_differences_of_oracle(name):
    divergence, oracle, points, _ = PAIRS[name]
    for point in (points[0], points[-2]):
        params = [torch.tensor(x, requires_grad=True) for x in point]
        got = torch.autograd.grad(divergence(*params), params)
        for i, gradient in enumerate(got):
            step = 1e-4 * abs(point[i]) + 1e-6 * (point[i] == 0)
            ends = [oracle(*(x + sign * step * (i == j) for j, x in enumerate(point))) for sign in (1, -1)]
            slope = float((ends[0] - ends[1]) / (2 * step))
            assert abs(gradient.item() - slope) < 1e-5 * abs(slope) + 1e-7, (point, i)


log_range = st.floats(-2.0, 2.3).map(lambda x: 10.0**x)
prior_range = st.floats(-1.0, 1.69).map(lambda x: 10.0**x)


@pytest.mark.slow
@given(a=log_range, b=log_range, alpha=prior_range, beta=prior_range)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_kumaraswamy_beta_anywhere(a, b, alpha, beta):
    got = kl_divergence(Kumaraswamy(a, b), dist.Beta(torch.tensor(alpha), torch.tensor(beta))).item()
    expected = kumaraswamy_beta(a, b, alpha, beta)
    assert abs(got - expected) < 1e-6 * abs(expected) + 1e-12


@pytest.mark.slow
@given(a=prior_range, b=prior_range, c=prior_range, d=prior_range)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_never_negative_and_zero_only_at_equality(a, b, c, d):
    families = (Kumaraswamy, LogitNormal)
    for first, second in [(f, g) for f in families for g in (dist.Beta, f)] + [(dist.Beta, Kumaraswamy)]:
        p, q = (f(torch.tensor(x), torch.tensor(y)) for f, x, y in ((first, a, b), (second, c, d)))
        assert kl_divergence(p, q) > -1e-12
    for family in families:
        assert abs(kl_divergence(family(a, b), family(a, b))) < 1e-10


def test_equal_distributions_of_two_families():
    for p, q in [((1.0, 3.0), (1.0, 3.0)), ((4.0, 1.0), (4.0, 1.0))]:
        beta = dist.Beta(*map(torch.tensor, p))
        torch.testing.assert_close(kl_divergence(Kumaraswamy(*q), beta), torch.tensor(0.0))
        torch.testing.assert_close(kl_divergence(beta, Kumaraswamy(*q)), torch.tensor(0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_finite_over_the_range(dtype):
    grid = torch.logspace(-3, 4, 15, dtype=dtype)
    a, b = (x.requires_grad_() for x in torch.cartesian_prod(grid, grid).unbind(-1))
    for q in (dist.Beta(*torch.tensor([1.0, 5.0], dtype=dtype)), Kumaraswamy(*torch.tensor([0.5, 7.0], dtype=dtype))):
        kl = kl_divergence(Kumaraswamy(a, b), q)
        assert kl.dtype == dtype
        assert kl.isfinite().all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(kl.sum(), (a, b)))


def test_float32_value_and_gradient():
    """Fewer nodes in float32, to its own rounding: checked against float64."""
    a, b = torch.cartesian_prod(torch.logspace(-1, 2.3, 12), torch.logspace(-2, 2.3, 12)).unbind(-1)
    results = []
    for dtype in (torch.float32, torch.float64):
        params = [p.to(torch.float32).to(dtype).requires_grad_() for p in (a, b)]
        prior = dist.Beta(*torch.tensor([1.0, 5.0], dtype=dtype))
        kl = kl_divergence(Kumaraswamy(*params), prior)
        results.append([kl.detach().double(), *(g.double() for g in torch.autograd.grad(kl.sum(), params))])
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_functional_transforms():
    """torch.func's grad and vmap give the gradients that backward gives; a second derivative is refused, not wrong."""
    a, b = torch.rand(5) + 0.3, torch.rand(5) + 0.3

    def divergence(a, b):
        prior = dist.Beta(torch.ones(()), torch.tensor(5.0), validate_args=False)
        return kl_divergence(Kumaraswamy(a, b, validate_args=False), prior)

    params = [a.clone().requires_grad_(), b.clone().requires_grad_()]
    expected = torch.autograd.grad(divergence(*params).sum(), params)
    torch.testing.assert_close(torch.func.grad(lambda a, b: divergence(a, b).sum(), (0, 1))(a, b), expected)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(divergence, (0, 1)))(a, b), expected)
    first = torch.autograd.grad(divergence(*params).sum(), params, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        torch.autograd.grad(first[1].sum(), params[1])


def test_series_is_the_published_one():
    p = Kumaraswamy(torch.tensor([5.0, 2.0, 2.0]), torch.tensor([0.2, 3.0, 3.0]))
    q = dist.Beta(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([5.0, 5.0, 1.0]))
    got = kl_kumaraswamy_beta_series(p, q)
    torch.testing.assert_close(got[:2], torch.tensor([12.5, 1.372]), rtol=0, atol=0.05)
    torch.testing.assert_close(got[2], kl_divergence(p, q)[2])
    long = kl_kumaraswamy_beta_series(p, q, terms=100_000)
    torch.testing.assert_close(long[1], kl_divergence(p, q)[1], rtol=1e-6, atol=0)


def test_beta_sticks_that_are_nearly_equal_in_float32():
    """PyTorch's own divergence of these, in float32, is below zero for some; the true ones are about 1e-7."""
    generator = torch.Generator().manual_seed(0)
    params = 1.0 + 9.0 * torch.rand(2, 500, generator=generator, dtype=torch.float32)
    nearby = params * (1.0 + 3e-4 * torch.randn(2, 500, generator=generator, dtype=torch.float32))
    assert (kl_divergence(dist.Beta(*nearby), dist.Beta(*params)) < 0).any()
    kl = sticks_of_one_break(*nearby, *params)
    expected = sticks_of_one_break(*nearby.double(), *params.double())
    assert kl.dtype == torch.float32
    assert (kl > 0).all()
    torch.testing.assert_close(kl.double(), expected, rtol=1e-6, atol=0)


def sticks(batch, size):
    a, b = (torch.rand(batch, size) * 3 + 0.2 for _ in range(2))
    return StickBreaking(Kumaraswamy(a, b).to_event(1)), a, b


@pytest.mark.parametrize(
    "prior",
    [
        GEM(torch.tensor(5.0), 6),
        StickBreaking(Kumaraswamy(torch.ones(5), 5.0 * torch.ones(5)).to_event(1)),
    ],
    ids=["GEM", "StickBreaking"],
)
def test_stick_breaking_sums_over_fractions(prior):
    q, a, b = sticks(4, 5)
    kl = kl_divergence(q, prior)
    torch.testing.assert_close(
        kl, kl_divergence(Kumaraswamy(a, b), dist.Beta(torch.ones(()), torch.tensor(5.0))).sum(-1)
    )
    draws = q.sample((20_000,))
    sampled = q.log_prob(draws) - prior.log_prob(draws)
    assert ((sampled.mean(0) - kl) / (sampled.std(0) / 20_000**0.5)).abs().max() < 5.5


def test_stick_breaking_of_different_lengths():
    with pytest.raises(ValueError, match="q must have as many sticks as p, 6, got 7"):
        kl_divergence(sticks(4, 5)[0], GEM(torch.tensor(5.0), 7))


def test_pyro_finds_the_divergence():
    """TraceMeanField_ELBO equals the exact divergence, which no sample estimate does."""
    q, _, _ = sticks(4, 5)
    prior = GEM(torch.tensor(5.0), 6)

    def model():
        with pyro.plate("data", 4):
            pyro.sample("pi", prior)

    def guide():
        with pyro.plate("data", 4):
            pyro.sample("pi", q)

    loss = pyro.infer.TraceMeanField_ELBO().loss(model, guide)
    assert loss == pytest.approx(kl_divergence(q, prior).sum().item(), rel=1e-12)


@pytest.mark.slow
def test_traced_step_with_sample_density_and_divergence():
    def step(a, b, alpha):
        q = StickBreaking(Kumaraswamy(a, b, validate_args=False).to_event(1), validate_args=False)
        prior = GEM(alpha, 50, validate_args=False)
        pi = q.rsample()
        loss = (kl_divergence(q, prior) + q.log_prob(pi) - prior.log_prob(pi)).mean()
        return loss, *torch.autograd.grad(loss, (a, b, alpha))

    def inputs(shift):
        torch.manual_seed(5)
        return [(torch.rand(8, 49) + shift).float().requires_grad_() for _ in range(2)] + [
            torch.tensor(5.0 + shift, dtype=torch.float32, requires_grad=True)
        ]

    traced = make_fx(step)(*inputs(0.1))
    first, second = inputs(0.3), inputs(0.3)
    torch.manual_seed(9)
    got = traced(*first)
    torch.manual_seed(9)
    torch.testing.assert_close(got, step(*second))
    assert all(g.isfinite().all() for g in got)
