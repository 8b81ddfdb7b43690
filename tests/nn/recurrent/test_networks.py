"""What all recurrent networks promise, early stopping, and the batch-normalised LSTM."""

import re

import pytest
import torch
from torch import nn

from pyrodgm.distributions import Kumaraswamy
from pyrodgm.nn.recurrent import AdaptiveComputationTime, BatchNormLSTM, RecurrentNetwork, StickBreakingRNN

F, H, T, B = 5, 6, 8, 7
NETWORKS = {
    "lstm": lambda: RecurrentNetwork(F, H),
    "gru": lambda: RecurrentNetwork(F, H, "gru"),
    "batch_norm": lambda: BatchNormLSTM(F, H, max_positions=5),
    "act": lambda: AdaptiveComputationTime(F, H, max_steps=5),
    "act_gru": lambda: AdaptiveComputationTime(F, H, "gru", max_steps=5),
    "sticks": lambda: StickBreakingRNN(F, H, max_steps=5),
    "sticks_gru": lambda: StickBreakingRNN(F, H, "gru", max_steps=5),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    network = NETWORKS[request.param]()
    if network.max_steps > 1:
        nn.init.normal_(network.head_weight, std=2.0)
    return network


def run(network, x, state=None, noise=None):
    return network(x, state, noise) if isinstance(network, StickBreakingRNN) else network(x, state)


def test_windows_one_after_the_other_are_one_sequence(network):
    x = torch.randn(B, T, F)
    noise = network.draw_noise(x) if isinstance(network, StickBreakingRNN) else torch.zeros(B, T, 0)
    network.train()
    run(network, x)  # statistics
    network.eval()
    whole = run(network, x, None, noise)
    first = run(network, x[:, :3], None, noise[:, :3])
    second = run(network, x[:, 3:], first.state, noise[:, 3:])
    assert torch.allclose(torch.cat([first.hidden, second.hidden], 1), whole.hidden)
    assert torch.allclose(second.state, whole.state)


def test_leading_dimensions_are_batch_dimensions(network):
    network.eval()
    x, state = torch.randn(3, B, T, F), torch.rand(3, B, network.state_size)
    if isinstance(network, BatchNormLSTM):
        state[..., -1] = 2.0
    noise = network.draw_noise(x) if isinstance(network, StickBreakingRNN) else torch.zeros(3, B, T, 0)
    out = run(network, x, state, noise)
    for i in range(3):
        alone = run(network, x[i], state[i], noise[i])
        for field in ("hidden", "state", "weights", "raw", "num_steps"):
            assert torch.allclose(getattr(out, field)[i], getattr(alone, field)), field
    single = run(network, x[0, 0], state[0, 0], noise[0, 0])
    assert torch.allclose(single.hidden, out.hidden[0, 0])
    assert single.state.shape == (network.state_size,)


def test_wrong_shapes_are_refused(network):
    with pytest.raises(ValueError, match=re.escape(f"x: expected shape [*, T, {F}], got [2, 3, 4]")):
        network(torch.zeros(2, 3, 4))
    with pytest.raises(ValueError, match=re.escape(f"state: expected shape [2, {network.state_size}], got [2, 1]")):
        network(torch.zeros(2, 3, F), torch.zeros(2, 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RecurrentNetwork(0, 3), "input_size must be at least 1, got 0"),
        (lambda: RecurrentNetwork(3, 3, "rnn"), "cell must be one of lstm, gru, got 'rnn'"),
        (lambda: StickBreakingRNN(3, 3, max_steps=1), "max_steps must be at least 2, got 1"),
        (lambda: StickBreakingRNN(3, 3, start=0.0), "start must be finite and greater than 0, got 0"),
        (lambda: AdaptiveComputationTime(3, 3, max_steps=1), "max_steps must be at least 2, got 1"),
        (
            lambda: AdaptiveComputationTime(3, 3, epsilon=1.0),
            "epsilon must be finite and greater than 0 and less than 1, got 1",
        ),
        (lambda: BatchNormLSTM(3, 3, max_positions=0), "max_positions must be at least 1, got 0"),
        (lambda: BatchNormLSTM(3, 3, momentum=0.0), "momentum must be finite and at most 1 and greater than 0, got 0"),
        (lambda: BatchNormLSTM(3, 3)(torch.zeros(1, 2, 3)), "expected at least two rows"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("start", [0.1, 7.0, 2000.0])
def test_fractions_start_where_they_are_to(start):
    network = StickBreakingRNN(3, 3, start=start)
    assert torch.allclose(torch.nn.functional.softplus(network.head_bias) + 0.01, torch.tensor([1.0, start]))


def test_fractions_start_uniform():
    network = StickBreakingRNN(F, H)
    nn.init.zeros_(network.head_weight)
    q = Kumaraswamy(*network.concentrations(network(torch.randn(B, T, F)).raw))
    assert torch.allclose(q.concentration1, torch.ones(()), atol=1e-6)
    assert torch.allclose(q.concentration0, torch.ones(()), atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_all_steps_with_mean_weights_are_the_run_with_those_weights(cell):
    network = NETWORKS["sticks" if cell == "lstm" else "sticks_gru"]()
    nn.init.normal_(network.head_weight, std=2.0)
    x = torch.randn(B, T, F)
    out = network.evaluate(x, mean=True)
    given = network.forward_given(x, out.weights)
    assert torch.allclose(out.hidden, given.hidden)
    assert torch.allclose(out.state, given.state)
    v = Kumaraswamy(*network.concentrations(given.raw)).mean
    left = torch.cat([torch.ones(B, T, 1), (1.0 - v).cumprod(-1)], -1)
    expected = torch.cat([v, torch.ones(B, T, 1)], -1) * left
    assert torch.allclose(out.weights, expected)
    assert (out.num_steps == 5).all()


def test_drawn_weights_follow_their_distribution_in_evaluation():
    network = NETWORKS["sticks"]()
    nn.init.normal_(network.head_weight, std=2.0)
    x = torch.randn(1, F).expand(20_000, 1, F)
    drawn = network.evaluate(x).weights
    mean = network.evaluate(x[:1], mean=True).weights
    error = drawn.std(0) / 20_000**0.5
    assert ((drawn.mean(0) - mean[0]).abs() < 5 * error + 1e-12).all()


def test_early_stop_saves_steps_and_keeps_the_bound_of_the_error():
    network = NETWORKS["sticks"]()
    nn.init.normal_(network.head_weight, std=3.0)
    x, state = torch.randn(500, 1, F), torch.randn(500, network.state_size)
    full = network.evaluate(x, state, mean=True)
    steps = [float(full.num_steps.double().mean())]
    for tolerance in (0.001, 0.05, 0.3):
        early = network.evaluate(x, state, mean=True, tolerance=tolerance)
        assert torch.allclose(early.weights.sum(-1), torch.ones(500, 1))
        assert ((early.hidden - full.hidden).abs() < 2 * tolerance).all()
        stopped = early.num_steps < 5
        assert torch.allclose(early.hidden[~stopped], full.hidden[~stopped])
        assert ((early.weights > 0).sum(-1) == early.num_steps).all()
        steps.append(float(early.num_steps.double().mean()))
    assert steps == sorted(steps, reverse=True)
    assert len(set(steps)) == 4


@pytest.mark.parametrize("name", ["act", "act_gru"])
def test_adaptive_computation_time_is_the_same_with_and_without_the_steps_after_the_halt(name):
    network = NETWORKS[name]()
    nn.init.normal_(network.head_weight, std=3.0)
    x = torch.randn(B, T, F)
    out, early = network(x), network.evaluate(x)
    assert torch.allclose(out.hidden, early.hidden)
    assert torch.allclose(out.weights, early.weights)
    assert 1 < float(early.num_steps.double().mean()) < 5
    remainder = early.weights.gather(-1, early.num_steps.unsqueeze(-1) - 1).squeeze(-1)
    assert torch.allclose(network.ponder_cost(out), early.num_steps + remainder)


def test_ponder_cost_pushes_every_halting_unit_before_the_last_up():
    network = AdaptiveComputationTime(F, H, max_steps=5, halting_bias=-2.0)
    out = network(torch.randn(B, T, F))
    (slope,) = torch.autograd.grad(network.ponder_cost(out).sum(), out.raw)
    halt = out.raw.sigmoid()
    assert torch.allclose(slope, -halt * (1.0 - halt))  # four units of 0.12 come before the last step
    assert (slope < 0).all()


def test_batch_norm_against_torch():
    network = BatchNormLSTM(F, H, max_positions=2, momentum=0.3)
    nn.init.normal_(network.cell_shift)
    x, state = torch.randn(B, 1, F), torch.cat([torch.randn(B, 2 * H), torch.zeros(B, 1)], -1)
    norms = {
        name: nn.BatchNorm1d(size, momentum=0.3) for name, size in (("input", 4 * H), ("hidden", 4 * H), ("cell", H))
    }
    for name, norm in norms.items():
        nn.init.constant_(norm.weight, 0.1)
        norm.bias.data = network.cell_shift.data if name == "cell" else norm.bias.data

    def expected():
        gates = norms["input"](x[:, 0] @ network.input_weight.t())
        gates = gates + norms["hidden"](state[:, :H] @ network.hidden_weight.t()) + network.bias
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * state[:, H : 2 * H] + i.sigmoid() * g.tanh()
        return o.sigmoid() * norms["cell"](c).tanh(), c

    for _ in range(2):
        out = network(x, state)
        h, c = expected()
        assert torch.allclose(out.hidden[:, 0], h)
        assert torch.allclose(out.state[:, H:-1], c)
    for name, norm in norms.items():
        assert torch.allclose(getattr(network, f"{name}_mean")[0], norm.running_mean)
        # Ours is the biased variance, as published.
        unbiased = 1.0 + (getattr(network, f"{name}_variance")[0] - 0.7**2) * B / (B - 1) - (1.0 - 0.7**2)
        assert torch.allclose(unbiased, norm.running_var)
        assert (getattr(network, f"{name}_mean")[1] == 0).all()
    assert (out.state[:, -1] == 1).all()
    network.eval()
    state[:, -1] = 100.0  # positions beyond the last share its statistics, still untouched
    gates = (x[:, 0] @ network.input_weight.t() + state[:, :H] @ network.hidden_weight.t()) * 0.1 / (1 + 1e-5) ** 0.5
    i, f, g, _ = (gates + network.bias).chunk(4, -1)
    assert torch.allclose(network(x, state).state[:, H:-1], f.sigmoid() * state[:, H:-1] + i.sigmoid() * g.tanh())
