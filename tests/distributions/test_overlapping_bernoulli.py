"""Smoothings and their mixtures against mpmath, in float32 too, over the range that training visits."""

import math

import mpmath as mp
import pytest
import torch
from distribution_cases import smooth

from pyrodgm import distributions as dgm

FORMS = {
    "peak": dgm.ExponentialSmoothing,
    "floor": dgm.UniformExponentialSmoothing,
    "power": dgm.PowerSmoothing,
    "normal": dgm.GaussianSmoothing,
}
BETAS = [4.0, 14.0, 40.0]
LOGITS = [-20.0, -3.0, 0.3, 20.0]
each_form = pytest.mark.parametrize("form", FORMS)


def smooth_cdf(form, value, z, beta):
    b = mp.mpf(beta)
    peak = ((mp.exp(b * value) - 1) / (mp.exp(b) - 1)) if z else (1 - mp.exp(-b * value)) / (1 - mp.exp(-b))
    if form == "normal":
        return mp.ncdf((value - z) * mp.sqrt(b))
    power = 1 - (1 - value) ** (1 / b) if z else value ** (1 / b)
    return {"peak": peak, "floor": mp.mpf("0.95") * peak + mp.mpf("0.05") * value, "power": power}[form]


def mixture_cdf(form, value, logits, beta):
    q = 1 / (1 + mp.exp(-logits))
    return (1 - q) * smooth_cdf(form, value, 0, beta) + q * smooth_cdf(form, value, 1, beta)


def mixture_density(form, value, logits, beta):
    q = 1 / (1 + mp.exp(-logits))
    return (1 - q) * smooth(form, value, 0, beta) + q * smooth(form, value, 1, beta)


def quantile_slopes(form, value, logits, beta):
    """Derivatives by logits and beta of the quantile function at the probability of `value`."""
    density = mixture_density(form, value, logits, beta)
    by_logits = mp.diff(lambda t: mixture_cdf(form, value, t, beta), logits)
    by_beta = mp.diff(lambda t: mixture_cdf(form, value, logits, t), beta)
    return -by_logits / density, -by_beta / density


def test_the_slopes_of_the_oracle_are_those_of_the_inverse():
    """By finite differences of a root of the cdf, which need no formula for the derivative."""
    logits, beta, value = mp.mpf("0.3"), mp.mpf(6), mp.mpf("0.37")
    for form in FORMS:
        p = mixture_cdf(form, value, logits, beta)
        h = mp.mpf("1e-12")

        def quantile(a, b, form=form, p=p):
            return mp.findroot(lambda v: mixture_cdf(form, v, a, b) - p, value)

        by_logits = (quantile(logits + h, beta) - quantile(logits - h, beta)) / (2 * h)
        by_beta = (quantile(logits, beta + h) - quantile(logits, beta - h)) / (2 * h)
        expected = quantile_slopes(form, value, logits, beta)
        assert mp.almosteq(by_logits, expected[0], 1e-12)
        assert mp.almosteq(by_beta, expected[1], 1e-12)


@pytest.mark.slow
@each_form
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_gradients_of_draws(form, dtype, rtol):
    """d zeta / d logits and d zeta / d beta of each draw equal those of the quantile function at it."""
    for beta in BETAS:
        for logits in LOGITS:
            a = torch.full((8,), logits, dtype=dtype, requires_grad=True)
            b = torch.full((8,), beta, dtype=dtype, requires_grad=True)
            value = dgm.OverlappingBernoulli(a, FORMS[form](b)).rsample()
            got = torch.autograd.grad(value.sum(), (a, b))
            for i in range(8):
                exact = quantile_slopes(form, mp.mpf(value[i].item()), mp.mpf(logits), mp.mpf(beta))
                for slope, expected in zip(got, exact, strict=True):
                    # The slope by beta cancels where the two parts pull apart; against the reach of zeta it is small.
                    assert slope[i].item() == pytest.approx(float(expected), rel=rtol, abs=rtol * 1e-2)


@each_form
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_density_and_cdf_over_the_whole_range(form, dtype, rtol):
    points = torch.tensor([1e-25, 1e-6, 0.02, 0.31, 0.5, 0.8, 1 - 1e-4], dtype=dtype)
    for beta in BETAS:
        for logits in LOGITS:
            d = dgm.OverlappingBernoulli(torch.tensor(logits, dtype=dtype), FORMS[form](beta))
            log_density, cdf = d.log_prob(points), d.cdf(points)
            for i, value in enumerate(points.tolist()):
                arguments = form, mp.mpf(value), mp.mpf(logits), mp.mpf(beta)
                assert log_density[i].item() == pytest.approx(float(mp.log(mixture_density(*arguments))), rel=rtol)
                assert cdf[i].item() == pytest.approx(float(mixture_cdf(*arguments)), rel=rtol, abs=rtol * 1e-3)


@each_form
def test_log_ratio_is_the_difference(form):
    smoothing, value = FORMS[form](13.0), torch.tensor([1e-6, 0.2, 0.5, 0.99])
    expected = [mp.log(smooth(form, mp.mpf(v), 1, 13) / smooth(form, mp.mpf(v), 0, 13)) for v in value.tolist()]
    torch.testing.assert_close(smoothing.log_ratio(value), torch.tensor([float(e) for e in expected]))
    d = dgm.OverlappingBernoulli(torch.tensor(1.5), smoothing)
    torch.testing.assert_close(d.posterior_logits(value), 1.5 + smoothing.log_ratio(value))


@each_form
def test_inverse_of_each_part(form):
    for dtype, rtol in [(torch.float64, 1e-10), (torch.float32, 2e-3)]:
        smoothing = FORMS[form](9.0)
        p = torch.linspace(0.01, 0.6, 25, dtype=dtype)  # beyond, zeta rounds towards 1
        for z in (0, 1):
            value = smoothing.icdf(p, z)
            assert value.dtype == dtype
            torch.testing.assert_close(smoothing.cdf(value, z), p, rtol=rtol, atol=0)
        mixed = smoothing.draw(p, (p > 0.5).to(dtype))
        assert smoothing.support.check(mixed).all()


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_closed_form_quantiles(dtype, error):
    p = torch.linspace(0.001, 0.999, 101, dtype=dtype)
    for beta in BETAS:
        for logits in LOGITS:
            d = dgm.OverlappingBernoulli(torch.tensor(logits, dtype=dtype), dgm.ExponentialSmoothing(beta))
            value = d.icdf(p)
            for v, wanted in zip(value.tolist(), p.tolist(), strict=True):
                # Between the two peaks the cdf is flat, so that only its own error can be asked for.
                got = mixture_cdf("peak", mp.mpf(v), mp.mpf(logits), mp.mpf(beta))
                slope = mixture_density("peak", mp.mpf(v), mp.mpf(logits), mp.mpf(beta))
                assert abs(got - wanted) < error * (1 + slope)
    with pytest.raises(NotImplementedError, match="PowerSmoothing"):
        dgm.OverlappingBernoulli(torch.tensor(0.0), dgm.PowerSmoothing(9.0)).icdf(p)


def test_closed_form_quantile_has_the_implicit_gradient():
    logits = torch.tensor(0.4, requires_grad=True)
    beta = torch.tensor(6.0, requires_grad=True)
    value = dgm.OverlappingBernoulli(logits, dgm.ExponentialSmoothing(beta)).icdf(torch.tensor(0.55))
    got = torch.autograd.grad(value, (logits, beta))
    expected = quantile_slopes("peak", mp.mpf(value.item()), mp.mpf(0.4), mp.mpf(6))
    assert [g.item() for g in got] == pytest.approx([float(e) for e in expected], rel=1e-9)


@each_form
def test_steep_draws_keep_finite_gradients_in_float32(form):
    logits = torch.linspace(-20, 20, 200).float().expand(500, 200).requires_grad_()
    d = dgm.OverlappingBernoulli(logits, FORMS[form](40.0))
    value = d.rsample()
    (gradient,) = torch.autograd.grad((1e4 * d.log_prob(value)).sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.slow
def test_unlikely_bits_are_as_frequent_as_they_should_be():
    """z = 1 has probability 1.1e-7 here, between two neighbours of a uniform float32."""
    torch.manual_seed(0)
    d = dgm.OverlappingBernoulli(torch.full((20_000_000,), -16.0).float(), dgm.ExponentialSmoothing(40.0))
    ones = sum((d.sample() > 0.5).sum().item() for _ in range(3))
    assert 0 <= ones <= 22  # 6.8 on average; more than 22 once in 800,000 cases


def test_shift_moves_gaussian_parts():
    shift = torch.tensor([0.1, -0.2])
    d = dgm.OverlappingBernoulli(torch.tensor([0.3, 0.3]), dgm.GaussianSmoothing(9.0, shift))
    plain = dgm.OverlappingBernoulli(torch.tensor([0.3, 0.3]), dgm.GaussianSmoothing(9.0))
    value = torch.tensor([0.2, 0.9])
    torch.testing.assert_close(d.log_prob(value + shift), plain.log_prob(value))
    torch.testing.assert_close(d.mean, plain.mean + shift)
    torch.testing.assert_close(d.variance, plain.variance)
    shift.requires_grad_()
    value = dgm.OverlappingBernoulli(torch.tensor([0.3, 0.3]), dgm.GaussianSmoothing(9.0, shift)).rsample((4,))
    torch.testing.assert_close(torch.autograd.grad(value.sum(), shift)[0], torch.tensor([4.0, 4.0]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dgm.ExponentialSmoothing(0.0), "beta must be finite and greater than 0, got 0"),
        (lambda: dgm.PowerSmoothing(-1.0), "beta must be finite and greater than 0, got -1"),
        (lambda: dgm.PowerSmoothing(math.inf), "beta must be finite and greater than 0, got inf"),
        (
            lambda: dgm.UniformExponentialSmoothing(3.0, 1.0),
            "epsilon must be .* less than 1, got 1",
        ),
        (
            lambda: dgm.OverlappingBernoulli(torch.zeros(2), dgm.PowerSmoothing(torch.tensor([1.0, -1.0]))),
            "beta must be positive, got -1",
        ),
    ],
    ids=["exponential", "power", "infinite", "uniform", "tensor"],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("beta", [1e-3, 14.0, 200.0, 800.0])
@pytest.mark.parametrize("logits", [-800.0, -50.0, -3.0, 0.5, 20.0, 100.0, 800.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_quantiles_of_the_exponential_mixture_at_the_extremes(beta, logits, dtype):
    """Against bisection of the cdf in 60 digits."""
    p = torch.tensor([1e-3, 0.3, 0.55, 0.9], dtype=dtype)
    value = dgm.OverlappingBernoulli(torch.tensor(logits, dtype=dtype), dgm.ExponentialSmoothing(beta)).icdf(p)
    with mp.workdps(60):
        b, q = mp.mpf(beta), 1 / (1 + mp.exp(-mp.mpf(logits)))

        def cdf(zeta):
            return ((1 - q) * (1 - mp.exp(-b * zeta)) + q * (mp.exp(b * (zeta - 1)) - mp.exp(-b))) / (1 - mp.exp(-b))

        for got, rho in zip(value.tolist(), p.tolist(), strict=True):
            low, high = mp.mpf(0), mp.mpf(1)
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (middle, high) if cdf(middle) < rho else (low, middle)
            assert got == pytest.approx(float(low), abs=2e-4 if dtype == torch.float32 else 1e-10)


@pytest.mark.slow
def test_gaussian_draws_have_both_tails():
    """One uniform float32 in 2^24 is 0, whose quantile would lie 13 standard deviations below."""
    q = dgm.OverlappingBernoulli(torch.full((10_000_000,), -50.0, dtype=torch.float32), dgm.GaussianSmoothing(25.0))
    draws = torch.cat([5.0 * q.sample() for _ in range(5)])
    assert draws.min() > -6.5  # a normal number lies there once in 25 billion
    assert (draws < -4.5).sum().item() == pytest.approx(170, abs=65)
    assert (draws > 4.5).sum().item() == pytest.approx(170, abs=65)


@pytest.mark.parametrize("beta", [1e-9, 1e-5, 0.0199, 0.0201, 1.0, 1000.0])
def test_moments_of_exponential_parts_from_flat_to_steep(beta):
    with mp.workdps(60):
        b = mp.mpf(beta)
        tail = 1 / mp.expm1(b)
        mean, square = 1 / b - tail, 2 * (1 / b - tail) / b - tail
        expected = torch.tensor([[mean, square], [1 - mean, 1 - 2 * mean + square]], dtype=torch.float64)
    found = [dgm.ExponentialSmoothing(beta).moments(torch.zeros((), dtype=torch.float64), z) for z in (0, 1)]
    assert torch.allclose(torch.tensor(found), expected, rtol=1e-9, atol=0.0)
