"""NADE and its stick-breaking form: sums over all images, loops over pixels, quadrature."""

import copy
import itertools
import math
import re

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from pyrodgm.distributions import Kumaraswamy
from pyrodgm.infer import ELBO, IWELBO, TrainStep, log_likelihood
from pyrodgm.models import NADE, StickBreakingNADE
from pyrodgm.nn import NADENetwork

D, H, M = 7, 4, 3
ALL = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)), dtype=torch.float64)


def randomized(pair, scale=1.0):
    torch.manual_seed(1)
    for p in pair.parameters():
        nn.init.normal_(p, std=scale)
    return pair


@pytest.mark.parametrize("init", ["sum", "lstm"])
def test_probabilities_of_all_images_sum_to_one(init):
    nade = randomized(NADE(D, H, init=init))
    log_prob = nade.log_likelihood(ALL, batch_size=50)
    assert log_prob.exp().sum().item() == pytest.approx(1.0, rel=1e-12)
    assert log_prob.std() > 1
    marginals = (log_prob.exp().unsqueeze(-1) * ALL).sum(0)
    torch.manual_seed(0)
    drawn = nade.sample(20_000)
    assert ((drawn.mean(0) - marginals).abs() < 5 * (marginals * (1 - marginals) / 20_000).sqrt()).all()
    pairs = (log_prob.exp().view(-1, 1, 1) * ALL.unsqueeze(1) * ALL.unsqueeze(2)).sum(0)
    assert torch.allclose(drawn.t() @ drawn / 20_000, pairs, atol=5 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("compile_", ["eager", "traced"])
def test_sampled_likelihood_of_a_pair_without_latents_is_exact(compile_):
    nade = randomized(NADE(D, H))
    result = log_likelihood(nade, ALL, 30, compile=compile_, keep=True, max_bytes=100_000)
    torch.testing.assert_close(result.values, nade.log_likelihood(ALL))
    assert torch.equal(result.log_weights, result.pointwise)
    assert result.draws == {}
    torch.testing.assert_close(result.ess, torch.full((len(ALL),), 30.0))
    assert result.untrusted_share == 0.0


@pytest.mark.parametrize("features", [1, 2, 5, 9, 12])
def test_one_pass_is_the_loop_over_pixels(features):
    network = randomized(NADENetwork(features, H, max_steps=M))
    x = torch.rand(6, features).round()
    logits, raw = network(x)
    state = network.running.bias.expand(6, H)
    for d in range(features):
        h = state.sigmoid()
        for n in range(M):
            assert torch.allclose(logits[:, d, n], h @ network.weight[d] + network.bias[d])
            if n < M - 1:
                assert torch.allclose(raw[:, d, n], h @ network.head.weight.t() + network.head.bias)
                h = (state + h @ network.refine.weight.t() + network.refine.bias).sigmoid()
        state = state + x[:, d : d + 1] * network.running.weight[d]


def test_with_equal_logits_of_all_steps_it_is_nade():
    sticks, nade = randomized(StickBreakingNADE(D, H, max_steps=2)), NADE(D, H)
    nade.network.load_state_dict(sticks.network.state_dict(), strict=False)
    with torch.no_grad():
        sticks.network.head.weight.zero_()
        sticks.network.head.bias.copy_(torch.tensor([1e9, 0.01]))  # fractions at one: the first step alone
    found = sticks.log_likelihood(ALL, num_samples=2)
    assert torch.allclose(found.ensemble, nade.log_likelihood(ALL), atol=1e-6)


def pixel_quadrature(pair, x):
    """log p(x), log of the mean prediction and bound by quadrature over one fraction, M = 2."""
    nodes, weight = (torch.from_numpy(part) / 2 for part in np.polynomial.legendre.leggauss(400))
    u = (nodes + 0.5).view(-1, 1, 1)
    alpha = pair.concentration
    with torch.no_grad():
        logits, raw = pair.network(x)
        base = pair._sticks(raw).base_dist
        q = Kumaraswamy(base.concentration1, base.concentration0)

        def log_prob(v):
            mixed = v * logits[..., 0] + (1 - v) * logits[..., 1]
            return torch.distributions.Bernoulli(logits=mixed).log_prob(x)

        q = type(q)(q.concentration1.squeeze(-1), q.concentration0.squeeze(-1))
        v = q.icdf(u.expand(-1, *x.shape))
        prior = alpha.log() + (alpha - 1) * torch.log1p(-v)

        def mean(values):
            return torch.einsum("i,i...->...", weight, values)

        exact = mean(log_prob(1 - (1 - u) ** (1 / alpha)).exp()).log().sum(-1)
        return exact, mean(log_prob(v).exp()).log().sum(-1), mean(log_prob(v) + prior - q.log_prob(v)).sum(-1)


@pytest.mark.slow
def test_likelihoods_against_quadrature():
    pair = randomized(StickBreakingNADE(D, H, max_steps=2, concentration=2.0), 1.5)
    nn.init.normal_(pair.network.head.weight, std=0.3)
    nn.init.constant_(pair.network.head.bias, 1.0)
    exact, predicted, bound = pixel_quadrature(pair, ALL)
    found = pair.log_likelihood(ALL[::3], num_samples=4000, seed=0)
    assert exact.exp().sum().item() == pytest.approx(1.0, rel=1e-4)
    assert predicted.exp().sum().item() == pytest.approx(1.0, rel=1e-4)
    assert (found.log_likelihood - exact[::3]).abs().max() < 0.05
    assert (found.ensemble - predicted[::3]).abs().max() < 0.02
    assert (found.bound - bound[::3]).abs().max() < 0.05
    assert (bound < exact).all()
    assert found.divergence.shape == (D,)
    loss = ELBO(num_particles=300, vectorize_particles=True).differentiable_loss(pair.model, pair.guide, ALL)
    assert -loss.item() == pytest.approx(bound.sum().item(), rel=2e-3)
    joint = log_likelihood(pair, ALL[:3], 10_000, seed=1)
    assert torch.allclose(joint.values, exact[:3], atol=0.1)


@pytest.mark.slow
def test_samples_follow_the_prediction():
    pair = randomized(StickBreakingNADE(D, H, max_steps=2), 1.5)
    exact, predicted, _ = pixel_quadrature(pair, ALL)
    torch.manual_seed(0)
    for from_prior, log_prob in ((True, exact), (False, predicted)):
        marginals = (log_prob.exp().unsqueeze(-1) * ALL).sum(0)
        drawn = pair.sample(20_000, from_prior=from_prior)
        assert ((drawn.mean(0) - marginals).abs() < 5 * 0.5 / 20_000**0.5).all()


@pytest.mark.parametrize(
    "objective",
    [Trace_ELBO(), TraceMeanField_ELBO(), ELBO(num_particles=3, vectorize_particles=True), IWELBO(3, gradient="dreg")],
    ids=["Trace_ELBO", "TraceMeanField_ELBO", "ELBO", "IWELBO"],
)
@pytest.mark.parametrize("init", ["sum", "lstm"])
def test_every_estimator_trains_it(objective, init):
    pair = StickBreakingNADE(D, H, max_steps=M, init=init)
    before = copy.deepcopy(pair.state_dict())
    SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-2}), loss=copy.deepcopy(objective)).step(ALL[60:70])
    unchanged = {name for name, p in pair.named_parameters() if torch.equal(before[name], p)}
    assert unchanged == set()
    if not isinstance(objective, IWELBO):
        nade = NADE(D, H, init=init)
        SVI(nade.model, nade.guide, pyro.optim.Adam({"lr": 1e-2}), loss=copy.deepcopy(objective)).step(ALL[60:70])
    assert ELBO().describe(pair.model, pair.guide, ALL[:3]) == {"sticks": "exact"}


def test_the_draw_carries_the_pass(monkeypatch):
    pair = randomized(StickBreakingNADE(D, H, max_steps=M))
    calls, run = [], NADENetwork.forward
    monkeypatch.setattr(NADENetwork, "forward", lambda *args: calls.append(1) or run(*args))
    guide = poutine.trace(pair.guide).get_trace(ALL)
    model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(ALL)
    assert len(calls) == 1
    guide.nodes["sticks"]["value"] = guide.nodes["sticks"]["value"].clone()
    again = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(ALL)
    assert len(calls) == 2
    for trace in (model, again):
        trace.compute_log_prob()
    assert torch.allclose(model.nodes["x"]["log_prob"], again.nodes["x"]["log_prob"])


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: NADE(D, H), lambda: StickBreakingNADE(D, H, max_steps=M)], ids=["nade", "sb"])
def test_it_learns_and_traced_steps_equal_eager_ones(make):
    """Images whose second half is the first, two of four equally likely beginnings: log 2 nats and no more."""
    x = torch.tensor([[0, 1, 1, 0, 1, 1, 0.0], [1, 0, 1, 1, 0, 1, 1.0]], dtype=torch.float64).repeat(10, 1)
    found = []
    for mode in ("eager", "traced"):
        torch.manual_seed(0)
        pair = make()
        step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=0.05), compile=mode)
        found.append(torch.stack([step(x) for _ in range(10 if mode == "eager" else 150)]))
        assert step.mode == mode
    assert torch.allclose(found[0], found[1][:10], rtol=1e-9)
    assert found[1][-1] == pytest.approx(math.log(2), abs=0.1)


@pytest.mark.parametrize("concentration", [1.0, 10.0])
def test_posterior_starts_at_the_prior(concentration):
    pair = StickBreakingNADE(D, H, concentration=concentration)
    with torch.no_grad():
        pair.network.head.weight.zero_()
    found = pair.log_likelihood(ALL, num_samples=3)
    assert torch.allclose(found.divergence, torch.zeros(D), atol=1e-6)


def test_start_and_wrong_arguments():
    mean = torch.rand(D)
    pair = NADE(D, H, mean=mean)
    with torch.no_grad():
        pair.network.weight.zero_()
    assert torch.allclose(pair.network(ALL)[0].sigmoid().squeeze(-1), mean.expand_as(ALL))
    for make, message in (
        (lambda: NADE(0, H), "features must be at least 1, got 0"),
        (lambda: NADE(D, H, init="gru"), "init must be one of sum, lstm, got 'gru'"),
        (lambda: NADE(D, H, mean=torch.rand(3)), f"mean must have shape [{D}], got [3]"),
        (lambda: StickBreakingNADE(D, H, max_steps=1), "max_steps must be at least 2, got 1"),
        (lambda: StickBreakingNADE(D, H, concentration=0.0), "concentration must be finite and greater than 0, got 0"),
        (
            lambda: StickBreakingNADE(D, H, concentration=math.inf),
            "concentration must be finite and greater than 0, got inf",
        ),
        (lambda: NADENetwork(D, H, max_steps=2, start=0.05), "start: expected at least 0.1, got 0.05"),
        (lambda: NADE(D, H).network(torch.zeros(2, 3)), f"x: expected at least one image, shape [*, {D}], got [2, 3]"),
        (lambda: NADE(D, H).log_likelihood(ALL[:0]), f"x: expected at least one image, shape [*, {D}], got [0, {D}]"),
        (lambda: StickBreakingNADE(D, H).log_likelihood(ALL[:0]), "x: expected at least one image"),
        (lambda: StickBreakingNADE(D, H).log_likelihood(ALL, num_samples=0), "num_samples: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            make()
