"""Draws of bits, whose random numbers share words and lower digits."""

import math

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.boltzmann import Bits, Gaussian, Potts
from pyrodgm.boltzmann.layers import Layers
from pyrodgm.boltzmann.units import draw_bits


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("digits", [1, 2, 5, 8, 13, 16, 18])
def test_probabilities_of_every_number_of_digits_come_true(digits, dtype):
    torch.manual_seed(digits)
    count, p = 2**21, 2.0**-digits
    logit = math.log(p) - math.log1p(-p)
    bound = 5.0 * math.sqrt(count * p)
    assert abs(draw_bits(torch.full((count,), logit, dtype=dtype)).double().sum().item() - count * p) < bound
    off = 1.0 - draw_bits(torch.full((count,), -logit, dtype=dtype)).double()
    assert abs(off.sum().item() - count * p) < bound


@pytest.mark.parametrize("dim", [0, 1])
def test_units_and_chains_are_independent(dim):
    torch.manual_seed(dim)
    p = torch.linspace(0.1, 0.9, 12)
    logits = p.logit().expand(40000, 12)
    bits = draw_bits(logits.clone() if dim else logits.t().clone(), dim)
    centred = (bits if dim else bits.t()) - p
    z = centred / (p * (1.0 - p)).sqrt()
    assert (z.mT @ z / len(z) ** 0.5).triu(1).abs().max() < 4.5  # between units
    for lag in range(1, 6):
        assert (z[lag:] * z[:-lag]).mean(0).abs().max() < 4.5 / len(z) ** 0.5  # between chains


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_shape_and_dtype_is_drawn_in_place(dtype):
    for shape in ((7,), (0, 3), (3, 1, 5), (1, 1)):
        logits = torch.randn(shape).to(dtype)
        bits = draw_bits(logits)
        assert bits is logits
        assert bits.dtype == dtype
        assert ((bits == 0) | (bits == 1)).all()
    certain = draw_bits(torch.tensor([-200.0, 200.0], dtype=dtype).expand(2000, 2).clone())
    assert torch.equal(certain, torch.tensor([0.0, 1.0], dtype=dtype).expand(2000, 2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [Potts(3), Gaussian()])
def test_draws_of_two_kinds_side_by_side_keep_their_dtype(kind, dtype):
    units = Layers((Bits(), kind), (4, 6))
    drawn = units.draw(torch.zeros(5, 10, dtype=dtype))
    assert drawn.dtype == dtype
    assert ((drawn[:, :4] == 0) | (drawn[:, :4] == 1)).all()
    if kind.discrete:
        assert (drawn[:, 4:].unflatten(-1, (2, 3)).sum(-1) == 1).all()


def test_traced_draws_are_those_of_the_same_seed():
    logits = torch.randn(6, 5)
    graph = make_fx(lambda x: draw_bits(x.clone()))(logits)
    torch.manual_seed(3)
    expected = draw_bits(logits.clone())
    torch.manual_seed(3)
    assert torch.equal(graph(logits), expected)
