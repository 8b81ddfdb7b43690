"""What a graph of tensor operations would not repeat is found while it is traced, and the program runs eagerly."""

import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, TrainStep, log_likelihood
from pyrodgm.infer.tracing.graph import UntraceableError, flatten
from pyrodgm.models import Pair

ROWS = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
OTHER = -2.0 * ROWS  # the signs, the counts and the sums differ
UPPER = torch.ones(5, 5).triu().bool()
OWN = torch.Generator()
SOBOL = torch.quasirandom.SobolEngine(1)


def masked_by_a_write(x):
    mask = torch.ones(5, dtype=torch.bool)
    mask[0] = x[0, 0] > 0.0
    return x[:, mask].sum()


def seeded(x):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return x + torch.randn(5)


def same_noise_twice(x):
    state = torch.get_rng_state()
    first = torch.randn(5)
    torch.set_rng_state(state)
    return x + first - torch.randn(5)


TAKEN_OUT = {
    "numpy": lambda x: x + float(np.log1p(np.square(x.numpy())).sum()),
    "asarray": lambda x: x + torch.from_numpy(np.asarray(x.cpu()) ** 2),
    "dlpack": lambda x: x + torch.from_numpy(np.from_dlpack(x.contiguous()) ** 2),
    "tolist": lambda x: x + sum(x[0].tolist()),
    "apply": lambda x: x.clone().apply_(lambda value: value**2),
    "of a written": lambda x: x + sum((torch.zeros(5).copy_(x[0])).tolist()),
    "of a view": lambda x: x + sum(torch.zeros(5).add_(1.0)[:3].mul_(x[0, 0]).tolist()),
    "of a draw": lambda x: x + sum(torch.rand(2).tolist()),
    "split": lambda x: torch.tensor_split(x, (x[:1, 0] > 0).to(torch.int64), 1)[0].sum(),
}
SHAPES = {
    "number of nonzero": lambda x: x * len((x > 0).nonzero()),
    "mean of those selected": lambda x: x[x > 0].sum() / len(x[x > 0]),
    "where": lambda x: x * torch.where(x > 0.3)[0].numel(),
    "masked_select": lambda x: x * x.masked_select(x > 0.3).numel(),
    "unique": lambda x: x * len((x > 0.3).sum(1).unique()),
    "bincount": lambda x: x * len(torch.bincount((x > 0.3).sum(1))),
    "repeated": lambda x: x * len(x.repeat_interleave((x[:, 0] > 0.3).long(), 0)),
    "mask that was written": masked_by_a_write,
}
STEERED = {
    "seed": seeded,
    "state": same_noise_twice,
    "generator": lambda x: x + torch.randn(5, generator=OWN.manual_seed(1)),
    "Sobol": lambda x: x + SOBOL.reset().draw(5).squeeze(-1),
}
REASONS = {
    **dict.fromkeys(TAKEN_OUT, "takes values out of a tensor"),
    **dict.fromkeys(SHAPES, "the shape of what .* depends on values"),
    **dict.fromkeys(STEERED, "sets the seed or state|generator of its own"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_a_graph_cannot_repeat_is_refused_with_the_reason(name):
    program = {**TAKEN_OUT, **SHAPES, **STEERED}[name]
    assert not torch.equal(program(ROWS), program(OTHER))
    with pytest.raises(UntraceableError, match=REASONS[name]):
        flatten(program, (ROWS,))


FINE = {
    "constant out": lambda x: x + sum(torch.tensor([1.0, 2.0]).tolist()) + torch.arange(3).numpy().sum(),
    "constant mask": lambda x: x[:5][UPPER] + torch.ones(3, 3).triu().nonzero().sum(),
    "mask made inside": lambda x: x[:5][torch.ones(5, 5).tril().bool()],
    "numbers": lambda x: x[x.sum(1).argsort()][:, [0, 2]],
    "mask of one shape": lambda x: torch.where(x > 0, x, 0.0).masked_fill(x > 1.0, 7.0),
    "written by a mask": lambda x: torch.index_put(x, (x > 0,), torch.tensor(2.0)),
    "repeated by a number": lambda x: x.repeat_interleave(2, 0),
    "draws": lambda x: nn.functional.dropout(x + torch.randn(5), 0.5) + dist.Gamma(x.exp(), 1.0).rsample(),
    "several": lambda x: x + torch.func.vmap(lambda row: row + torch.randn(5), randomness="different")(x),
}


@pytest.mark.parametrize("name", FINE)
def test_the_rest_is_traced_and_repeated(name):
    with pyro.validation_enabled(False):
        run = flatten(FINE[name], (ROWS,))
        torch.manual_seed(3)
        expected = FINE[name](OTHER)
        torch.manual_seed(3)
        assert torch.equal(run(OTHER), expected)


class Sequences(Pair):
    """x | z ~ N(z + s, 1), s the mean of the first values of a row, as many as ``lengths`` says, by NumPy or a mask."""

    def __init__(self, way):
        super().__init__()
        self.way, self.slope = way, nn.Parameter(torch.tensor(0.3))

    def shift(self, x, lengths):
        if self.way == "NumPy":
            counts = [int(n) for n in lengths.numpy()]
            return torch.stack([row[:n].mean() for row, n in zip(x, counts, strict=True)])
        if self.way == "mask":
            seen = torch.arange(x.shape[1]) < lengths.unsqueeze(-1)
            return self.slope * x[seen].sum() / len(x[seen])
        return x.mean(1)

    @pyro_method
    def model(self, x, lengths):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            mean = (z + self.slope * self.shift(x, lengths)).unsqueeze(-1).expand(*z.shape, x.shape[-1])
            pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x, lengths):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.slope * x.mean(1), 0.5))


class Seeded(Sequences):
    @pyro_method
    def guide(self, x, lengths):
        return poutine.seed(super().guide, rng_seed=2)(x, lengths)


@pytest.mark.parametrize("build", [lambda: Sequences("NumPy"), lambda: Sequences("mask"), lambda: Seeded("all")])
def test_steps_on_batches_with_other_values_are_the_eager_ones(build):
    losses = {}
    for mode in ("eager", "traced"):
        torch.manual_seed(0)
        pair = build()
        step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.01), compile=mode)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            losses[mode] = [float(step(ROWS * k, torch.full((6,), k))) for k in (1, 2, 3)]
        assert len(said) == (mode == "traced")
    assert losses["traced"] == losses["eager"]


def test_log_likelihoods_of_such_a_program_are_those_of_each_datum():
    pair, lengths = Sequences("NumPy").double(), torch.tensor([1, 2, 3, 4, 5, 1])
    x = ROWS.double()
    options = {"proposal": "guide", "seed": 0, "progress": False, "max_bytes": 1}
    expected = log_likelihood(pair, (x, lengths), 50, compile="eager", **options)
    with pytest.warns(UserWarning, match=r"evaluated eagerly: .*numpy takes values out of a tensor"):
        found = log_likelihood(pair, (x, lengths), 50, compile="traced", **options)
    assert torch.equal(found.values, expected.values)
