"""Evaluation of pairs whose parameters are ``pyro.param`` statements, or lie in Pyro's parameter store."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.nn import PyroModule, PyroParam, pyro_method
from torch import nn
from torch.distributions import constraints

from pyrodgm.infer import (
    ProgramError,
    annealed_log_likelihood,
    bidirectional,
    log_likelihood,
    posterior_means,
    posterior_samples,
    reconstruct,
    refine,
    sample,
    sample_means,
)
from pyrodgm.infer.tracing.contexts import evaluating

LOC, SCALE = 4.0, 0.5  # trained values, far from the initial ones
X = LOC + torch.linspace(-2.0, 2.0, 12)


class Statements(PyroModule):
    """x ~ N(z, 1/4), z ~ N(m, 1), with the exact posterior as guide, all parameters by statements."""

    def model(self, x):
        loc = self.stated("m", torch.tensor(0.0))
        scale = self.stated("s", lambda: torch.tensor(3.0), constraint=constraints.positive)
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(loc, 1.0))
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    def guide(self, x):
        offset = self.stated("a", torch.tensor(0.0))
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(0.8 * x + offset, 0.2**0.5))

    def stated(self, *args, **kwargs):
        return pyro.param(*args, **kwargs)


class Hidden(Statements):
    """The same, where a handler of the program hides its statements from those outside."""

    def stated(self, *args, **kwargs):
        with poutine.block(hide_types=["param"]):
            return pyro.param(*args, **kwargs)


def train(loc=LOC):
    """What training by SVI leaves in the store."""
    pyro.clear_param_store()
    store = pyro.get_param_store()
    store.setdefault("m", torch.tensor(loc))
    store.setdefault("s", torch.tensor(SCALE), constraints.positive)
    store.setdefault("a", torch.tensor(0.2 * loc))


def exact(loc=LOC):
    return dist.Normal(loc, (1.0 + SCALE**2) ** 0.5).log_prob(X)


@pytest.fixture(autouse=True)
def store_as_before():
    train()
    before = {name: value.clone() for name, value in pyro.get_param_store().named_parameters()}
    yield
    after = dict(pyro.get_param_store().named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], value) for name, value in after.items())


@pytest.mark.parametrize("build", [Statements, Hidden])
@pytest.mark.parametrize("proposal", ["guide", "auto"])
def test_log_likelihood_has_the_values_of_the_store(build, proposal):
    result = log_likelihood(build(), X, 200, proposal=proposal, seed=0)
    assert torch.allclose(result.values.float(), exact(), atol=0.05)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_each_call_sees_the_values_of_its_time(mode):
    pair = Statements()
    for loc in (LOC, 3.0, LOC):
        with torch.no_grad():
            pyro.get_param_store()["m"], pyro.get_param_store()["a"] = torch.tensor(loc), torch.tensor(0.2 * loc)
        result = log_likelihood(pair, X, 50, proposal="guide", seed=0, compile=mode)
        assert torch.allclose(result.values.float(), exact(loc), atol=1e-4)


def test_draws_and_means_have_the_values_of_the_store():
    pair, mean = Statements(), 0.8 * X + 0.2 * LOC
    torch.manual_seed(0)
    assert sample(pair, 2000).mean() == pytest.approx(LOC, abs=0.1)
    assert sample(pair, 2000).std() == pytest.approx(1.25**0.5, abs=0.1)
    assert sample_means(pair, 2000).mean() == pytest.approx(LOC, abs=0.1)
    assert torch.allclose(posterior_means(pair, X)["z"].float(), mean)
    assert posterior_samples(pair, X.repeat(500))["z"].mean() == pytest.approx(float(mean.mean()), abs=0.05)
    assert reconstruct(pair, X.repeat(500)).mean() == pytest.approx(float(mean.mean()), abs=0.05)


@pytest.mark.slow
def test_refined_and_annealed_values_are_those_of_the_store():
    pair = Statements()
    assert torch.allclose(refine(pair, X, seed=0).mean["z"].float(), 0.8 * X + 0.2 * LOC, atol=0.02)
    annealed = annealed_log_likelihood(pair, X, temperatures=50, seed=0)
    assert float(annealed.mean) == pytest.approx(float(exact().mean()), abs=0.1)
    certificate = bidirectional(pair, 4, X[:1], temperatures=50, seed=0)
    assert certificate.gap == pytest.approx(0.0, abs=0.1)


def test_a_statement_that_no_store_knows_has_its_initial_value_with_a_warning():
    with pyro.get_param_store().scope():
        with pytest.warns(UserWarning, match="'a', 'm', 's' is neither a parameter of the pair nor in Pyro's .* store"):
            values = log_likelihood(Statements(), X, 2000, proposal="auto", seed=0).values
        assert len(pyro.get_param_store()) == 0
    assert torch.allclose(values.float(), dist.Normal(0.0, 10.0**0.5).log_prob(X), atol=0.05)


def test_a_statement_without_a_value_is_named():
    class Asks(Statements):
        def model(self, x):
            pyro.param("unknown")

    with pytest.raises(ProgramError, match=r"'unknown' is a pyro\.param statement without"):
        sample(Asks(), X)


class Constrained(PyroModule):
    """Its own parameters have the names that those of another of its kind have in the store."""

    def __init__(self, loc):
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.tensor(loc)), PyroParam(torch.tensor(SCALE), constraints.positive)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0))
            pyro.sample("x", dist.Normal(z, self.scale), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", dist.Normal(0.8 * x + 0.2 * self.loc, 0.2**0.5))


def test_own_parameters_are_not_those_of_another_pair_of_the_same_names():
    with pyro.get_param_store().scope():
        other = Constrained(-9.0)
        with torch.no_grad():
            other.scale = torch.tensor(7.0)
        SVI(other.model, other.guide, pyro.optim.SGD({"lr": 0.0}), Trace_ELBO()).step(X)
        assert "scale" in pyro.get_param_store()
        pair = Constrained(LOC)
        own = dict(pair.named_parameters())
        values = log_likelihood(pair, X, 50, proposal="guide", seed=0).values
        assert torch.allclose(values.float(), exact(), atol=1e-4)
        assert all(own[name] is parameter for name, parameter in pair.named_parameters())
        assert pair.scale.item() == pytest.approx(SCALE)
        assert other.scale.item() == pytest.approx(7.0)


@pytest.mark.parametrize("update", [False, True])
def test_a_module_outside_of_the_pair_has_its_own_values_or_those_that_it_asks_for(update):
    """As in Pyro, ``update_module_params`` takes those of the store, which a file may have filled."""
    outside = nn.Linear(1, 1)
    stored = {"decoder$$$weight": torch.ones(1, 1), "decoder$$$bias": torch.tensor([LOC])}

    class Family(PyroModule):
        def model(self, x):
            decoder = pyro.module("decoder", outside, update_module_params=update)
            with pyro.plate("data", x.shape[0], dim=-1):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(decoder(z.unsqueeze(-1)).squeeze(-1), SCALE), obs=x)

        def guide(self, x):
            with pyro.plate("data", x.shape[0], dim=-1):
                pyro.sample("z", dist.Normal(0.8 * (x - LOC), 0.2**0.5))

    with torch.no_grad():
        outside.weight.fill_(-1.0 if update else 1.0)
        outside.bias.fill_(-9.0 if update else LOC)
    with pyro.get_param_store().scope():
        if update:
            for name, value in stored.items():
                pyro.get_param_store()[name] = value
        values = log_likelihood(Family(), X, 50, proposal="guide", seed=0).values
        assert torch.allclose(values.float(), exact(), atol=1e-4)
        assert all(parameter.requires_grad for parameter in outside.parameters())


def test_an_autoguide_takes_the_values_of_a_store_read_from_a_file(tmp_path):
    """The usual way to load one: its parameters are made at the first call."""

    class Loaded(PyroModule):
        def __init__(self):
            super().__init__()
            self.guide = AutoNormal(self.model)

        def model(self, x):
            w = pyro.sample("w", dist.Normal(0.0, 10.0))
            with pyro.plate("data", x.shape[0], dim=-1):
                pyro.sample("x", dist.Normal(w, 1.0), obs=x)

    with pyro.get_param_store().scope():
        trained = Loaded()
        trained.guide(X)
        name = "guide.locs.w" if "guide.locs.w" in pyro.get_param_store() else "AutoNormal.locs.w"
        pyro.get_param_store()[name] = torch.tensor(LOC)
        pyro.get_param_store().save(tmp_path / "store")
    with pyro.get_param_store().scope():
        pyro.get_param_store().load(tmp_path / "store")
        pair = Loaded()
        with evaluating(pair):
            assert pair.guide(X)["w"].item() == pytest.approx(LOC, abs=0.5)
        assert pair.guide.locs.w.item() == pytest.approx(LOC)
        with torch.no_grad():
            pair.guide.locs.w.zero_()
        assert pyro.get_param_store()[name].item() == pytest.approx(LOC)
