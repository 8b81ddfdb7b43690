import mpmath as mp
import pytest
import torch

from pyrodgm.arithmetic import log1p_minus, stirling_error


def expected(function, values):
    return torch.tensor([float(function(mp.mpf(v))) for v in values.tolist()])


@pytest.mark.parametrize(
    ("function", "oracle", "values"),
    [
        (
            log1p_minus,
            lambda t: mp.log1p(t) - t,
            torch.tensor([-0.999, -0.5, -0.1001, -0.0999, -1e-3, -1e-9, 1e-12, 0.05, 0.0999, 0.1001, 3.0, 1e8]),
        ),
        (
            stirling_error,
            lambda a: mp.loggamma(a) - (a - mp.mpf(1) / 2) * mp.log(a) + a - mp.log(2 * mp.pi) / 2,
            torch.tensor([1e-8, 0.01, 0.7, 1.0, 2.0, 9.99, 10.01, 50.0, 1e5, 1e12]),
        ),
    ],
)
def test_values_and_slopes_to_rounding(function, oracle, values):
    """Also just left and right of where series take over, and with no slope from the branch not taken."""
    values = values.double().requires_grad_()
    got = function(values)
    torch.testing.assert_close(got, expected(oracle, values), rtol=2e-13, atol=3e-15)
    (slopes,) = torch.autograd.grad(got.sum(), values)
    exact = expected(lambda v: mp.diff(oracle, v, h=v * mp.mpf(10) ** -12), values)
    torch.testing.assert_close(slopes, exact, rtol=1e-10, atol=1e-14)
