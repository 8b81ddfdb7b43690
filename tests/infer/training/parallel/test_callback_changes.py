"""Callbacks run in the first process alone; what they change there is changed in all."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from process_group import run_processes
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import Callback, FitSettings, fit
from pyrodgm.models import Pair

X = torch.ones(12, 2)


class Annealed(Pair):
    def __init__(self):
        super().__init__()
        self.loc, self.number, self.tensor, self.table = nn.Parameter(torch.zeros(2)), 1.0, torch.tensor(1.0), [1.0]
        self.register_buffer("buffer", torch.tensor(1.0))
        self.thing = nn.Identity
        self.part = nn.Dropout(1.0)

    @pyro_method
    def model(self, x):
        scale = self.number * self.tensor * self.table[0] * self.buffer * self.part.p
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(0 * z + self.loc, 1.0 + scale).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))


class Anneal(Callback):
    """Changes whatever can be changed, one after the other."""

    def on_step(self, moment):
        pair, value = moment.pair, 1.0 + 0.1 * moment.step
        changes = [
            lambda: setattr(pair, "number", value),
            lambda: setattr(pair, "tensor", torch.tensor(value)),
            lambda: pair.tensor.fill_(value),
            lambda: pair.table.__setitem__(0, value),
            lambda: setattr(pair, "buffer", torch.tensor(value)),
            lambda: pair.buffer.fill_(value),
            lambda: setattr(pair.part, "p", value),
            lambda: setattr(moment.objective, "kl_weight", value),
            lambda: moment.objective.kl_weight.fill_(value),
            lambda: setattr(moment.objective, "free_bits", value),
            lambda: pair.loc.data.fill_(value),
            lambda: nn.init.constant_(pair.loc, value),
            lambda: None,
        ]
        changes[(moment.step - 1) % len(changes)]()


class Odd(Callback):
    def on_step(self, moment):
        moment.pair.thing = nn.Linear


def run(callback):
    pair = Annealed()
    settings = FitSettings(callbacks=[callback], valid=X, compile="traced", progress=False)
    options = {"batch_size": 6, "epochs": 8, "optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.1)}
    result = fit(pair, X, settings=settings, **options)
    held = [pair.number, pair.tensor, pair.table[0], pair.buffer, pair.part.p, *pair.loc.detach()]
    return result.metrics, [float(value) for value in held]


@pytest.mark.slow
def test_what_callbacks_change_is_changed_in_all_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("pyrodgm.infer.training.attribute_changes.WORTH", {"traced": 0})  # graphs all the way
    metrics, held = run(Anneal())
    for found, found_held in run_processes(2, lambda rank: run(Anneal()), tmp_path):
        assert found_held == pytest.approx(held)
        for row, expected in zip(found, metrics, strict=True):
            assert row == pytest.approx(expected)


@pytest.mark.slow
def test_changes_that_others_cannot_be_told_of_are_refused(tmp_path):
    with pytest.raises(RuntimeError, match="a callback has changed 'thing' in the first process"):
        run_processes(2, lambda rank: run(Odd()), tmp_path)
