"""Models that observe nothing, a forgotten ``obs=`` say, are refused wherever their data would not matter."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.nn import pyro_method
from regressions import QUIET
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.infer import (
    ELBO,
    IWELBO,
    FitSettings,
    TrainStep,
    annealed_log_likelihood,
    bidirectional,
    fit,
    fit_many,
    gradient_snr,
    log_likelihood,
    refine,
)
from pyrodgm.models import Pair

X = torch.linspace(-2.0, 2.0, 5)


class Shift(Pair):
    """z ~ N(0, 1), x | z ~ N(z, 1), under the exact posterior, where x is what ``kind`` says."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.kept, self.slope = kind, torch.tensor(0.7), nn.Parameter(torch.tensor(0.5))

    def seen(self, x):
        return self.kept.expand(len(x)).to(x) if self.kind == "attribute" else x

    @pyro_method
    def model(self, x):
        if self.kind == "no site":
            return
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(()).to(x), 1.0))
            pyro.deterministic("pi", z)  # observed, as Pyro has it
            fn = dist.Normal(z, 1.0)
            if self.kind == "factor":
                pyro.factor("x", fn.log_prob(x))
            else:
                pyro.sample("x", fn, obs=None if self.kind == "nothing" else self.seen(x))

    @pyro_method
    def guide(self, x):
        if self.kind == "no site":
            return
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.slope * self.seen(x), 0.5**0.5))


def step(objective):
    def run(pair):
        return TrainStep(pair, objective, torch.optim.SGD(pair.parameters(), lr=0.1), compile="eager")(X)

    return run


RUNS = {
    "log_likelihood": lambda pair: log_likelihood(pair, X, 50),
    "by rows": lambda pair: log_likelihood(pair, (X,), 50, proposal="guide"),
    "refine": lambda pair: refine(pair, X),
    "annealed": lambda pair: annealed_log_likelihood(pair, X, temperatures=5),
    "bidirectional": lambda pair: bidirectional(pair, 3, X, temperatures=5),
    "gradient_snr": lambda pair: gradient_snr(pair, ELBO(), X, 3),
    "fit": lambda pair: fit(pair, X, epochs=1, settings=QUIET),
    "stream": lambda pair: fit(pair, DataLoader(TensorDataset(X), 5), epochs=1, settings=QUIET),
    "fit_many": lambda pair: fit_many(lambda seed: Shift(pair.kind), [0, 1], X, epochs=1, settings=QUIET),
    "step": step(ELBO()),
    "step of several": step(IWELBO(3)),
    "step of Pyro's": step(Trace_ELBO()),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_model_that_observes_nothing_is_refused(name):
    message = r"^pair must have a model that observes data, at a site with obs= or by pyro.factor, got one that "
    with pytest.raises(ValueError, match=message + "draws 'z', 'x' and observes nothing$"):
        RUNS[name](Shift("nothing"))
    with pytest.raises(ValueError, match=message + "has no sample site$"):
        RUNS[name](Shift("no site"))


@pytest.mark.parametrize("kind", ["argument", "factor", "attribute"])
def test_one_that_observes_anything_is_not(kind):
    pair = Shift(kind)
    exact = dist.Normal(0.0, 2.0**0.5).log_prob(pair.seen(X)).double()  # all weights are the same
    assert torch.allclose(log_likelihood(pair, X, 50, proposal="guide").values, exact, atol=1e-5)
    eager = FitSettings(progress=False, compile="eager")
    trained = fit(pair, X, epochs=1, objective=IWELBO(2), settings=eager).metrics[0]["train_bound"]  # before the step
    assert trained == pytest.approx(exact.mean().item(), abs=1e-5)
