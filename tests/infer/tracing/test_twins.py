"""Which attributes of two modules of the same make may be the same constants of a graph."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.infer.tracing.attributes import Attributes


class Pair(nn.Module):
    """Has a part whose weights are drawn, and an attribute."""

    def __init__(self, make, number):
        super().__init__()
        self.net = nn.Linear(2, 2)
        self.held = make(self, number)


class Scaled:
    def __init__(self, scale):
        self._scale = scale

    def __call__(self, z):
        return self._scale * z


def filled(number):
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, number)
    nn.init.zeros_(net.bias)
    return net


def scaled_by(held):
    return lambda z: held(z) if callable(held) else held * z


def categorical(number, looked_at):
    fn = dist.Categorical(logits=torch.tensor([0.0, number]))
    if looked_at:
        fn.probs  # noqa: B018 - which it keeps
    return fn


BY_NUMBER = {
    "closure": lambda pair, number: lambda z: number * z,
    "default": lambda pair, number: lambda z, scale=number: scale * z,
    "partial": lambda pair, number: partial(torch.mul, number),
    "method": lambda pair, number: Scaled(number).__call__,
    "object": lambda pair, number: Scaled(number),
    "object in object": lambda pair, number: SimpleNamespace(inner=Scaled(SimpleNamespace(scale=number))),
    "distribution": lambda pair, number: dist.Normal(torch.zeros(2), number).to_event(1),
    "transformed": lambda pair, number: dist.LogNormal(0.0, number),
    "transform": lambda pair, number: dist.transforms.AffineTransform(0.0, number),
    "parameters": lambda pair, number: categorical(number, False),
    "module of no part": lambda pair, number: [filled(number)],
    "module in a closure": lambda pair, number: scaled_by(filled(number)),
    "array in a closure": lambda pair, number: scaled_by(np.ones(2) * number),
}
ALIKE = {
    "own part": lambda pair, number: lambda z: pair.net(z),
    "method of own part": lambda pair, number: pair.net.forward,
    "own parameter": lambda pair, number: partial(torch.mul, pair.net.weight),
    "kept results": lambda pair, number: categorical(0.5, number == 1.0),
    "generator": lambda pair, number: torch.Generator().manual_seed(int(number)),
    "lock": lambda pair, number: iter([number]),
}


def differs(make, second):
    return Attributes({"": Pair(make, 1.0)}).difference_of_twin(Attributes({"": Pair(make, second)}))


@pytest.mark.parametrize("kind", BY_NUMBER)
def test_what_a_graph_would_keep_of_one_of_them_is_told(kind):
    assert differs(BY_NUMBER[kind], 1.0) is None
    assert differs(BY_NUMBER[kind], 2.0).startswith("held")


@pytest.mark.parametrize("kind", ALIKE)
def test_what_belongs_to_each_or_does_not_count_is_alike(kind):
    assert differs(ALIKE[kind], 2.0) is None
