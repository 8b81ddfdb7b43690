"""The pass of NADE block by block against that over all pixels at once."""

import pytest
import torch
from torch.func import grad, hessian, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.infer import ELBO, TrainStep, fit_many
from pyrodgm.models import NADE, StickBreakingNADE
from pyrodgm.nn import nade_blocks
from pyrodgm.nn.nade_blocks import nade_pass
from pyrodgm.nn.nade_plain import plain_pass

N, D, H = 3, 7, 4


@pytest.fixture(autouse=True)
def _many_blocks(monkeypatch):
    """Blocks of three pixels, the last one of one."""
    monkeypatch.setattr(nade_blocks, "NUMBERS", 3 * N * H)


def arguments(max_steps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(max_steps)
    refined = max_steps > 1
    shapes = [(N, D), (D, H), (H,), (D, H), (H, H), (H,), (2, H), (2,)]
    shapes[4:] = shapes[4:] if refined else [(0, 0), (0,), (0, 0), (0,)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def weighed(function, tensors, max_steps):
    """A number that depends on every output, each in its own way."""
    logits, raw = function(*tensors, max_steps)
    return (logits.sin() * torch.arange(logits.numel()).view_as(logits)).mean() + raw.square().sum()


@pytest.mark.parametrize("max_steps", [1, 2, 3, 4])
def test_values_and_gradients_are_those_of_the_plain_pass(max_steps):
    tensors = arguments(max_steps)
    for ours, plain in zip(nade_pass(*tensors, max_steps), plain_pass(*tensors, max_steps), strict=True):
        torch.testing.assert_close(ours, plain)
    with torch.no_grad():
        torch.testing.assert_close(nade_pass(*tensors, max_steps)[0], plain_pass(*tensors, max_steps)[0])
    found = torch.autograd.grad(weighed(nade_pass, tensors, max_steps), tensors)
    expected = torch.autograd.grad(weighed(plain_pass, tensors, max_steps), tensors, allow_unused=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)


@pytest.mark.parametrize("used", [0, 1])
def test_either_output_alone_has_its_gradients(used):
    tensors = arguments(3)
    found, expected = (
        torch.autograd.grad(function(*tensors, 3)[used].square().sum(), tensors, allow_unused=True)
        for function in (nade_pass, plain_pass)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other)


def test_single_precision_is_as_accurate_as_that_of_the_plain_pass():
    single, double = arguments(2, torch.float32), arguments(2, torch.float32)
    double = [x.detach().double().requires_grad_() for x in double]
    exact = torch.autograd.grad(weighed(plain_pass, double, 2), double)
    for one, other in zip(torch.autograd.grad(weighed(nade_pass, single, 2), single), exact, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one.double(), other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("max_steps", [1, 2])
def test_derivatives_of_gradients(max_steps):
    tensors = arguments(max_steps)
    used = tensors[: 8 if max_steps > 1 else 4]
    twice = []
    for function in (nade_pass, plain_pass):
        first = torch.autograd.grad(weighed(function, tensors, max_steps), used, create_graph=True)
        twice.append(torch.autograd.grad(sum(x.sin().sum() for x in first), used))
    for one, other in zip(*twice, strict=True):
        torch.testing.assert_close(one, other)


def test_transforms_of_functions():
    x, *others = (tensor.detach() for tensor in arguments(2))

    def ours(columns):
        return weighed(nade_pass, [x, columns, *others[1:]], 2)

    def plain(columns):
        return weighed(plain_pass, [x, columns, *others[1:]], 2)

    columns = others[0]
    for of in (
        grad,
        hessian,
        lambda f: lambda c: jvp(f, (c,), (c,))[1],
        lambda f: lambda c: vmap(f)(c.expand(2, D, H)),
    ):
        torch.testing.assert_close(of(ours)(columns), of(plain)(columns))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(columns, columns)
        tangent = torch.autograd.forward_ad.unpack_dual(ours(dual)).tangent
    torch.testing.assert_close(tangent, jvp(plain, (columns,), (columns,))[1])


def test_a_graph_holds_one_node_each_way():
    tensors = arguments(2)

    def function(*tensors):
        return torch.autograd.grad(weighed(nade_pass, tensors, 2), tensors)

    graph = make_fx(function)(*tensors)
    names = [str(node.target) for node in graph.graph.nodes if "nade" in str(node.target)]
    assert names == ["pyrodgm.nade.default", "pyrodgm.nade_backward.default"]
    for one, other in zip(graph(*tensors), function(*tensors), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("max_steps", [1, 2])
def test_operations_are_sound(max_steps):
    """Shapes without values, schemas and autograd registration, as PyTorch checks them."""
    tensors = arguments(max_steps)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(nade_blocks._pass, (*tensors, max_steps, True), test_utils=checks)
    *_, starts, refined = (x.detach() for x in nade_blocks._pass(*tensors, max_steps, True))
    x, columns, _, rows, refine, _, head, head_bias = (tensor.detach() for tensor in tensors)
    grads = torch.ones(max_steps, D, N), torch.ones(max_steps - 1, D, N, len(head_bias))
    inputs = (*grads, x, columns, rows, refine, head, starts, refined, True)
    torch.library.opcheck(nade_blocks._pass_backward, inputs, test_utils=checks)


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: NADE(D, H), lambda: StickBreakingNADE(D, H, max_steps=2)], ids=["nade", "sb"])
def test_models_trained_together_are_those_trained_alone(make):
    x = torch.rand(12, D).round()
    together = fit_many(lambda run: make(), [{"seed": 0}, {"seed": 1}], x, epochs=2, batch_size=N)
    (alone,) = fit_many(lambda run: make(), [{"seed": 1}], x, epochs=2, batch_size=N)
    for one, other in zip(together[1].pair.parameters(), alone.pair.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_takes_blocks(monkeypatch):
    """The traced step runs the operation, not the plain pass."""
    pair = NADE(D, H)
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1), compile="traced")
    monkeypatch.setattr(nade_blocks, "plain_pass", None)
    assert torch.isfinite(step(torch.rand(N, D).round()))
    assert step.mode == "traced"
