"""Divergences of distributions of many variables under torch.func, and that every registered one is tested so."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence
from torch.distributions.kl import _KL_REGISTRY

from pyrodgm.boltzmann import BipartiteMachine, Potts
from pyrodgm.distributions import (
    GEM,
    BoltzmannMachine,
    FactorizedCategorical,
    GEMLogits,
    Hierarchical,
    Kumaraswamy,
    KumaraswamyLogit,
    SpikeBoltzmann,
    SpikeExponential,
    StickBreaking,
    StickLogits,
)


def sticks(a, b, c):
    q = StickLogits(KumaraswamyLogit(a.exp(), b.exp(), validate_args=False))
    return kl_divergence(q, GEMLogits(c.exp(), 5, validate_args=False))


def weights(a, b, c):
    q = StickBreaking(Kumaraswamy(a.exp(), b.exp(), validate_args=False).to_event(1), validate_args=False)
    return kl_divergence(q, GEM(c.exp(), 5, validate_args=False))


def bits(logits, *machine):
    q = dist.Bernoulli(logits=logits, validate_args=False).to_event(1)
    return kl_divergence(q, BoltzmannMachine(*machine, validate_args=False))


def states(logits, *machine):
    energy = BipartiteMachine(*machine, Potts(2), check=False)
    q = FactorizedCategorical(logits, 2, validate_args=False)
    return kl_divergence(q, BoltzmannMachine(energy, validate_args=False))


def spike(logits, *machine):
    q = SpikeExponential(logits, 3.0, validate_args=False).to_event(1)
    return kl_divergence(q, SpikeBoltzmann(BoltzmannMachine(*machine, validate_args=False), 3.0, validate_args=False))


def grouped(logits, *machine):
    q = Hierarchical(lambda earlier: SpikeExponential(logits, 3.0, validate_args=False).to_event(1), [4])
    return kl_divergence(q, SpikeBoltzmann(BoltzmannMachine(*machine, validate_args=False), 3.0, validate_args=False))


WHOLE = {
    "_kl_stick_logits_stick_logits": (sticks, [(4,), (4,), ()]),
    "_kl_stick_breaking_stick_breaking": (weights, [(4,), (4,), ()]),
    "_kl_bernoulli_boltzmann_machine": (bits, [(4,), (2, 2), (2,), (2,)]),
    "_kl_categorical_boltzmann_machine": (states, [(4,), (2, 2), (2,), (2,)]),
    "_kl_independent_spike_boltzmann": (spike, [(4,), (2, 2), (2,), (2,)]),
    "_kl_hierarchical_spike_boltzmann": (grouped, [(4,), (2, 2), (2,), (2,)]),
}
# By pairs of families in test_transforms.py.
PAIRED = {
    "_kl_logit_beta",
    "_kl_beta_beta",
    "_kl_kumaraswamy_kumaraswamy",
    "_kl_beta_kumaraswamy",
    "_kl_normal_normal",
    "_kl_fractions",
}
ELSEWHERE = {
    "_kl_change_of_variable": "that of the fractions, by its name",
    "_kl_recurrent_sticks_independent": "tests/nn/recurrent/test_loop.py",
}
each = pytest.mark.parametrize("name", WHOLE)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def test_every_registered_divergence_is_enrolled():
    ours = {f.__name__ for f in _KL_REGISTRY.values() if f.__module__.startswith("pyrodgm.")}
    assert ours == WHOLE.keys() | PAIRED | ELSEWHERE.keys()


@each_dtype
@each
def test_transforms(name, dtype):
    of, shapes = WHOLE[name]
    values = tuple(torch.randn(shape, dtype=dtype) for shape in shapes)
    directions = tuple(torch.randn(shape, dtype=dtype) for shape in shapes)
    numbers = tuple(range(len(shapes)))
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-8, "atol": 1e-8}
    slopes = torch.func.grad(of, numbers)(*values)
    primal, tangent = torch.func.jvp(of, values, directions)
    expected = sum((slope * direction).sum() for slope, direction in zip(slopes, directions, strict=True))
    assert primal.dtype == dtype
    torch.testing.assert_close(tangent, expected, **tolerance)
    rows = tuple(torch.randn(3, *shape, dtype=dtype) for shape in shapes)
    each_row = torch.stack([of(*row) for row in zip(*rows, strict=True)])
    torch.testing.assert_close(torch.func.vmap(of, randomness="different")(*rows), each_row, **tolerance)
    shared = (rows[0], *(row[0] for row in rows[1:]))
    dims = (0, *[None] * (len(shapes) - 1))
    both = torch.func.vmap(torch.func.grad(of, numbers), dims, randomness="different")(*shared)
    torch.testing.assert_close(both[0][1], torch.func.grad(of)(rows[0][1], *shared[1:]), **tolerance)
