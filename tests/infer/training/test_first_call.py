"""Pairs whose parameters are made at the first call: autoguides, lazy modules."""

import copy
from functools import partial

import pyro
import pyro.distributions as dist
import pyro.infer.autoguide as autoguide
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import PyroModule
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, ProgramError, TrainStep, fit, fit_many, log_likelihood

X = torch.linspace(1.0, 3.0, 20, dtype=torch.float64)
STILL = partial(torch.optim.SGD, lr=0.0)
GUIDES = [
    autoguide.AutoNormal,
    autoguide.AutoDiagonalNormal,
    autoguide.AutoMultivariateNormal,
    autoguide.AutoLowRankMultivariateNormal,
    autoguide.AutoStructured,
    autoguide.AutoGaussian,
    autoguide.AutoIAFNormal,
    autoguide.AutoNormalMessenger,
    autoguide.AutoHierarchicalNormalMessenger,
]


class Guided(PyroModule):
    """x ~ N(w + v, e^s) with an autoguide; or with a latent for each datum, whose number the guide keeps."""

    def __init__(self, kind=autoguide.AutoNormal, local=False):
        super().__init__()
        self.log_scale, self.local = nn.Parameter(torch.zeros(())), local
        self.guide = kind(self.programme)

    def programme(self, x):
        return self.model(x)

    def model(self, x):
        w = pyro.sample("w", dist.Normal(0.0, 10.0))
        v = pyro.sample("v", dist.Normal(0.0, 1.0))
        with pyro.plate("data", x.shape[0], dim=-1):
            loc = pyro.sample("z", dist.Normal(w, 1.0)) if self.local else w
            pyro.sample("x", dist.Normal(loc + v, self.log_scale.exp()), obs=x)


def quick(**kwargs):
    settings = FitSettings(progress=False, compile="eager")
    return {"optimizer": partial(torch.optim.SGD, lr=0.02), "settings": settings, "batch_size": 20, **kwargs}


@pytest.mark.parametrize("kind", GUIDES, ids=lambda kind: kind.__name__)
def test_an_autoguide_trains_as_one_that_was_called_before(kind):
    found = []
    for called in (False, True):
        torch.manual_seed(0)
        pair = Guided(kind)
        if called:
            with torch.random.fork_rng():
                torch.manual_seed(5)
                pair.guide(X)
            pyro.clear_param_store()
        still = copy.copy(fit(pair, X, epochs=1, objective=Trace_ELBO(), **quick(optimizer=STILL)).metrics)
        before = {name: parameter.detach().clone() for name, parameter in pair.named_parameters()}
        result = fit(pair, X, epochs=3, objective=Trace_ELBO(), **quick())
        moved = [not torch.equal(before[name], p) for name, p in pair.named_parameters() if "weights" not in name]
        assert all(moved)  # but for weights of a prior mean of zero
        found.append((still + result.metrics, pair.state_dict()))
    assert found[0][1].keys() == found[1][1].keys()
    assert len(found[0][1]) > 1
    if kind in (autoguide.AutoNormal, autoguide.AutoStructured):  # others begin with random numbers
        assert found[0][0] == found[1][0]
        assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())
    assert len(pyro.get_param_store()) == 0


def test_without_noise_fit_is_svi():
    kind = partial(autoguide.AutoDelta, init_loc_fn=autoguide.init_to_feasible)
    own, theirs = Guided(kind), Guided(kind)
    fit(own, X, epochs=5, objective=Trace_ELBO(), **quick())

    def model(x):
        pyro.module("model", theirs)
        return theirs.model(x)

    svi = SVI(model, theirs.guide, pyro.optim.SGD({"lr": 0.02 / len(X)}), Trace_ELBO())
    for _ in range(5):
        svi.step(X)
    for name, parameter in own.named_parameters():
        assert torch.allclose(parameter, theirs.get_parameter(name), atol=1e-5), name


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", GUIDES, ids=lambda kind: kind.__name__)
def test_an_autoguide_with_parameters_of_each_row_is_refused_since_rows_are_shuffled(kind, called):
    pair = Guided(kind, local=True)
    if called:
        pair.guide(X)
    with pytest.raises(ProgramError, match="'z' is drawn for each of 20 rows from parameters that Auto"):
        fit(pair, X, epochs=1, **quick())


def test_traced_and_many():
    single = [
        fit(pair := Guided(), X, epochs=2, seed=seed, **quick(settings=FitSettings(progress=False))) for seed in (0, 1)
    ]
    many = fit_many(lambda seed: Guided(), range(2), X, epochs=2, **quick(settings=FitSettings(progress=False)))
    for one, together in zip(single, many, strict=True):
        assert together.result.best_bound == pytest.approx(one.best_bound, rel=1e-4)
    assert {"guide.locs.w_unconstrained", "guide.scales.v_unconstrained"} < dict(pair.named_parameters()).keys()


def test_an_optimiser_that_came_too_early_is_refused():
    pair = Guided()
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1))
    with pytest.raises(ValueError, match=r"optimizer must have all parameters.*guide\.locs\.w_unconstrained"):
        step(X)
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.01))
    before = pair.guide.locs.w.item()
    step(X)
    assert pair.guide.locs.w.item() != before


def test_a_fresh_autoguide_is_evaluated_with_what_its_call_makes():
    pair = Fresh()
    values = log_likelihood(pair, X, 4000, proposal="guide", seed=0).values
    exact = dist.Normal(0.0, 2.0**0.5).log_prob(X)
    assert torch.allclose(values, exact, atol=0.3)


class Fresh(PyroModule):
    """z for each datum, with an autoguide that knows how many there are."""

    def __init__(self):
        super().__init__()
        self.guide = autoguide.AutoNormal(self.programme, init_scale=1.0)

    def programme(self, x):
        return self.model(x)

    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


class Lazy(PyroModule):
    """A VAE of one latent with an encoder that finds out how wide its data are."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.decoder = encoder, nn.Linear(1, 4)

    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            loc, log_scale = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_lazy_modules_train_as_those_of_known_size(mode):
    torch.manual_seed(0)
    x = torch.randn(20, 4) + 1.0
    lazy = Lazy(nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.LazyLinear(2)))
    settings = FitSettings(progress=False, compile=mode)
    first = fit(lazy, x, epochs=1, **quick(optimizer=STILL, settings=settings))
    known = Lazy(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)))
    known.load_state_dict({**lazy.state_dict(), **fresh_statistics(known)})
    second = fit(known, x, epochs=1, **quick(optimizer=STILL, settings=settings))
    assert first.metrics == second.metrics
    state = lazy.state_dict()
    assert state["encoder.1.num_batches_tracked"] == 1
    assert all(torch.equal(value, state[name]) for name, value in known.state_dict().items())
    before = copy.deepcopy(state)
    fit(lazy, x, epochs=2, **quick(settings=settings))
    assert all(not torch.equal(before[name], p) for name, p in lazy.named_parameters() if "0.bias" not in name)


def fresh_statistics(pair):
    return {name: value for name, value in pair.state_dict().items() if "running" in name or "tracked" in name}
