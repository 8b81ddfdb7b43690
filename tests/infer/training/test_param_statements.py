"""Training of pairs with ``pyro.param`` statements, which an optimiser has only where they are the pair's own."""

from functools import partial

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.nn import PyroModule, PyroParam, PyroSample, pyro_method
from torch import nn
from torch.distributions import constraints

from pyrodgm.infer import ELBO, FitSettings, ProgramError, TrainStep, fit, fit_many
from pyrodgm.infer.training.rehearsal import rehearse

X = torch.linspace(1.0, 3.0, 20)


class Observed(PyroModule):
    """x ~ N(loc, scale), of which a function gives loc."""

    def __init__(self, loc=lambda pair: pair.own):
        super().__init__()
        self.own, self.loc, self.outside = nn.Parameter(torch.zeros(())), loc, (nn.Linear(1, 1),)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("x", dist.Normal(self.loc(self) + 0.0 * self.own, 1.0), obs=x)

    def guide(self, x):
        pass


def hidden(pair):
    with poutine.block(hide_types=["param"]):
        return pyro.param("m", torch.tensor(0.0))


def of_outside(pair):
    return pyro.module("m", pair.outside[0])(torch.ones(1))


STATEMENTS = {
    "tensor": lambda pair: pyro.param("m", torch.tensor(0.0)),
    "lambda": lambda pair: pyro.param("m", lambda: torch.tensor(0.0)),
    "constrained": lambda pair: pyro.param("m", torch.tensor(1.0), constraint=constraints.positive),
    "constrained own": lambda pair: pyro.param("m", pair.own + 0.0, constraint=constraints.real),
    "own": lambda pair: pyro.param("m", pair.own, constraint=constraints.interval(-1.0, 1.0)),
    "hidden": hidden,
    "family": of_outside,
}


def quick(**kwargs):
    return {"optimizer": partial(torch.optim.Adam, lr=0.1), "settings": FitSettings(progress=False), **kwargs}


@pytest.mark.parametrize("name", STATEMENTS)
@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_a_statement_of_no_parameter_of_the_pair_is_refused_before_the_first_step(name, mode):
    pair = Observed(STATEMENTS[name])
    pyro.param("m", torch.tensor(9.0))  # what a store knows is not trained either
    with pytest.raises(ProgramError, match=r"'m.*' is a pyro\.param statement of no parameter.*nn\.Parameter"):
        fit(pair, X, epochs=1, **quick(settings=FitSettings(progress=False, compile=mode)))
    step = TrainStep(pair, Trace_ELBO(), torch.optim.Adam(pair.parameters(), lr=0.1), compile=mode)
    with pytest.raises(ProgramError, match="'m"):
        step(X)
    assert pair.own == 0.0
    assert pyro.param("m") == 9.0


def test_many_pairs_refuse_it_too():
    with pytest.raises(ProgramError, match="'m'"):
        fit_many(lambda seed: Observed(STATEMENTS["tensor"]), range(2), X, epochs=1, **quick())


def test_statements_of_a_later_shape_are_refused():
    pair = Observed(lambda pair: pair.own if len(pair.rows) == 20 else pyro.param("m", torch.tensor(0.0)))
    step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=0.1))
    pair.rows = X
    step(X)
    pair.rows = X[:3]
    with pytest.raises(ProgramError, match="'m'"):
        step(X[:3])


class Stated(PyroModule):
    """Parameters of the pair in all the ways that there are."""

    def __init__(self):
        super().__init__()
        self.part, self.loc = nn.Linear(1, 1), nn.Parameter(torch.zeros(()))
        self.scale = PyroParam(torch.tensor(2.0), constraints.positive)
        self.late = PyroParam(lambda: torch.tensor(0.0))
        self.random = PyroSample(dist.Normal(0.0, 1.0))

    @pyro_method
    def model(self, x):
        part = pyro.module("anything", self.part)
        loc = part(torch.ones(1)) + pyro.param("again", self.loc) + self.late
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("x", dist.Normal(loc, self.scale), obs=x)

    def guide(self, x):
        pass


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_parameters_of_the_pair_are_trained_whatever_states_them(mode):
    pair = Stated()
    before = {name: p.detach().clone() for name, p in pair.named_parameters()}
    result = fit(pair, X, epochs=150, batch_size=20, **quick(settings=FitSettings(progress=False, compile=mode)))
    best = dist.Normal(X.mean(), X.std(unbiased=False)).log_prob(X).mean()
    assert result.best_bound == pytest.approx(float(best), abs=1e-3)
    assert all(p != before[name] for name, p in pair.named_parameters())
    assert pair.scale.item() == pytest.approx(X.std(unbiased=False).item(), rel=0.02)
    assert len(pyro.get_param_store()) == 0


def test_a_store_in_each_module_is_no_hiding_place():
    with pyro.settings.context(module_local_params=True):
        pair = Stated()
        fit(pair, X, epochs=2, **quick())
        with pytest.raises(ProgramError, match="'m'"):
            fit(Observed(STATEMENTS["tensor"]), X, epochs=1, **quick())


@pytest.mark.parametrize(
    "objective", [TraceEnum_ELBO(strict_enumeration_warning=False), Trace_ELBO(2, vectorize_particles=True)]
)
def test_frozen_parameters_stay_frozen_where_an_estimator_counts_plates(objective):
    """Pyro runs the programs then with all handlers blocked, and its store makes trainable what it gets."""
    pair = Stated()
    pair.loc.requires_grad_(False)
    rehearse(pair, objective, (X,))
    assert not pair.loc.requires_grad
    assert pair.scale_unconstrained.requires_grad


def test_a_frozen_parameter_that_svi_has_seen_stays_frozen():
    pair = Observed()
    pyro.infer.SVI(pair.model, pair.guide, pyro.optim.SGD({"lr": 0.0}), Trace_ELBO()).step(X)
    pyro.clear_param_store()
    pair.own.requires_grad_(False)
    rehearse(pair, Trace_ELBO(), (X,))
    assert not pair.own.requires_grad
