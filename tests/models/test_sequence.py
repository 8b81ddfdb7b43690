"""Sequence models: the bound against quadrature, one recurrence for model and guide, training by every estimator."""

import copy
import math
import re

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.infer.importance import vectorized_importance_weights
from torch import nn

from pyrodgm.distributions import Kumaraswamy, divergence_given
from pyrodgm.infer import ELBO, IWELBO, TrainStep, log_likelihood, posterior_means, posterior_samples
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import SequenceModel
from pyrodgm.nn import stick_weights
from pyrodgm.nn.recurrent import AdaptiveComputationTime, BatchNormLSTM, RecurrentNetwork, StickBreakingRNN

K, F, H, M, T, B = 6, 4, 5, 3, 4, 3

NETWORKS = {
    "lstm": lambda: RecurrentNetwork(F, H),
    "gru": lambda: RecurrentNetwork(F, H, "gru"),
    "batch_norm": lambda: BatchNormLSTM(F, H, max_positions=3),
    "act": lambda: AdaptiveComputationTime(F, H, max_steps=M, halting_bias=-1.0),
    "sticks": lambda: StickBreakingRNN(F, H, max_steps=M),
    "sticks_gru": lambda: StickBreakingRNN(F, H, "gru", max_steps=M),
}


def make(name, **kwargs):
    network = NETWORKS[name]()
    if network.max_steps > 1:
        nn.init.normal_(network.head_weight)
    return SequenceModel.of_symbols(network, K, **kwargs)


@pytest.fixture(params=NETWORKS)
def pair(request):
    return make(request.param)


@pytest.fixture
def x():
    return torch.randint(0, K, (B, T))


@pytest.fixture
def y():
    return torch.randint(0, K, (B, T))


def traces(pair, x, y):
    guide = poutine.trace(pair.guide).get_trace(x, y)
    model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x, y)
    for trace in (guide, model):
        trace.compute_log_prob()
    return guide, model


def test_sites(pair, x, y):
    guide, model = traces(pair, x, y)
    random = isinstance(pair.network, StickBreakingRNN)
    assert [n for n, s in guide.nodes.items() if s["type"] == "sample"] == (["data", "sticks"] if random else [])
    for name in ("sticks", "y") if random else ("y",):
        assert model.nodes[name]["log_prob"].shape == (B,)
        assert [(f.name, f.dim) for f in model.nodes[name]["cond_indep_stack"]] == [("data", -1)]
    if random:
        assert torch.allclose(model.nodes["pi"]["value"], stick_weights(guide.nodes["sticks"]["value"]))
        assert guide.nodes["sticks"]["value"].shape == (B, T, M - 1)
        assert model.nodes["sticks"]["fn"].support.check(guide.nodes["sticks"]["value"]).all()
    drawn = poutine.trace(poutine.uncondition(pair.model)).get_trace(x, y).nodes["y"]["value"]
    assert drawn.shape == (B, T)
    assert (drawn >= 0).all()
    assert (drawn < K).all()


def test_reports_hold_the_weights_of_the_steps(x, y):
    pair = make("sticks").eval()
    torch.manual_seed(1)
    drawn = posterior_samples(pair, x)
    torch.manual_seed(1)
    sticks = poutine.trace(pair.guide).get_trace(x).nodes["sticks"]
    assert drawn.keys() == {"pi"}
    assert torch.equal(drawn["pi"], stick_weights(sticks["value"]))
    with torch.no_grad():
        many = stick_weights(sticks["fn"].sample((3000,)))
    error = many.std(0) * (1 / 3000 + 1 / (16 * 10)) ** 0.5
    assert ((posterior_means(pair, x)["pi"] - many.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("name", ["sticks", "sticks_gru"])
def test_the_run_that_a_draw_carries_is_the_run_with_that_draw(name, x, y, monkeypatch):
    pair = make(name)
    calls = []
    run = StickBreakingRNN.forward_given
    monkeypatch.setattr(StickBreakingRNN, "forward_given", lambda *args: calls.append(1) or run(*args))
    guide, model = traces(pair, x, y)
    assert not calls  # one recurrence serves both
    guide.nodes["sticks"]["value"] = guide.nodes["sticks"]["value"].clone()
    again = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x, y)
    again.compute_log_prob()
    assert len(calls) == 1
    assert torch.allclose(again.nodes["y"]["log_prob"], model.nodes["y"]["log_prob"])
    fresh = guide.nodes["sticks"]["fn"].log_prob(guide.nodes["sticks"]["value"])
    assert torch.allclose(fresh, guide.nodes["sticks"]["log_prob"], rtol=1e-6)


def test_a_run_is_not_used_once_what_it_came_from_has_changed(x, y):
    pair = make("sticks")
    guide, model = traces(pair, x, y)
    with torch.no_grad():
        pair.network.hidden_weight.mul_(2.0)
    stale = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x, y)
    guide.nodes["sticks"]["value"] = guide.nodes["sticks"]["value"].clone()
    right = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x, y)
    for trace in (stale, right):
        trace.compute_log_prob()
    assert torch.allclose(stale.nodes["y"]["log_prob"], right.nodes["y"]["log_prob"])
    assert not torch.allclose(stale.nodes["y"]["log_prob"], model.nodes["y"]["log_prob"])
    other = poutine.trace(poutine.replay(pair.model, trace=traces(pair, x, y)[0])).get_trace(1 - x.clamp(max=1), y)
    other.compute_log_prob()


@pytest.mark.slow
def test_divergence_is_that_of_the_densities(x, y):
    """The exact divergence, averaged over draws, against the mean of log q - log p."""
    pair = make("sticks", concentration=2.5)
    many = x[:1].expand(5000, T)
    with torch.no_grad():
        guide, model = traces(pair, many, y[:1].expand(5000, T))
    sampled = guide.nodes["sticks"]["log_prob"] - model.nodes["sticks"]["log_prob"]
    q, p, value = guide.nodes["sticks"]["fn"], model.nodes["sticks"]["fn"], guide.nodes["sticks"]["value"]
    exact = divergence_given(q, p, value).detach()
    q.sample()
    torch.testing.assert_close(divergence_given(q, p, value.clone()).detach(), exact, rtol=1e-6, atol=1e-9)
    # Both have the same mean under the same draws: their difference varies less than either.
    error = (sampled - exact).std() / 5000**0.5
    assert exact.mean() == pytest.approx(sampled.mean().item(), abs=5 * error.item())
    assert exact.std() < 0.5 * sampled.std()
    assert exact.mean() > 0.1
    assert ELBO().describe(pair.model, pair.guide, x, y) == {"sticks": "exact"}


@pytest.mark.slow
def test_bound_and_importance_sampling_against_quadrature():
    """One time step and two inner steps: log p(y | x) is an integral over one fraction."""
    network = StickBreakingRNN(F, H, max_steps=2)
    for p in network.parameters():
        nn.init.normal_(p)
    pair = SequenceModel.of_symbols(network, K, concentration=3.0)
    nn.init.normal_(pair.likelihood.net.weight, std=3.0)
    x, y = torch.tensor([[2]]), torch.tensor([[4]])
    nodes, weight = (torch.from_numpy(part) / 2 for part in np.polynomial.legendre.leggauss(400))
    u = (nodes + 0.5).unsqueeze(-1)

    def log_likelihood(v):
        out = network.forward_given(pair.encoder(x).expand(400, 1, F), torch.stack([v, 1 - v], -1))
        return pair.likelihood(out.hidden).log_prob(y.expand(400, 1)).squeeze(-1)

    with torch.no_grad():
        log_p = (weight * log_likelihood(1 - (1 - u) ** (1 / 3)).exp()).sum().log()  # over draws of Beta(1, 3)
        q = Kumaraswamy(*network.concentrations(network(pair.encoder(x)).raw.view(2)))
        v = q.icdf(u)
        log_ratio = (q.log_prob(v) - torch.log(3.0 * (1 - v) ** 2)).squeeze(-1)
        bound = (weight * (log_likelihood(v) - log_ratio)).sum()
        torch.manual_seed(0)
        log_w, _, _ = vectorized_importance_weights(
            pair.model, pair.guide, x, y, num_samples=100_000, max_plate_nesting=1, normalized=False
        )
        log_w = log_w.flatten()
        estimate = log_w.logsumexp(0) - math.log(len(log_w))
        error = (log_w - estimate).exp().std() / len(log_w) ** 0.5
        assert estimate.item() == pytest.approx(log_p.item(), abs=5 * error.item())
        loss = ELBO(num_particles=20_000, vectorize_particles=True).differentiable_loss(pair.model, pair.guide, x, y)
        assert -loss.item() == pytest.approx(bound.item(), abs=0.02)
        assert bound < log_p
        # The prediction is the mean of the likelihood under q.
        mean = (weight * log_likelihood(v).exp()).sum().log()
        many = pair.predict(x, y, num_samples=20_000)
        assert many.log_prob.item() == pytest.approx(mean.item(), abs=0.02)
        assert many.divergence.item() == pytest.approx((weight * log_ratio).sum().item(), abs=1e-3)


@pytest.mark.parametrize(
    "objective",
    [
        Trace_ELBO(),
        Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        TraceMeanField_ELBO(num_particles=2),
        RenyiELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1),
        ELBO(),
        IWELBO(3, max_plate_nesting=1),
        IWELBO(3, gradient="stl", max_plate_nesting=1),
        IWELBO(3, gradient="dreg", max_plate_nesting=1),
    ],
    ids=lambda o: (
        f"{type(o).__module__.split('.')[0]}-{type(o).__name__}-{o.num_particles}-{getattr(o, 'gradient', '')}"
    ),
)
@pytest.mark.parametrize("name", ["sticks", "sticks_gru"])
def test_every_estimator_trains_it_through_plain_svi(name, x, y, objective):
    pair = make(name)
    before = copy.deepcopy(pair.state_dict())
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), loss=copy.deepcopy(objective))
    assert abs(svi.step(x, y)) < 1e4
    assert {n for n, p in pair.named_parameters() if torch.equal(before[n], p)} == set()


@pytest.mark.parametrize("name", ["lstm", "gru", "batch_norm", "act"])
def test_networks_without_randomness_are_trained_by_plain_svi(name, x, y):
    pair = make(name)
    before = copy.deepcopy(pair.state_dict())
    SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), loss=TraceMeanField_ELBO()).step(x, y)
    assert {n for n, p in pair.named_parameters() if torch.equal(before[n], p)} == set()


def test_particles_agree_with_single_samples(x, y):
    pair = make("sticks")
    guide = poutine.trace(pyro.plate("particles", 4, dim=-2)(pair.guide)).get_trace(x, y)
    model = poutine.trace(poutine.replay(pyro.plate("particles", 4, dim=-2)(pair.model), trace=guide)).get_trace(x, y)
    for trace in (guide, model):
        trace.compute_log_prob()
    for i in range(4):
        alone, _ = traces(pair, x, y)
        alone.nodes["sticks"]["value"] = guide.nodes["sticks"]["value"][i].clone()
        single = poutine.trace(poutine.replay(pair.model, trace=alone)).get_trace(x, y)
        single.compute_log_prob()
        for name in ("sticks", "y"):
            assert torch.allclose(model.nodes[name]["log_prob"][i], single.nodes[name]["log_prob"], rtol=1e-6)


def losses(pair, mode, length=T):
    torch.manual_seed(0)
    pair = copy.deepcopy(pair)
    pair.train()
    pair.carry(B)
    step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=1e-2), 5.0, compile=mode)
    found = []
    for i in range(6):
        if i == 3:
            pair.restart()
        generator = torch.Generator().manual_seed(i)
        found.append(step(*(torch.randint(0, K, (B, length), generator=generator) for _ in range(2))))
        pair.advance()
    assert step.mode == mode
    return torch.stack(found), pair


@pytest.mark.slow
def test_traced_step_equals_the_eager_one(pair):
    """To rounding: products of matrices this small depend on where in memory these lie."""
    (eager, first), (traced, second) = (losses(pair, mode) for mode in ("eager", "traced"))
    assert torch.allclose(eager, traced, rtol=1e-12)
    for name, value in first.state_dict().items():
        assert torch.allclose(value, second.state_dict()[name], rtol=1e-9, atol=1e-12)
    assert torch.allclose(first.carried, second.carried, rtol=1e-12)
    assert (first.carried != 0).any()


@pytest.mark.slow
def test_compiled_step_equals_the_eager_one():
    """Short, since every pass through the cell is compiled."""
    network = StickBreakingRNN(F, H, max_steps=2)
    nn.init.normal_(network.head_weight)
    pair = SequenceModel.of_symbols(network, K)
    (eager, _), (compiled, _) = (losses(pair, mode, length=2) for mode in ("eager", "compiled"))
    assert torch.allclose(eager, compiled, rtol=1e-10)


@pytest.mark.parametrize("name", ["lstm", "act", "gru"])
def test_windows_with_the_state_carried_are_one_sequence(name):
    pair = make(name)
    x, y = torch.randint(0, K, (2, B, 9))
    evaluated = ELBO().differentiable_loss(pair.eval().model, pair.guide, x, y)  # without the price of steps
    whole = ELBO().differentiable_loss(pair.train().model, pair.guide, x, y)
    pair.carry(B)
    parts = []
    for a, b in zip(x.split(3, 1), y.split(3, 1), strict=True):
        for _ in range(2):  # running it twice changes nothing
            part = ELBO().differentiable_loss(pair.model, pair.guide, a, b)
        parts.append(part)
        pair.advance()
    assert torch.allclose(torch.stack(parts).sum(), whole)
    pair.eval()
    assert torch.allclose(ELBO().differentiable_loss(pair.model, pair.guide, x, y), evaluated)
    pair.train()
    pair.restart()
    assert torch.allclose(ELBO().differentiable_loss(pair.model, pair.guide, x[:, :3], y[:, :3]), parts[0])
    assert "carried" not in pair.state_dict()


def test_the_price_of_steps_is_in_the_loss(x, y):
    cheap, dear = (make("act", time_penalty=price) for price in (0.0, 2.0))
    dear.load_state_dict(cheap.state_dict())
    difference = dear_loss = ELBO().differentiable_loss(dear.model, dear.guide, x, y)
    difference = dear_loss - ELBO().differentiable_loss(cheap.model, cheap.guide, x, y)
    cost = dear.network.ponder_cost(dear.network(dear.encoder(x))).sum()
    assert torch.allclose(difference, 2.0 * cost)
    # A schedule reaches the traced step, too.
    step = TrainStep(cheap, ELBO(), torch.optim.SGD(cheap.parameters(), lr=0.0), compile="traced")
    free = step(x, y)
    cheap.time_penalty.fill_(2.0)
    assert torch.allclose((step(x, y) - free) * len(x), 2.0 * cost)
    # In evaluation there is none.
    exact = dear.eval().predict(x, y).log_prob.sum(-1)
    assert torch.allclose(log_likelihood(dear, (x, y)).values, exact)
    assert torch.allclose(-ELBO().differentiable_loss(dear.model, dear.guide, x, y), exact.sum())


def test_predictions_are_normalised_and_go_on_from_their_states(pair, x):
    pair.eval()
    torch.manual_seed(5)
    first = pair.predict(x, x, num_samples=3)
    probs = []
    for symbol in range(K):
        torch.manual_seed(6)
        probs.append(pair.predict(x, torch.full_like(x, symbol), first.state, num_samples=3).log_prob.exp())
    assert torch.allclose(torch.stack(probs).sum(0), torch.ones(B, T))
    assert first.state.shape == (3, B, pair.network.state_size)
    assert ((first.mean_step >= 1) & (first.mean_step <= pair.network.max_steps)).all()
    mean = pair.predict(x, x, mean=True, tolerance=0.05)
    assert torch.equal(mean.log_prob, pair.predict(x, x, mean=True, tolerance=0.05).log_prob)
    assert (mean.num_steps <= pair.network.max_steps).all()
    assert pair.generate(x, 5).shape == (B, 5)


def test_vectors_as_inputs_and_binary_targets():
    network = StickBreakingRNN(7, H, max_steps=M)
    pair = SequenceModel(network, nn.Identity(), BernoulliLikelihood(nn.Linear(H, 2)))
    x, y = torch.randn(B, T, 7), torch.randint(0, 2, (B, T, 2)).double()
    loss = TraceMeanField_ELBO().differentiable_loss(pair.model, pair.guide, x, y)
    assert torch.isfinite(loss)
    assert pair.predict(x, y).log_prob.shape == (B, T)


@pytest.mark.slow
def test_ten_inner_steps_on_sequences_of_150_stay_finite():
    torch.manual_seed(0)
    network = StickBreakingRNN(8, 16, max_steps=10)
    pair = SequenceModel.of_symbols(network, K, concentration=0.1).float()
    nn.init.normal_(network.head_weight, std=8.0)
    optimizer = torch.optim.Adam(pair.parameters(), lr=0.05)
    step = TrainStep(pair, ELBO(), optimizer, clip_grad_norm=1.0, compile="traced")
    x = torch.randint(0, K, (4, 151))
    for _ in range(6):
        assert torch.isfinite(step(x[:, :-1], x[:, 1:]))
        assert all(torch.isfinite(p.grad).all() and torch.isfinite(p).all() for p in pair.parameters())


def test_wrong_arguments_are_refused(x, y):
    for arguments, message in (
        ({"concentration": 0.0}, "concentration must be finite and greater than 0, got 0"),
        ({"concentration": math.inf}, "concentration must be finite and greater than 0, got inf"),
        ({"time_penalty": -1.0}, "time_penalty must be finite and at least 0, got -1"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            make("act", **arguments)
    with pytest.raises(ValueError, match="num_samples: expected at least 1, got 0"):
        make("act").predict(x, y, num_samples=0)


@pytest.mark.parametrize("name", ["gru", "act", "sticks"])
def test_empty_sequences(name, x, y):
    pair = make(name)
    assert pair.generate(x, 0).shape == (B, 0)
    for call in (lambda: pair.predict(x[:, :0], y[:, :0]), lambda: pair.generate(x[:, :0], 3)):
        with pytest.raises(ValueError, match=r"x: expected at least one time step, got shape \[3, 0\]"):
            call()
    with pytest.raises(ValueError, match="length: expected at least 0, got -1"):
        pair.generate(x, -1)
