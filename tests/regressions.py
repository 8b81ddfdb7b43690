"""Pairs without latents, whose fits are known, and data for them in several forms."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import pyro_method
from torch import nn
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset

from pyrodgm.infer import (
    FitSettings,
    fit,
)
from pyrodgm.models import Pair

QUIET = FitSettings(progress=False)
SGD = partial(torch.optim.SGD, lr=0.3)


class Regression(Pair):
    """y | c ~ Normal(w c + b, 1) without latents, so that training has no noise and full batches no order."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    @pyro_method
    def model(self, y, c=None, *, mask=None):
        mean = self.b if c is None else self.w * c + self.b
        with pyro.plate("data", len(y)):
            fn = dist.Normal(mean.expand(len(y)), 1.0)
            if mask is not None:
                fn, y = fn.mask(mask), torch.where(mask, y, 0.0)
            pyro.sample("y", fn, obs=y)

    @pyro_method
    def guide(self, y, c=None, *, mask=None):
        pass


def columns(count=24):
    generator = torch.Generator().manual_seed(0)
    c = torch.randn(count, generator=generator)
    return 2.0 * c - 1.0 + 0.1 * torch.randn(count, generator=generator), c


class Listed(TorchDataset):
    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return len(self.parts[0])

    def __getitem__(self, i):
        return tuple(part[i] for part in self.parts)


class Streamed(IterableDataset):
    """Draws from PyTorch's random numbers as well, as augmentation does."""

    def __init__(self, *parts, noise=0.0):
        self.parts, self.noise = parts, noise

    def __iter__(self):
        for row in zip(*self.parts, strict=True):
            yield tuple(value + self.noise * torch.randn(()) for value in row)


def trained(data, settings=QUIET, epochs=6, **options):
    pair = Regression()
    options = {"optimizer": SGD, "batch_size": 24, **options}
    result = fit(pair, data, epochs=epochs, settings=settings, **options)
    return [row["train_bound"] for row in result.metrics], pair


class Counts(Pair):
    """x ~ a distribution of one parameter, whose maximum-likelihood value is known."""

    def __init__(self, family):
        super().__init__()
        self.raw, self.family = nn.Parameter(torch.zeros(3)), family

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("counts", self.family(self.raw), obs=x)

    @pyro_method
    def guide(self, x):
        pass
