"""What changes between steps, or as the programs run, is followed by the traced step as by the eager one."""

import copy
import random
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, Callback, FitSettings, TrainStep, fit, fit_many
from pyrodgm.models import Pair

X = torch.ones(20, 2)
UNIT = float(dist.Normal(0.0, 1.0).log_prob(torch.ones(2)).sum())  # log-density of each datum


class Scaled(Pair):
    """Its bound is log N(x; 0, 1) times what ``scale`` gives, which reads whatever is held."""

    def __init__(self, scale):
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.zeros(())), scale
        self.number, self.tensor, self.table, self.count = 1.0, torch.tensor(1.0), {"scale": [1.0]}, 0
        self.register_buffer("buffer", torch.tensor(1.0))
        self.part = nn.Dropout(1.0)
        self.generator = np.random.default_rng(0)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1), pyro.poutine.scale(scale=self.scale(self)):
            pyro.sample("x", dist.Normal(self.loc * 0, 1.0).expand([2]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        pass


def step_of(pair, mode="traced", objective=None):
    return TrainStep(pair, objective or ELBO(), torch.optim.SGD(pair.parameters(), lr=0.0), compile=mode)


CHANGES = {
    "number": (lambda p: p.number, lambda p, v: setattr(p, "number", v)),
    "number of a part": (lambda p: p.part.p, lambda p, v: setattr(p.part, "p", v)),
    "in containers": (lambda p: p.table["scale"][0], lambda p, v: p.table["scale"].__setitem__(0, v)),
    "tensor": (lambda p: p.tensor, lambda p, v: setattr(p, "tensor", torch.tensor(v))),
    "tensor in place": (lambda p: p.tensor, lambda p, v: p.tensor.fill_(v)),
    "number read off a tensor": (lambda p: float(p.tensor), lambda p, v: p.tensor.fill_(v)),
    "buffer": (lambda p: p.buffer, lambda p, v: setattr(p, "buffer", torch.tensor(v))),
    "buffer in place": (lambda p: p.buffer, lambda p, v: p.buffer.fill_(v)),
}


@pytest.mark.parametrize("mode", ["eager", "traced"])
@pytest.mark.parametrize(("scale", "change"), CHANGES.values(), ids=CHANGES)
def test_a_change_between_steps_is_followed(scale, change, mode):
    pair = Scaled(scale)
    step = step_of(pair, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in (1.0, 10.0, 10.0, 1.0):
            change(pair, value)
            assert step(X).item() == pytest.approx(-value * UNIT)
    assert step.mode == mode


def test_values_that_come_again_have_their_graphs():
    pair = Scaled(lambda p: p.number)
    step = step_of(pair)
    for i in range(40):
        pair.number = 2.0 + i % 2
        assert step(X).item() == pytest.approx(-pair.number * UNIT)
    assert len(step._gradients) == 2
    assert step.mode == "traced"


def test_graphs_of_values_long_gone_are_dropped(monkeypatch):
    monkeypatch.setattr("pyrodgm.infer.training.attribute_changes.WORTH", {"traced": 1})
    pair = Scaled(lambda p: p.number)
    step = step_of(pair)
    for i in range(8):
        pair.number = 2.0 + i
        for _ in range(2):
            assert step(X).item() == pytest.approx(-pair.number * UNIT)
    assert len(step._gradients) == 4
    assert step.mode == "traced"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("number", lambda p, v: setattr(p, "number", v)),
        ("buffer", lambda p, v: setattr(p, "buffer", torch.tensor(v))),
        ("tensor", lambda p, v: p.tensor.fill_(v)),
    ],
    ids=["number", "buffer", "tensor"],
)
def test_a_change_at_each_step_ends_tracing_with_one_warning(name, change):
    pair = Scaled(lambda p: p.number * p.buffer * p.tensor)
    step = step_of(pair)
    values, found = [2.0 + i for i in range(12)], []
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        for value in values:
            change(pair, value)
            found.append(step(X).item())
    assert found == pytest.approx([-value * UNIT for value in values])
    assert len(record) == 1
    assert str(record[0].message).startswith(f"the attribute '{name}' changes every few steps")
    assert step.mode == "eager"


def count(pair):
    pair.count += 1
    return float(pair.count)


def append(pair):
    pair.table["scale"].append(1.0)
    return float(len(pair.table["scale"]))


def grow_tensor(pair):
    with torch.no_grad():
        return pair.tensor.add_(1.0).clone()


def replace_tensor(pair):
    pair.tensor = pair.tensor + 1.0
    return pair.tensor


def replace_buffer(pair):
    pair.buffer = pair.buffer + 1.0
    return pair.buffer


PROGRAMS = {
    "count": count,
    "append": append,
    "grow tensor": grow_tensor,
    "replace tensor": replace_tensor,
    "replace buffer": replace_buffer,
    "numpy": lambda p: float(np.random.rand()),
    "python": lambda p: random.random(),
    "own generator": lambda p: float(p.generator.random()),
}


@pytest.mark.parametrize("scale", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_that_does_more_than_a_graph_runs_eagerly_with_one_warning(scale):
    def losses(mode):
        np.random.seed(0)
        random.seed(0)
        step = step_of(Scaled(scale), mode)
        found = [step(X).item() for _ in range(4)]
        assert step.mode == "eager"
        return found

    with pytest.warns(UserWarning, match="cannot be traced and runs eagerly: it (changes|draws|replaces)") as record:
        traced = losses("traced")
    assert len(record) == 1
    assert traced == losses("eager")
    assert len(set(traced)) == 4


class Latent(Pair):
    """KL of 4.5 nats a datum."""

    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(3.0, 1.0))
            pyro.sample("x", dist.Normal(0 * z[..., None], 1.0).expand([*z.shape, 2]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0 * self.loc.expand(len(x)), 1.0))


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_changes_of_the_objective_are_followed(mode):
    objective = ELBO()
    step = step_of(Latent(), mode, objective)

    def kl():
        return step(X).item() + UNIT

    assert kl() == pytest.approx(4.5)
    objective.kl_weight.fill_(0.5)
    assert kl() == pytest.approx(2.25)
    objective.kl_weight = torch.tensor(0.25)
    assert kl() == pytest.approx(1.125)
    objective.kl_weight = 0.1
    assert kl() == pytest.approx(0.45)
    objective.kl_weight, objective.free_bits = 1.0, 9.0
    assert kl() == pytest.approx(9.0)
    objective.free_bits, objective.num_particles = 0.0, 3
    assert kl() == pytest.approx(4.5)
    with pytest.raises(ValueError, match="kl_weight must be"):
        objective.kl_weight = -1.0


def test_a_copy_of_an_objective_has_a_weight_of_its_own():
    objective = ELBO()
    other = copy.copy(objective)
    other.kl_weight = 0.5
    assert (objective.kl_weight, other.kl_weight) == (1.0, 0.5)


class Anneal(Callback):
    def __init__(self, change):
        self.change = change

    def on_epoch(self, moment):
        self.change(moment, 10.0 * (moment.epoch + 1))


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.0)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_callbacks_anneal_the_pair_and_the_objective(mode):
    def run(pair, change):
        settings = FitSettings(callbacks=[Anneal(change)], compile=mode, progress=False)
        return fit(pair, X, epochs=3, batch_size=20, optimizer=sgd, settings=settings).metrics

    rows = run(Scaled(lambda p: p.number), lambda moment, value: setattr(moment.pair, "number", value))
    assert [row["train_bound"] for row in rows] == pytest.approx([UNIT, 20 * UNIT, 30 * UNIT])
    rows = run(Latent(), lambda moment, value: moment.objective.kl_weight.fill_(value))
    assert [row["kl_weight"] for row in rows] == [1.0, 20.0, 30.0]
    assert [row["train_bound"] for row in rows] == pytest.approx([UNIT - 4.5 * w for w in (1, 20, 30)])
    rows = run(Latent(), lambda moment, value: setattr(moment.objective, "free_bits", value))
    assert [row["train_bound"] for row in rows] == pytest.approx([UNIT - v for v in (4.5, 20, 30)])


def test_a_weight_set_by_callbacks_is_part_of_a_resumed_run(tmp_path):
    def run(folder, epochs, **options):
        halve = Anneal(lambda moment, value: moment.objective.kl_weight.mul_(0.5))
        settings = FitSettings(callbacks=[halve], progress=False)
        options = {"epochs": epochs, "kl_warmup": 2.0, "batch_size": 10, "optimizer": sgd, **options}
        return fit(Latent(), X, run_dir=folder, settings=settings, **options).metrics

    whole = run(tmp_path / "whole", 4)
    assert [row["kl_weight"] for row in whole] == [0.5, 1.0, 0.5, 0.25]  # the warm-up's, then the callback's
    run(tmp_path / "parts", 3)
    parts = run(tmp_path / "parts", 4, resume=True)
    assert [row["kl_weight"] for row in parts] == [row["kl_weight"] for row in whole]


@pytest.mark.slow
def test_many_models_follow_their_callbacks():
    def change(moment, value):
        moment.pair.number, moment.pair.buffer = value, torch.tensor(value + 1.0)
        moment.objective.free_bits, moment.objective.kl_weight = value + 2.0, 1.0 / value

    class Both(Latent):
        def __init__(self):
            super().__init__()
            self.number = 1.0
            self.register_buffer("buffer", torch.tensor(1.0))

        @pyro_method
        def model(self, x):
            with pyro.poutine.scale(scale=self.number * self.buffer):
                super().model(x)

        @pyro_method
        def guide(self, x):
            with pyro.poutine.scale(scale=self.number * self.buffer):
                super().guide(x)

    options = {"epochs": 2, "batch_size": 20, "optimizer": sgd}
    settings = FitSettings(callbacks=[Anneal(change)], progress=False, valid=X)
    many = fit_many(lambda run: Both(), [0, 1], X, settings=settings, **options)
    alone = fit(Both(), X, settings=settings, **options).metrics
    for one in many:
        for name in ("train_bound", "valid_bound", "kl_weight"):
            found = [row[name] for row in one.result.metrics]
            assert found == pytest.approx([row[name] for row in alone])
    assert len({row["train_bound"] for row in alone}) == 2
    assert [row["kl_weight"] for row in alone] == pytest.approx([1.0, 1 / 20])


def test_many_models_have_equal_attributes():
    def make(run):
        pair = Scaled(lambda p: p.number)
        pair.number = float(run)
        return pair

    with pytest.raises(ValueError, match="pairs of equal attributes, got some that differ in 'number'"):
        fit_many(make, [1, 2], X, epochs=1, batch_size=20, optimizer=sgd)
