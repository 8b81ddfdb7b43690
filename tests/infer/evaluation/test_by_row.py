"""Log-likelihoods of data of several arguments, of whole numbers, in arrays and streams, against closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.datasets import Split
from pyrodgm.infer import log_likelihood
from pyrodgm.models import Pair

D = 2


class Regression(Pair):
    """y | z, c ~ Normal(z + w c, 1) with z ~ Normal(0, 1), so that y | c ~ Normal(w c, 2)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(0.7))

    @pyro_method
    def model(self, y, c, *, mask=None):
        with pyro.plate("data", len(y), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(D), 1.0).to_event(1))
            fn = dist.Normal(z + self.w * c, 1.0)
            fn = fn.to_event(1) if mask is None else fn.mask(mask).to_event(1)
            pyro.sample("y", fn, obs=y if mask is None else torch.where(mask, y, 0.0))

    @pyro_method
    def guide(self, y, c, *, mask=None):
        with pyro.plate("data", len(y), dim=-1):
            known = 1.0 if mask is None else mask.to(y)
            mean = torch.where(known > 0, y - self.w * c, 0.0) / 2 if mask is not None else (y - self.w * c) / 2
            pyro.sample("z", dist.Normal(mean, (1.0 + known) ** -0.5 if mask is not None else 0.75).to_event(1))


def columns(count=7):
    generator = torch.Generator().manual_seed(0)
    y, c = torch.randn(2, count, D, generator=generator)
    return y, c, dist.Normal(0.7 * c, math.sqrt(2.0)).log_prob(y)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["guide", "refined"])
def test_every_kind_of_data_with_a_covariate(proposal):
    y, c, exact = columns()
    kinds = (
        (y, c),
        [y.numpy().astype(">f4"), c],
        {"c": c, "y": y},
        TensorDataset(y, c),
        DataLoader([{"y": a, "c": b} for a, b in zip(y, c, strict=True)], batch_size=3),
    )
    options = {"proposal": proposal, "seed": 0, "progress": False}
    results = [log_likelihood(Regression(), data, 2000, compile="eager", **options) for data in kinds]
    results.append(log_likelihood(Regression(), kinds[0], 2000, compile="traced", **options))
    for result in results:
        assert (result.values - exact.sum(-1)).abs().max() < 0.03
        assert torch.equal(result.values.round(decimals=3), results[0].values.round(decimals=3))
        assert result.attributes["model"] == "Regression"
        assert bool((result.stage > 0).all()) == (proposal == "refined")
    assert torch.equal(results[0].x, y)


def test_missing_values_that_a_mask_tells():
    y, c, exact = columns()
    mask = torch.arange(7 * D).reshape(7, D) % 3 > 0
    data = {"y": torch.where(mask, y, math.nan), "c": c, "mask": mask}
    result = log_likelihood(Regression(), data, 4000, seed=0, progress=False)
    assert (result.values - torch.where(mask, exact, 0.0).sum(-1)).abs().max() < 0.03


class Symbols(Pair):
    """x | z ~ Categorical with z ~ Normal(0, 1)."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(2, 5, generator=torch.Generator().manual_seed(1)))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("symbols", dist.Categorical(logits=self.w[0] + z.unsqueeze(-1) * self.w[1]), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.5 * self.w[1][x], 1.0))


def test_symbols_of_any_whole_dtype():
    pair, x = Symbols(), torch.tensor([0, 1, 4, 2])
    z = torch.linspace(-9, 9, 20001)
    logits = pair.w[0].detach() + z.unsqueeze(-1) * pair.w[1].detach()
    joint = dist.Normal(0.0, 1.0).log_prob(z).unsqueeze(-1) + logits.log_softmax(-1)
    exact = torch.trapezoid(joint.exp(), z, dim=0).log()[x]
    for data in (x, x.int(), x.numpy(), x.numpy().astype(np.int16), DataLoader(x, batch_size=2)):
        result = log_likelihood(pair, data, 5000, seed=0, compile="eager", progress=False)
        assert (result.values - exact).abs().max() < 0.03
    with pytest.raises(ValueError, match=r"x must lie in the support of site 'symbols'.*values from 7 to 7 in row 2"):
        log_likelihood(pair, x + 3, 10)


class Known(nn.Module):
    """x | z ~ Normal(z, 1) with z ~ Normal(0, 1), without parameters."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(x.shape[-1]).to(x), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.8).to_event(1))


def test_a_pair_without_parameters_and_single_arguments_of_all_kinds():
    y, _, _ = columns()
    exact = dist.Normal(0.0, math.sqrt(2.0)).log_prob(y).sum(-1)
    for data in (y, y.numpy(), y.float(), Split(y), DataLoader(y, batch_size=4), (y,)):
        result = log_likelihood(Known(), data, 2000, seed=0, compile="eager", progress=False)
        assert (result.values - exact).abs().max() < 0.03
    binary = y > 0
    options = {"proposal": "guide", "seed": 0, "compile": "eager", "progress": False}
    expected = log_likelihood(Known(), binary.to(y), 200, **options)
    for data in (binary, binary.to(torch.uint8), binary.numpy(), binary.numpy().astype(np.uint8)):
        assert torch.equal(log_likelihood(Known(), data, 200, **options).values, expected.values)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        ("images", TypeError, "x must be a tensor, a NumPy array, .* got str"),
        ((torch.ones(3, D),), TypeError, "data must be the arguments of model and guide, called as model"),
        ((torch.ones(3, D), torch.ones(2, D)), ValueError, r"x\[1\] must hold as many data as the first"),
        (np.array(["a"]), TypeError, "x must be an array of real numbers"),
        (torch.ones(0, D), ValueError, r"x must hold at least one datum, got shape \[0, 2\]"),
        (torch.tensor(1.0), ValueError, r"x must hold at least one datum, got shape \[\]"),
        (DataLoader([]), ValueError, "x must hold at least one datum"),
    ],
)
def test_what_is_no_data_is_refused(data, kind, message):
    with pytest.raises(kind, match=message):
        log_likelihood(Regression(), data, 10)
