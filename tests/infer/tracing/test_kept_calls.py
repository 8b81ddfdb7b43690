"""Results of parts called with nothing follow every attribute that they may read."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import FitSettings, fit, log_likelihood, reconstruct
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.models import Pair


class Part(nn.Module):
    """Called with nothing, it reads what it is told to."""

    def __init__(self, read):
        super().__init__()
        self.read = read
        self.number, self.tensor, self.array, self.table = 1.0, torch.ones(()), np.ones(1), {"a": [1.0]}
        self.other = SimpleNamespace(number=1.0)
        self.p = 2.0
        self.register_buffer("buffer", torch.ones(()))
        self.inner = nn.Dropout(1.0)

    def forward(self):
        return torch.as_tensor(self.read(self)).clone()


CHANGES = {
    "number": (lambda p: p.number, lambda p: setattr(p, "number", 2.0)),
    "tensor": (lambda p: p.tensor, lambda p: setattr(p, "tensor", torch.tensor(2.0))),
    "tensor in place": (lambda p: p.tensor, lambda p: p.tensor.fill_(2.0)),
    "array in place": (lambda p: p.array[0], lambda p: p.array.fill(2.0)),
    "containers": (lambda p: p.table["a"][0], lambda p: p.table["a"].__setitem__(0, 2.0)),
    "namespace": (lambda p: p.other.number, lambda p: setattr(p.other, "number", 2.0)),
    "buffer": (lambda p: p.buffer, lambda p: setattr(p, "buffer", torch.tensor(2.0))),
    "buffer in place": (lambda p: p.buffer, lambda p: p.buffer.fill_(2.0)),
    "submodule": (lambda p: p.inner.p, lambda p: setattr(p.inner, "p", 2.0)),
    "new submodule": (lambda p: p.inner.p, lambda p: setattr(p, "inner", Part(None))),
}


@pytest.mark.parametrize(("read", "change"), CHANGES.values(), ids=CHANGES)
def test_a_kept_result_follows_attributes(read, change):
    pair = nn.ModuleDict({"prior": Part(read)})
    prior = pair["prior"]
    with evaluating(pair):
        first = prior()
        assert prior() is first
        change(prior)
        assert prior() == 2.0
        assert prior() is prior()


def test_a_kept_result_follows_what_another_part_holds():
    pair = nn.ModuleDict({"owner": Part(lambda p: 0.0), "prior": Part(lambda p: p.table["owner"].number)})
    pair["prior"].table["owner"] = pair["owner"]
    with evaluating(pair):
        assert pair["prior"]() == 1.0
        pair["owner"].number = 3.0
        assert pair["prior"]() == 3.0


def test_a_part_told_something_else_each_time_runs_each_time():
    pair = nn.ModuleDict({"prior": Part(lambda p: p.number)})
    with evaluating(pair):
        for i in range(12):
            pair["prior"].number = float(i)
            assert pair["prior"]() == i


class SitePrior(nn.Module):
    """The latents' prior at a place that the model tells it."""

    def __init__(self):
        super().__init__()
        self.context, self.weight = 0.0, nn.Parameter(torch.tensor(1.0))

    def forward(self):
        return dist.Normal((self.weight * self.context).expand(*self.context.shape[:-1], 2), 1.0).to_event(1)


class Sites(Pair):
    """z ~ N(site, 1), x | z ~ N(z, 1): x ~ N(site, 2)."""

    def __init__(self):
        super().__init__()
        self.prior, self.slope = SitePrior(), nn.Parameter(torch.tensor(0.5))

    @pyro_method
    def model(self, x, site):
        self.prior.context = site.unsqueeze(-1)
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x, site):
        with pyro.plate("data", len(x), dim=-1):
            loc = x * self.slope + site.unsqueeze(-1) / 2
            pyro.sample("z", dist.Normal(loc, 0.75).to_event(1))


@pytest.fixture
def sites():
    torch.manual_seed(0)
    site = torch.arange(20.0) / 4
    return torch.randn(20, 2) * 2**0.5 + site[:, None], site


@pytest.mark.filterwarnings("ignore:this pair cannot be traced")
@pytest.mark.parametrize("proposal", ["auto", "guide"])
@pytest.mark.parametrize("max_bytes", [2**27, 20_000])
def test_likelihoods_of_a_prior_that_the_model_tells_its_context(sites, proposal, max_bytes):
    x, site = sites
    truth = dist.Normal(site[:, None], 2**0.5).log_prob(x).sum(-1)
    found = log_likelihood(Sites(), (x, site), 200, seed=0, proposal=proposal, max_bytes=max_bytes)
    assert found.mean == pytest.approx(float(truth.mean()), abs=0.03)


def test_a_graph_is_not_made_of_a_program_that_tells_a_part_its_context(sites):
    x, site = sites
    truth = dist.Normal(site[:, None], 2**0.5).log_prob(x).sum(-1)
    options = {"seed": 0, "proposal": "guide", "compile": "traced", "max_bytes": 20_000}
    with pytest.warns(UserWarning, match="evaluated eagerly: it changes the attribute 'pair.prior.context'"):
        found = log_likelihood(Sites(), (x, site), 200, **options)
    assert found.mean == pytest.approx(float(truth.mean()), abs=0.03)


def test_validation_and_reconstructions_of_such_a_prior(sites):
    x, site = sites
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, site), batch_size=5)
    pair = Sites()
    settings = FitSettings(valid=loader, compile="eager", progress=False)
    (row,) = fit(
        pair,
        (x, site),
        epochs=1,
        batch_size=5,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0),
        settings=settings,
    ).metrics
    posterior = dist.Normal(x / 2 + site[:, None] / 2, 0.75)
    kl = torch.distributions.kl_divergence(posterior, dist.Normal(site[:, None], 1.0)).sum(-1)
    error = (dist.Normal(posterior.loc, 1.0).log_prob(x) - 0.75**2 / 2).sum(-1)
    assert row["valid_bound"] == pytest.approx(float((error - kl).mean()), abs=1.0)  # one draw a datum
    assert reconstruct(pair, loader).shape == x.shape
