"""SpikeExponential against mpmath, and the gradient that its bits carry against enumeration."""

import itertools

import mpmath as mp
import pytest
import torch
from scipy import integrate

from pyrodgm.distributions import SpikeExponential


def quantile(rho, logits, beta):
    q = 1 / (1 + mp.exp(-logits))
    return mp.log(1 + (mp.exp(beta) - 1) * (rho - (1 - q)) / q) / beta if rho > 1 - q else mp.mpf(0)


def quantile_slopes(rho, logits, beta):
    return mp.diff(lambda t: quantile(rho, t, beta), logits), mp.diff(lambda t: quantile(rho, logits, t), beta)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_quantiles_and_their_slopes(dtype, rtol):
    for logits, beta in [(-20.0, 4.0), (-1.0, 1.0), (0.5, 5.0), (20.0, 40.0)]:
        a, b = (torch.tensor(v, dtype=dtype, requires_grad=True) for v in (logits, beta))
        d = SpikeExponential(a, b)
        q = float(1 / (1 + mp.exp(-logits)))
        for share in (0.9, 0.5, 0.02):
            p = torch.tensor(1 - share * q, dtype=dtype)
            value = d.icdf(p)
            exact = quantile(mp.mpf(p.item()), mp.mpf(logits), mp.mpf(beta))
            assert d.cdf(value).item() == pytest.approx(p.item(), rel=rtol)
            if 1 - p.item() > 1e-3:  # float32 knows 1 - p to 6e-8 only
                assert value.item() == pytest.approx(float(exact), rel=rtol)
                got = torch.autograd.grad(value, (a, b))
                slopes = quantile_slopes(mp.mpf(p.item()), mp.mpf(logits), mp.mpf(beta))
                assert [g.item() for g in got] == pytest.approx([float(s) for s in slopes], rel=rtol, abs=1e-12)
        if q < 0.9:
            assert d.icdf(torch.tensor(0.5 * (1 - q), dtype=dtype)) == 0


def test_draws_have_the_slope_of_the_quantile_at_them():
    for logits, beta in [(-3.0, 4.0), (0.5, 5.0), (20.0, 14.0)]:
        a, b = (torch.full((20,), v, requires_grad=True) for v in (logits, beta))
        value = SpikeExponential(a, b).rsample()
        by_logits, by_beta = torch.autograd.grad(value.sum(), (a, b))
        for i in range(20):
            if value[i] == 0:
                assert by_logits[i] == by_beta[i] == 0
                continue
            v, c = mp.mpf(value[i].item()), mp.mpf(beta)
            q = 1 / (1 + mp.exp(-mp.mpf(logits)))
            rho = 1 - q + q * (mp.exp(c * v) - 1) / (mp.exp(c) - 1)
            slopes = [float(slope) for slope in quantile_slopes(rho, mp.mpf(logits), c)]
            assert [by_logits[i].item(), by_beta[i].item()] == pytest.approx(slopes, rel=1e-8)


def test_bits_carry_the_gradient_of_a_hierarchy():
    """E[z1 z2 + z1 zeta2] where z2 hangs on zeta1: reparameterised estimate against quadrature and enumeration."""
    beta = 3.0

    def second_logits(first, weight):
        return weight * (first - 0.4)

    def exact(a, w):
        def given(z1, zeta1):
            d = SpikeExponential(torch.tensor(second_logits(zeta1, w)), beta)
            return z1 * (d.probs.item() + d.mean.item())

        first = SpikeExponential(torch.tensor(a), beta)
        inner = integrate.quad(lambda v: first.log_prob(torch.tensor(v)).exp().item() * given(1, v), 1e-12, 1)[0]
        return inner

    def slope(f, at):
        return (f(at + 1e-4) - f(at - 1e-4)) / 2e-4

    a, w = torch.tensor(0.3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    expected = [slope(lambda t: exact(t, 2.0), 0.3), slope(lambda t: exact(0.3, t), 2.0)]
    draws, groups = 50_000, 20
    estimates = []
    for _ in range(groups):
        first = SpikeExponential(a.expand(draws), beta)
        zeta1 = first.rsample()
        second = SpikeExponential(second_logits(zeta1, w), beta)
        zeta2 = second.rsample()
        f = first.bits(zeta1) * (second.bits(zeta2) + zeta2)
        estimates.append(torch.stack(torch.autograd.grad(f.mean(), (a, w))))
    estimates = torch.stack(estimates)
    error = (estimates.mean(0) - torch.tensor(expected)) / (estimates.std(0) / groups**0.5)
    assert error.abs().max() < 5


def test_bits_are_those_of_the_draws():
    d = SpikeExponential(torch.linspace(-2, 2, 5), 4.0)
    value = d.sample((10_000,))
    z = d.bits(value)
    assert torch.equal(z == 1, value > 0)
    assert torch.equal(z == 0, value == 0)
    torch.testing.assert_close(z.mean(0), d.probs, atol=0.025, rtol=0)
    assert all(b in (0.0, 1.0) for b in itertools.islice(z.flatten().tolist(), 100))
