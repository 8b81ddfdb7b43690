"""The recurrence as a loop against the one operation, and under every transform of torch.func."""

import pytest
import torch

from pyrodgm.distributions import GEMLogits, RecurrentSticks, divergence_given
from pyrodgm.nn.recurrent import StickBreakingRNN
from pyrodgm.nn.recurrent.cells import CELLS
from pyrodgm.nn.recurrent.loop import unroll_by_loop
from pyrodgm.nn.recurrent.unroll import unroll

F, H, M, T, B = 4, 3, 3, 2, 2

each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
each_cell = pytest.mark.parametrize("cell", ["lstm", "gru"])


def tolerance(dtype):
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-10}


@each_cell
@pytest.mark.parametrize("rule", ["sticks", "halting", "given"])
@pytest.mark.parametrize("steps", [1, M])
def test_values_and_gradients_are_those_of_the_operation(cell, rule, steps):
    kind, heads = CELLS[cell], 1 if rule == "halting" else 2
    shapes = [
        (T, B, kind.input_gates * H),
        (kind.input_gates * H,),
        (kind.hidden_gates * H, H),
        (H if cell == "gru" else 0,),
        (kind.parts, B, H),
        (heads, H),
        (heads,),
    ]
    inputs = [torch.randn(shape).requires_grad_() for shape in shapes]
    given = {
        "sticks": torch.empty(T, M - 1, B).exponential_(),
        "halting": torch.full((T, 1, 1), 0.01),
        "given": torch.rand(T, steps, B).softmax(1).requires_grad_(),
    }[rule]
    leaves = [*inputs, given] if given.requires_grad else inputs
    found = []
    for run in (unroll, unroll_by_loop):
        *outputs, weights = run(*inputs, given, cell, rule, steps)
        assert not weights.requires_grad
        loss = sum((torch.linspace(1.0, 2.0, out.numel()).view_as(out) * out).sum() for out in outputs)
        found.append(([*outputs, weights], torch.autograd.grad(loss, leaves, materialize_grads=True)))
    torch.testing.assert_close(found[1], found[0])


@each_dtype
@each_cell
def test_divergence_and_density_of_recurrent_sticks(cell, dtype):
    torch.manual_seed(1)
    network = StickBreakingRNN(F, H, cell, max_steps=M).to(dtype)
    torch.nn.init.normal_(network.head_weight)
    weights = {name: p.detach() for name, p in network.named_parameters()}
    x, value, direction = torch.randn(B, T, F, dtype=dtype), torch.randn(T, M - 1, dtype=dtype), torch.randn(F)
    prior = GEMLogits(torch.tensor(2.0, dtype=dtype), M, validate_args=False).expand((T,)).to_event(1)

    def terms(weights, x, value):
        return torch.func.functional_call(Terms(network, prior), named(weights), (x, value))

    def named(weights):
        return {f"network.{name}": w for name, w in weights.items()}

    leaves = {name: w.clone().requires_grad_() for name, w in weights.items()}
    expected = torch.autograd.grad(terms(leaves, x[0], value), list(leaves.values()))
    slopes = torch.func.grad(terms)(weights, x[0], value)
    torch.testing.assert_close([slopes[name] for name in weights], list(expected), **tolerance(dtype))
    primal, tangent = torch.func.jvp(lambda x: terms(weights, x, value), (x[0],), (direction.to(dtype).expand(T, F),))
    by_x = torch.func.grad(terms, 1)(weights, x[0], value)
    torch.testing.assert_close(primal, terms(weights, x[0], value), **tolerance(dtype))
    torch.testing.assert_close(tangent, (by_x * direction.to(dtype)).sum(), **tolerance(dtype))
    each = torch.func.vmap(torch.func.grad(terms, 1), (None, 0, None))(weights, x, value)
    torch.testing.assert_close(each[0], by_x, **tolerance(dtype))
    many = {name: torch.stack([w, 2.0 * w]) for name, w in weights.items()}
    of_both = torch.func.vmap(terms, (0, None, None))(many, x[0], value)
    torch.testing.assert_close(of_both[0], primal, **tolerance(dtype))


class Terms(torch.nn.Module):
    """Divergence given a value plus the density there."""

    def __init__(self, network, prior):
        super().__init__()
        self.network, self.prior = network, prior

    def forward(self, x, value):
        q = RecurrentSticks(self.network, x, validate_args=False)
        return divergence_given(q, self.prior, value) + q.log_prob(value)


@each_dtype
def test_draws_of_recurrent_sticks(dtype):
    network = StickBreakingRNN(F, H, max_steps=M).to(dtype)
    x = torch.randn(B, T, F, dtype=dtype)

    def mean(x):
        torch.manual_seed(3)
        return RecurrentSticks(network, x, validate_args=False).rsample().mean()

    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(mean(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(mean)(x), expected, **tolerance(dtype))
    _, tangent = torch.func.jvp(mean, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, expected.sum(), **tolerance(dtype))
    draws = torch.func.vmap(lambda x: RecurrentSticks(network, x).rsample(), randomness="different")(x)
    assert draws.shape == (B, T, M - 1)
    assert not torch.equal(draws[0], draws[1])
