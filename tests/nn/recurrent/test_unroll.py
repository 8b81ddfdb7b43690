"""The recurrence in one operation against torch's own cells run in a loop under autograd."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from pyrodgm.arithmetic import stick_weights
from pyrodgm.distributions import Kumaraswamy, fractions_to_weights
from pyrodgm.nn.recurrent import AdaptiveComputationTime, RecurrentNetwork, StickBreakingRNN
from pyrodgm.nn.recurrent.cells import CELLS
from pyrodgm.nn.recurrent.unroll import unroll
from pyrodgm.nn.recurrent.weights import log_fractions

F, H, M, T, B = 5, 4, 4, 3, 2


def torch_cell(network):
    """torch's cell with the network's weights; the flag of the first step is one more input."""
    kind = nn.LSTMCell if network.cell == "lstm" else nn.GRUCell
    cell = kind(F + (network.max_steps > 1), H)
    columns = [network.input_weight]
    if network.max_steps > 1:
        columns.append(network.flag.unsqueeze(-1))
    hidden_bias = torch.zeros_like(cell.bias_hh)
    if network.cell == "gru":
        hidden_bias = torch.cat([hidden_bias[: 2 * H], network.candidate_bias])
    parameters = {
        "weight_ih": torch.cat(columns, -1),
        "weight_hh": network.hidden_weight,
        "bias_ih": network.bias,
        "bias_hh": hidden_bias,
    }

    def step(x, state):
        old = state if network.cell == "gru" else state.chunk(2, -1)
        new = functional_call(cell, parameters, (x, old))
        return new if network.cell == "gru" else torch.cat(new, -1)

    return step


def reference(network, x, state, weigh):
    """Hidden states and last state by a plain loop; ``weigh`` maps what is emitted, [B, M - 1, heads], to weights."""
    step, hidden = torch_cell(network), []
    for t in range(x.shape[1]):
        inner = []
        for n in range(network.max_steps):
            flag = x.new_full((len(x), 1), float(n == 0))
            inputs = torch.cat([x[:, t], flag], -1) if network.max_steps > 1 else x[:, t]
            inner.append(step(inputs, inner[-1] if inner else state))
        if network.max_steps > 1:
            states = torch.stack(inner, 1)
            raw = states[:, :-1, :H] @ network.head_weight.t() + network.head_bias
            state = (weigh(raw, t).unsqueeze(-1) * states).sum(1)
        else:
            state = inner[0]
        hidden.append(state[:, :H])
    return torch.stack(hidden, 1), state


def act_weights(raw, t):
    """Graves's equations row by row."""
    rows = []
    for halt in raw.squeeze(-1).sigmoid():
        weights, total = [], torch.zeros(())
        for n in range(M):
            if n == M - 1 or (total + halt[n]).item() >= 0.99:
                weights.append(1.0 - total)
                break
            weights.append(halt[n])
            total = total + halt[n]
        rows.append(torch.stack(weights + [torch.zeros(())] * (M - len(weights))))
    return torch.stack(rows)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", ["plain", "sticks", "halting", "given"])
def test_values_and_gradients_are_those_of_a_loop_over_torch_cells(cell, kind, monkeypatch):
    monkeypatch.setattr("pyrodgm.nn.recurrent.unroll.ROWS", M * B + 1)  # a block of two time steps and one of one
    torch.manual_seed(3)
    network = {
        "plain": lambda: RecurrentNetwork(F, H, cell),
        "halting": lambda: AdaptiveComputationTime(F, H, cell, max_steps=M, halting_bias=-0.5),
    }.get(kind, lambda: StickBreakingRNN(F, H, cell, max_steps=M))()
    for p in network.parameters():
        nn.init.normal_(p, std=0.7)
    x, state = torch.randn(B, T, F, requires_grad=True), torch.randn(B, network.state_size, requires_grad=True)
    given = torch.rand(B, T, M).softmax(-1).requires_grad_()
    noise = network.draw_noise(x) if kind == "sticks" else None

    def sticks(raw, t):
        q = Kumaraswamy(*(nn.functional.softplus(raw) + 0.01).unbind(-1))
        return fractions_to_weights(q.icdf(-torch.expm1(-noise[:, t])))

    out = {
        "plain": lambda: network(x, state),
        "sticks": lambda: network(x, state, noise),
        "halting": lambda: network(x, state),
        "given": lambda: network.forward_given(x, given, state),
    }[kind]()
    weigh = {"sticks": sticks, "halting": act_weights, "given": lambda raw, t: given[:, t], "plain": None}[kind]
    hidden, last = reference(network, x, state, weigh)
    assert torch.allclose(out.hidden, hidden, rtol=1e-10)
    assert torch.allclose(out.state, last, rtol=1e-10)
    leaves = [x, state, *network.parameters(), *([given] if kind == "given" else [])]
    r1, r2 = torch.randn_like(hidden), torch.randn_like(last)
    ours = torch.autograd.grad((out.hidden * r1).sum() + (out.state * r2).sum(), leaves, allow_unused=True)
    theirs = torch.autograd.grad((hidden * r1).sum() + (last * r2).sum(), leaves, allow_unused=True)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, torch.zeros_like(a) if b is None else b, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("rule", ["sticks", "halting", "given"])
def test_derivative_of_everything_that_is_returned(cell, rule):
    kind, heads = CELLS[cell], 1 if rule == "halting" else 2

    def random(*shape):
        return torch.randn(*shape).requires_grad_()

    given = {
        "sticks": torch.empty(T, M - 1, B).exponential_(),
        "halting": torch.full((T, 1, 1), 0.01),
        "given": torch.rand(T, M, B).softmax(1).requires_grad_(),
    }[rule]
    inputs = [
        random(T, B, kind.input_gates * H),
        random(kind.input_gates * H),
        random(kind.hidden_gates * H, H),
        random(H if cell == "gru" else 0),
        random(kind.parts, B, H),
        random(heads, H),
        random(heads),
        given,
    ]
    assert torch.autograd.gradcheck(lambda *args: unroll(*args, cell, rule, M)[:3], inputs, fast_mode=True)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_plain_networks_are_torch_networks(cell):
    network = RecurrentNetwork(F, H, cell)
    theirs = (nn.LSTM if cell == "lstm" else nn.GRU)(F, H, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(network.input_weight)
        theirs.weight_hh_l0.copy_(network.hidden_weight)
        theirs.bias_ih_l0.copy_(network.bias)
        theirs.bias_hh_l0.zero_()
    x = torch.randn(B, 20, F)
    out = network(x)
    assert torch.allclose(out.hidden, theirs(x)[0])
    assert (out.weights == 1.0).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_an_empty_batch_has_gradients_of_zero(cell):
    network = RecurrentNetwork(F, H, cell)
    network(torch.randn(0, 5, F)).hidden.sum().backward()
    assert all((parameter.grad == 0.0).all() for parameter in network.parameters())


def test_weights_sum_to_one_and_do_not_depend_on_the_way_they_are_computed():
    network = StickBreakingRNN(F, H, max_steps=6).float()
    nn.init.normal_(network.head_weight, std=20.0)  # concentrations from 0.01 to 40
    x = torch.randn(50, 20, F, dtype=torch.float32)
    noise = network.draw_noise(x)
    out = network(x, None, noise)
    assert torch.allclose(out.weights.sum(-1), torch.ones(50, 20), rtol=1e-12)
    log_v, log1m_v = log_fractions(out.raw, noise)
    assert torch.allclose(stick_weights(log_v - log1m_v), out.weights, rtol=1e-6, atol=1e-12)


def test_it_is_one_node_of_a_traced_graph_and_runs_on_the_meta_device():
    from torch.fx.experimental.proxy_tensor import make_fx

    network = StickBreakingRNN(F, H, max_steps=M)

    def loss(x, noise):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(network(x, None, noise).hidden.square().sum(), x)[0]

    x = torch.randn(B, T, F)
    noise = network.draw_noise(x)
    graph = make_fx(loss)(x, noise)
    names = [str(node.target) for node in graph.graph.nodes]
    assert sum("pyrodgm.unroll" in name for name in names) == 2
    assert torch.equal(graph(x, noise), loss(x, noise))
    meta = network.to("meta")
    out = meta(torch.empty(B, T, F, device="meta"))
    assert (out.hidden.shape, out.weights.shape, out.hidden.device.type) == ((B, T, H), (B, T, M), "meta")
