"""Kumaraswamy over its whole range, against mpmath."""

import mpmath as mp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid

from pyrodgm.distributions import Kumaraswamy

CORNERS = [0.01, 0.3, 1.0, 7.0, 1000.0]
PARAMETERS = [(a, b) for a in CORNERS for b in CORNERS]
POINTS = [1e-30, 1e-6, 0.02, 0.5, 0.97, 1 - 1e-6, 1 - 1e-15]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
each_dtype = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
positive = st.floats(-2.0, 3.0).map(lambda x: 10.0**x)


def exact(tensor):
    return mp.mpf(tensor.item())


def distribution(dtype, points=()):
    """All pairs of corners, and the values in `points` that the dtype holds strictly inside (0, 1)."""
    a, b = torch.tensor(PARAMETERS, dtype=dtype).unbind(-1)
    value = torch.tensor(points, dtype=dtype)
    value = value[(value > 0) & (value < 1)]
    return Kumaraswamy(a, b), value


def check(got, oracle, dtype, *arguments):
    for index, result in enumerate(got.view(-1)):
        expected = oracle(*(argument.view(-1)[index] for argument in arguments))
        # What the format cannot hold is not asked for.
        if mp.mpf(torch.finfo(dtype).tiny) < abs(expected) < mp.mpf(torch.finfo(dtype).max):
            assert abs(exact(result) / expected - 1) < TOLERANCE[dtype], [a.view(-1)[index] for a in arguments]


def log_prob(v, a, b):
    v, a, b = exact(v), exact(a), exact(b)
    return mp.log(a * b) + (a - 1) * mp.log(v) + (b - 1) * mp.log(1 - v**a)


def cdf(v, a, b):
    return 1 - (1 - exact(v) ** exact(a)) ** exact(b)


def icdf(q, a, b):
    return (1 - (1 - exact(q)) ** (1 / exact(b))) ** (1 / exact(a))


def moment(a, b, n):
    a, b = exact(a), exact(b)
    return b * mp.beta(1 + n / a, b)


def entropy(a, b):
    a, b = exact(a), exact(b)
    return (1 - 1 / b) + (1 - 1 / a) * mp.harmonic(b) - mp.log(a * b)


@each_dtype
@pytest.mark.parametrize(("name", "oracle"), [("log_prob", log_prob), ("cdf", cdf), ("icdf", icdf)])
def test_functions_of_a_value(name, oracle, dtype):
    with mp.workdps(80):
        d, value = distribution(dtype, POINTS)
        value = value.unsqueeze(-1).expand(-1, len(PARAMETERS)).clone()
        a, b = (p.expand_as(value).clone() for p in (d.concentration1, d.concentration0))
        check(getattr(d, name)(value), oracle, dtype, value, a, b)


@each_dtype
def test_moments_and_entropy(dtype):
    with mp.workdps(80):
        d, _ = distribution(dtype)
        a, b = d.concentration1, d.concentration0
        check(d.mean, lambda a, b: moment(a, b, 1), dtype, a, b)
        check(d.variance, lambda a, b: moment(a, b, 2) - moment(a, b, 1) ** 2, dtype, a, b)
        check(d.entropy(), entropy, dtype, a, b)


@pytest.mark.slow
@given(a=positive, b=positive, draw=st.floats(1e-12, 1.0 - 1e-12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_cdf_and_gradients_anywhere(a, b, draw):
    logits = Kumaraswamy(torch.tensor(a), torch.tensor(b)).logits
    value = logits.icdf(torch.tensor(draw))
    torch.testing.assert_close(logits.cdf(value), torch.tensor(draw), rtol=1e-8, atol=0)
    with mp.workdps(1000):  # 1 - y keeps the digits of y down to 1e-300
        y = (1 - mp.mpf(draw)) ** (1 / mp.mpf(b))
        v = (1 - y) ** (1 / mp.mpf(a))
        for got, expected in (
            (logsigmoid(value), mp.log(v)),
            (logsigmoid(-value), mp.log1p(-v) if v < 1 else mp.log(y / a)),
        ):
            if abs(expected) > 1e-300:
                assert abs(exact(got) / expected - 1) < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_draws_stay_inside_and_gradients_finite(dtype):
    grid = torch.logspace(-2, 3, 21, dtype=dtype)
    a, b = (x.requires_grad_() for x in torch.cartesian_prod(grid, grid).unbind(-1))
    d = Kumaraswamy(a, b)
    value = d.rsample((500,))
    assert ((value > 0) & (value < 1)).all()
    for at in (value, value.detach()):
        log_prob = d.log_prob(at)
        assert log_prob.isfinite().all()
        for gradient in torch.autograd.grad(log_prob.sum() + at.sum(), (a, b), retain_graph=True):
            assert gradient.isfinite().all()


@pytest.mark.slow
def test_log_prob_of_a_drawn_logit_is_exact_where_the_fraction_rounds():
    """-E[log p] over float32 draws is the entropy, although two fractions in three round to 0 or 1."""
    d = Kumaraswamy(*(torch.full((200_000,), 0.02, dtype=torch.float32) for _ in range(2))).logits
    value = d.sample()
    assert ((value.sigmoid() < 1e-37) | (value.sigmoid() > 1 - 1e-7)).double().mean() > 0.5
    minus = -d.log_prob(value).double()
    assert abs(minus.mean() - d.entropy()[0]) < 6 * minus.std() / len(minus) ** 0.5


def test_gradient_of_log_prob_through_a_draw():
    """The pathwise gradient of E[log p - log p'] through the fraction equals that through its logit."""
    a, b = torch.tensor(1.4, requires_grad=True), torch.tensor(2.2, requires_grad=True)
    p, q = Kumaraswamy(a, b), Kumaraswamy(1.0, 5.0)
    gradients = []
    for first, second in ((p, q), (p.logits, q.logits)):
        torch.manual_seed(1)
        value = first.rsample((1000,))
        gradients.append(torch.autograd.grad((first.log_prob(value) - second.log_prob(value)).mean(), (a, b)))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_density_is_that_of_the_number_given(dtype):
    d = Kumaraswamy(*torch.full((2, 1000), 0.05, dtype=dtype))
    value = d.sample()
    assert torch.equal(d.log_prob(value), d.log_prob(value.clone()))


def test_mode():
    a = torch.tensor([3.0, 1.0, 2.0, 0.5, 2.0, 0.5, 1.0, 0.5, 1.0])
    b = torch.tensor([5.0, 4.0, 1.0, 3.0, 0.5, 0.5, 1.0, 1.0, 0.5])
    expected = torch.tensor([(2 / 14) ** (1 / 3), 0.0, 1.0, 0.0, 1.0, torch.nan, torch.nan, 0.0, 1.0])
    torch.testing.assert_close(Kumaraswamy(a, b).mode, expected, equal_nan=True)
    grid = torch.linspace(0.001, 0.999, 999)
    assert (grid[Kumaraswamy(3.0, 5.0).log_prob(grid).argmax()] - expected[0]).abs() < 1e-3


def test_extreme_parameters_stay_finite_in_float32():
    for value in (1e-4, 1e5):
        for other in (1e-4, 1e5):
            a = torch.tensor(value, dtype=torch.float32, requires_grad=True)
            b = torch.tensor(other, dtype=torch.float32, requires_grad=True)
            d = Kumaraswamy(a, b)
            draw = d.rsample((2000,))
            results = [draw, d.log_prob(draw), d.mean, d.variance, d.entropy()]
            for result in results:
                assert result.isfinite().all()
                for gradient in torch.autograd.grad(result.sum(), (a, b), retain_graph=True, allow_unused=True):
                    assert gradient.isfinite()
