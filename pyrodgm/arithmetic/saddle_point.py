"""The parts of a saddle-point expansion, by which probabilities of counts come out to rounding at every size."""

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
NEAR = 0.1  # below it a series, whose sixth term is beneath rounding
LARGE = 10.0
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)


def log1p_minus(t: Tensor) -> Tensor:
    """log(1 + t) - t for t > -1, with full relative precision near zero, where it is about -t^2 / 2.

    >>> log1p_minus(torch.tensor(1e-5)).item()
    -4.99996...e-11
    """
    near = t.detach().abs() < NEAR
    # Each branch gets an input that is safe for it: the branch not taken sends a gradient too.
    small, large = torch.where(near, t, 0.0), torch.where(near, 1.0, t)
    r = small / (2.0 + small)
    square, series = r.square(), torch.full_like(r, 1 / 13)
    for k in (11, 9, 7, 5, 3):
        series = series * square + 1 / k
    return torch.where(near, 2.0 * r * square * series - r * small, torch.log1p(large) - large)


def stirling_error(a: Tensor) -> Tensor:
    r"""What Stirling's formula lacks of log Gamma(a), for a > 0.

    .. math:: \log \Gamma(a) - (a - \tfrac12) \log a + a - \tfrac12 \log 2 \pi

    >>> stirling_error(torch.tensor([1.0, 1e8])).tolist()
    [0.0810614..., 8.3333...e-10]
    """
    far = a.detach() > LARGE
    small, inverse = torch.where(far, 1.0, a), torch.where(far, a, LARGE).reciprocal()
    square, series = inverse.square(), torch.full_like(inverse, STIRLING[-1])
    for term in STIRLING[-2::-1]:
        series = series * square + term
    direct = torch.lgamma(small) - (small - 0.5) * small.log() + small - 0.5 * LOG_2PI
    return torch.where(far, series * inverse, direct)
