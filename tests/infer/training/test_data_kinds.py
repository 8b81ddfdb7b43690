"""Data of every kind train as the same numbers in a tensor do."""

import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from regressions import QUIET, SGD, Counts, Listed, Regression, Streamed, columns, trained
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.datasets import Dataset
from pyrodgm.infer import (
    FitSettings,
    fit,
    log_likelihood,
)
from pyrodgm.models import Pair


def least_squares(y, c):
    design = torch.stack([c, torch.ones_like(c)], 1)
    return torch.linalg.lstsq(design, y[:, None]).solution[:, 0]


@pytest.mark.slow
def test_every_kind_trains_as_the_tensors_do():
    y, c = columns()
    bounds, pair = trained((y, c))
    kinds = {
        "arrays": (y.numpy(), c.numpy()),
        "float32": [y.numpy().astype(">f4"), c],
        "keywords": {"y": y, "c": c},
        "keywords in another order": {"c": c.float(), "y": y.numpy()},
        "torch data set": Listed(y, c),
        "tensor data set": TensorDataset(y, c),
        "loader": DataLoader(TensorDataset(y, c), batch_size=24, shuffle=True),
        "loader of arrays": DataLoader(Listed(y.numpy(), c.numpy()), batch_size=24, num_workers=1),
        "loader of dicts": DataLoader([{"y": a, "c": b} for a, b in zip(y, c, strict=True)], batch_size=24),
    }
    for name, data in kinds.items():
        found, other = trained(data)
        assert found == pytest.approx(bounds, rel=1e-6), name
        assert other.w.item() == pytest.approx(pair.w.item(), rel=1e-5), name
    found, _ = trained(Streamed(y, c), FitSettings(steps_per_epoch=1, progress=False))
    assert found == pytest.approx(bounds, rel=1e-12)
    _, pair = trained((y, c), epochs=60)
    w, b = least_squares(y, c)
    assert (pair.w.item(), pair.b.item()) == pytest.approx((w.item(), b.item()), rel=1e-4)


def test_missing_values_are_left_to_the_mask_of_the_model():
    y, c = columns()
    mask = torch.arange(24) % 3 > 0
    holes = torch.where(mask, y, math.nan)
    _, pair = trained({"y": holes, "c": c, "mask": mask}, epochs=80)
    w, b = least_squares(y[mask], c[mask])
    assert (pair.w.item(), pair.b.item()) == pytest.approx((w.item(), b.item()), rel=1e-3)
    with pytest.raises(
        ValueError, match=r"support of site 'y', Real\(\) of Normal, got values from nan to nan in row 0"
    ):
        trained((holes, c))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.uint8])
def test_counts_and_symbols_of_any_dtype(dtype):
    x = torch.tensor([0, 1, 1, 2, 2, 2]).to(dtype)
    pair = Counts(lambda raw: dist.Categorical(logits=raw))
    fit(pair, x, epochs=100, optimizer=partial(torch.optim.SGD, lr=2.0), settings=QUIET)
    assert pair.raw.softmax(0).tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=1e-3)
    pair = Counts(lambda raw: dist.Poisson(raw[0].exp()))
    fit(pair, x, epochs=30, optimizer=partial(torch.optim.SGD, lr=0.5), settings=QUIET)
    assert pair.raw[0].exp().item() == pytest.approx(8 / 6, abs=1e-3)


class CountVAE(Pair):
    """Counts that a network reads, which must multiply them, beside classes, which index."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.encoder, self.decoder, self.classes = nn.Linear(3, 2), nn.Linear(1, 3), nn.Embedding(2, 1)

    @pyro_method
    def model(self, x, kind):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([1]).to_event(1)) + self.classes(kind)
            pyro.sample("x", dist.Poisson(self.decoder(z).exp()).to_event(1), obs=x)

    @pyro_method
    def guide(self, x, kind):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc + 0.0 * self.classes(kind), raw.exp()).to_event(1))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tuple", "dict", "array", "loader"])
def test_counts_that_a_network_reads_become_real_and_classes_stay_whole(form):
    x, kind = torch.tensor([[3, 0, 1], [2, 5, 0], [0, 0, 1], [1, 2, 2]]), torch.tensor([0, 1, 1, 0])
    wrap = {
        "tuple": lambda x: (x, kind),
        "dict": lambda x: {"x": x, "kind": kind},
        "array": lambda x: (x.numpy(), kind.numpy()),
        "loader": lambda x: DataLoader(TensorDataset(x, kind), batch_size=4),
    }[form]
    whole, real = CountVAE(), CountVAE()
    bounds = [fit(p, wrap(v), epochs=3, settings=QUIET).metrics for p, v in ((whole, x), (real, x.double()))]
    assert bounds[0] == bounds[1]
    values = [log_likelihood(whole, wrap(v), 200, seed=1).values for v in (x, x.double())]
    assert torch.equal(*values)


def test_read_only_arrays_are_taken_in_silence(tmp_path, recwarn):
    y, c = columns()
    np.save(tmp_path / "y.npy", y.numpy())
    assert trained((np.load(tmp_path / "y.npy", mmap_mode="r"), c))[0] == trained((y, c))[0]
    assert not recwarn


@pytest.mark.parametrize("kind", [lambda *p: p, lambda *p: DataLoader(TensorDataset(*p), 10), TensorDataset])
def test_validation_data_of_any_kind_choose_the_weights(kind):
    y, c = columns()
    settings = FitSettings(progress=False, valid=kind(y + 1.0, c))
    pair = Regression()
    result = fit(pair, (y, c), epochs=4, patience=4, optimizer=SGD, batch_size=24, settings=settings)
    best = result.metrics[result.best_epoch - 1]
    expected = dist.Normal(pair.w * c + pair.b, 1.0).log_prob(y + 1.0).mean().item()
    assert best["valid_bound"] == pytest.approx(expected, rel=1e-12) == result.best_bound


def state_of(pair):
    return torch.stack([pair.w, pair.b]).detach()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "workers"), [("shuffled", 0), ("generator", 0), ("generator", 1), ("stream", 0), ("stream", 1)]
)
def test_a_stream_that_is_cut_off_goes_on_where_it_was(kind, workers, tmp_path):
    """Epochs of four steps on passes of three batches; the stream draws random numbers of its own."""
    y, c = columns(25)

    def loader():
        data = Streamed(y, c, noise=0.1) if kind == "stream" else TensorDataset(y, c)
        generator = torch.Generator().manual_seed(7) if kind == "generator" else None
        return DataLoader(data, 10, shuffle=kind != "stream", generator=generator, num_workers=workers)

    settings = FitSettings(steps_per_epoch=4, progress=False)
    _, whole = trained(loader(), settings, epochs=3)
    for epochs in (2, 3):  # cut off in the third pass, before its last batch
        _, pair = trained(loader(), settings, epochs=epochs, run_dir=tmp_path, resume=True)
    assert torch.equal(state_of(pair), state_of(whole))


class Drawn(Listed):
    """Draws from NumPy's random numbers, which no seed of a run covers."""

    def __getitem__(self, i):
        return tuple(part[i] + 0.1 * np.random.standard_normal() for part in self.parts)


@pytest.mark.slow
def test_another_stream_of_the_same_length_is_not_resumed(tmp_path):
    y, c = columns(25)
    pairs = {
        "shuffled": (Listed(y, c), Listed(y + 1, c)),
        "generator": (
            DataLoader(Listed(y, c), 10, shuffle=True, generator=torch.Generator().manual_seed(1)),
            DataLoader(Listed(y, -c), 10, shuffle=True, generator=torch.Generator().manual_seed(1)),
        ),
        "stream": (Streamed(y, c, noise=0.1), Streamed(y, c, noise=0.2)),
    }
    for name, (data, other) in pairs.items():
        options = {"batch_size": 10, "run_dir": tmp_path / name, "resume": True}
        settings = FitSettings(steps_per_epoch=2, progress=False)
        for epochs in (1, 2):  # the same objects, one pass later
            trained(data, settings, epochs=epochs, **options)
        with pytest.raises(ValueError, match=r"first_batch: was '.*', is '"):
            trained(other, settings, epochs=3, **options)


def test_of_a_stream_that_is_never_the_same_that_is_said(tmp_path):
    options = {"batch_size": 10, "run_dir": tmp_path, "resume": True}
    trained(Drawn(*columns(25)), epochs=1, **options)
    with pytest.warns(UserWarning, match=r"first_batch \(other values each time it is read\) is the same"):
        trained(Drawn(*columns(25)), epochs=2, **options)


def test_max_steps_end_training_in_the_middle_of_a_pass(tmp_path):
    y, c = columns()
    settings = FitSettings(max_steps=7, progress=False)
    result = fit(Regression(), (y, c), batch_size=6, optimizer=SGD, settings=settings)
    assert [row["step"] for row in result.metrics] == [4, 7]
    stream = fit(Regression(), Streamed(y, c), batch_size=6, optimizer=SGD, settings=settings)
    assert [row["step"] for row in stream.metrics] == [7]
    with pytest.raises(ValueError, match="epochs must be given where settings have no max_steps"):
        fit(Regression(), (y, c))


class Batched(Pair):
    """Batch normalisation in the guide, which needs two data at least."""

    def __init__(self):
        super().__init__()
        self.norm, self.net = nn.BatchNorm1d(2), nn.Linear(2, 2)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(self.norm(x)), 1.0).to_event(1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [11, 6, 2])
@pytest.mark.parametrize("kind", ["tensor", "data set", "torch data set", "stream"])
def test_a_last_batch_of_one_joins_the_one_before_it(kind, count):
    x = torch.rand(count, 2)
    pair = Batched()
    if kind == "data set":
        data = Dataset.from_tensors(x)
    elif kind == "torch data set":
        data = Listed(x)
    else:
        data = x if kind == "tensor" else Streamed(x)
    steps = max(1, count // 5)
    settings = FitSettings(progress=False, steps_per_epoch=steps if kind == "stream" else None)
    result = fit(pair, data, epochs=2, batch_size=5, settings=settings)
    assert result.metrics[-1]["step"] == 2 * steps
