"""Parts frozen, thawed, tied, shared or put into evaluation mode: traced steps treat them as eager ones do."""

import copy
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import (
    ELBO,
    FitSettings,
    TrainStep,
    fit,
)
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

X = (torch.rand(12, 6, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)
MODES = ["eager", "traced"]


def build():
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4))
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [5], 6)), GaussianPosterior(encoder))


def adam(pair):
    return torch.optim.Adam(pair.parameters(), lr=1e-2)


def copies(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("mode", MODES)
def test_a_part_frozen_after_the_first_step_stays_and_thaws(mode):
    pair = build().train()
    step = TrainStep(pair, ELBO(), adam(pair), compile=mode)
    for _ in range(2):
        step(X)
    pair.posterior.requires_grad_(False)  # momenta of Adam, and the gradients of the last step, are still there
    before = [p.detach().clone() for p in pair.posterior.parameters()]
    decoder = copies(pair.likelihood)
    for _ in range(2):
        step(X)
    assert all(torch.equal(a, b) for a, b in zip(before, pair.posterior.parameters(), strict=True))
    assert not same(decoder, pair.likelihood.state_dict())
    pair.posterior.requires_grad_(True)
    step(X)
    assert not any(torch.equal(a, b) for a, b in zip(before, pair.posterior.parameters(), strict=True))


@pytest.mark.slow
def test_a_schedule_of_freezing_is_the_same_traced_and_eager():
    results = []
    for mode in MODES:
        pair = build().train()
        pair.likelihood.requires_grad_(False)
        step = TrainStep(pair, ELBO(), adam(pair), compile=mode)
        torch.manual_seed(1)
        stages = {"thaw": (pair.likelihood, True), "freeze": (pair.posterior, False), "thaw all": (pair, True)}
        for part, thawed in stages.values():
            for _ in range(2):
                step(X)
            part.requires_grad_(thawed)
            part.train(thawed)
        step(X)
        results.append(copies(pair))
    assert same(*results)


@pytest.mark.parametrize("mode", MODES)
def test_a_part_put_into_evaluation_mode_after_the_first_step_is(mode):
    pair = build().train()
    step = TrainStep(pair, ELBO(), adam(pair), compile=mode)
    step(X)
    norm = pair.posterior.net[1]
    norm.eval()
    mean = norm.running_mean.clone()
    step(X)
    assert torch.equal(mean, norm.running_mean)
    norm.train()
    step(X)
    assert not torch.equal(mean, norm.running_mean)


@pytest.mark.slow
def test_fit_keeps_parts_that_were_put_into_evaluation_mode():
    pair = build().train()
    pair.posterior.net[1].eval()
    mean = pair.posterior.net[1].running_mean.clone()
    settings = FitSettings(progress=False)
    fit(pair, X, epochs=2, batch_size=5, settings=settings)
    assert torch.equal(mean, pair.posterior.net[1].running_mean)
    fit(pair, X, epochs=2, batch_size=5, settings=settings)  # all of it is in evaluation mode now, and trains again
    assert not torch.equal(mean, pair.posterior.net[1].running_mean)


class Tied(Pair):
    """A decoder with the encoder's weight, two posteriors on one trunk, one layer used twice."""

    def __init__(self):
        super().__init__()
        self.trunk, self.decoder = nn.Linear(6, 3), nn.Linear(3, 6)
        self.decoder.weight = nn.Parameter(self.trunk.weight.detach().t().clone())
        self.also = self.trunk  # a second name of a module
        self.twice = nn.Linear(3, 3)
        self.shared = nn.Linear(3, 3)
        self.shared.weight = self.twice.weight  # a second name of a parameter

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([3]).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=nn.functional.linear(z, self.trunk.weight.t())).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            hidden = self.twice(self.twice(torch.tanh(self.also(x))))
            pyro.sample("z", dist.Normal(self.shared(hidden), self.trunk(x).exp()).to_event(1))


@pytest.mark.slow
def test_tied_and_shared_parameters_train_and_resume_as_eagerly(tmp_path):
    results = []
    for mode in MODES:
        torch.manual_seed(0)
        pair = Tied()
        settings = FitSettings(compile=mode, progress=False)
        options = {"batch_size": 5, "optimizer": partial(torch.optim.Adam, lr=1e-2), "settings": settings}
        whole = copy.deepcopy(pair)
        fit(whole, X, epochs=3, **options)
        for epochs in (1, 3):
            resumed = copy.deepcopy(pair)
            fit(resumed, X, epochs=epochs, run_dir=tmp_path / mode, resume=True, **options)
        assert resumed.shared.weight is resumed.twice.weight
        assert same(copies(whole), copies(resumed))
        results.append(copies(whole))
    assert same(*results)
    assert not torch.equal(results[0]["twice.weight"], Tied().twice.weight)


def test_tracing_leaves_the_parameters_of_a_part_with_two_names_in_their_place():
    pair = Tied().train()
    before = dict(pair.named_parameters())
    step = TrainStep(pair, ELBO(), adam(pair), compile="traced")
    step(X)
    assert all(before[name] is parameter for name, parameter in pair.named_parameters())
    assert before["trunk.weight"].grad is not None
