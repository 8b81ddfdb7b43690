"""Plates beside that of the data: what is reported of sites in them, and of sites outside the data plate."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.infer import (
    active_units,
    log_likelihood,
    posterior_means,
    posterior_samples,
    reconstruct,
    sample,
    sample_means,
    unit_variances,
)
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.models import Pair

SLOPE, SPREAD = 0.5, 0.7


class Repeated(Pair):
    """z_t ~ N(0, 1), x_t ~ N(2 z_t + 1, 1) and q(z_t | x) = N(x_t / 2, 0.7) for T numbers a datum, to its left."""

    def __init__(self, skipped=1, event=()):
        super().__init__()
        self.slope, self.skipped, self.event = nn.Parameter(torch.tensor(SLOPE)), skipped, event

    def normal(self, loc, scale):
        return dist.Normal(loc, scale).to_event(len(self.event))

    def rows(self, x):
        moved = x.movedim(0, x.dim() - 1 - len(self.event))
        return moved.reshape(moved.shape[0], *[1] * (self.skipped - 1), *moved.shape[1:])

    def plates(self, x):
        count = x.shape[1] if x.dim() > 1 else 3
        return pyro.plate("data", len(x), dim=-1), pyro.plate("time", count, dim=-1 - self.skipped)

    @pyro_method
    def model(self, x):
        data, time = self.plates(x)
        with data, time:
            z = pyro.sample("z", self.normal(torch.zeros(self.event), 1.0))
            obs = self.rows(x) if x.dim() > 1 else x.new_zeros(()).expand(z.shape)
            pyro.sample("x", self.normal(2 * z + 1, 1.0), obs=obs)

    @pyro_method
    def guide(self, x):
        data, time = self.plates(x)
        with data, time:
            pyro.sample("z", self.normal(self.slope * self.rows(x), SPREAD))


def made(count, event=()):
    scales = torch.tensor([3.0, 1.0, 0.0]).reshape(3, *[1] * len(event))
    return torch.randn(count, 3, *event, generator=torch.Generator().manual_seed(0)) * scales


@pytest.mark.parametrize(("skipped", "event"), [(1, ()), (2, ()), (1, (2,)), (3, (2,))])
@pytest.mark.parametrize(
    "count", [3, 50, 1500, 2000]
)  # as many as units, one block, and blocks of equal or other sizes
def test_sites_in_further_plates_are_reported_datum_by_datum(count, skipped, event):
    pair, x = Repeated(skipped, event), made(count, event)
    means = posterior_means(pair, x)["z"]
    assert means.shape == (count, 3, *event)
    assert torch.allclose(means, SLOPE * x)
    assert torch.allclose(unit_variances(pair, x)["z"], (SLOPE * x).var(0))
    assert active_units(pair, x) == {"z": 4 if event else 2}
    draws = posterior_samples(pair, x)["z"]
    assert draws.shape == (count, 3, *event)
    assert abs((draws - SLOPE * x).square().mean().item() / SPREAD**2 - 1) < 5 * (2 / draws.numel()) ** 0.5
    for data in (x, DataLoader(TensorDataset(x), 700)):
        noise = reconstruct(pair, data) - (2 * SLOPE * x + 1)
        assert noise.shape == x.shape
        assert abs(noise.square().mean().item() / (2 * SPREAD) ** 2 - 1) < 5 * (2 / noise.numel()) ** 0.5
        assert sample(pair, data).shape == x.shape


def test_values_are_given_datum_by_datum():
    pair, z = Repeated(skipped=2), made(3)
    assert torch.equal(sample_means(pair, 3, {"z": z}), 2 * z + 1)
    assert torch.equal(sample_means(pair, torch.zeros(3, 3), {"z": lambda drawn: 0 * drawn + z}), 2 * z + 1)
    with pytest.raises(ValueError, match="given must be values of sample sites of the model, got 'w'"):
        sample_means(pair, 3, {"w": z})


def test_log_likelihoods_have_the_same_layout():
    pair, x = Repeated(skipped=2), made(4)
    result = log_likelihood(pair, x, 1000, keep=True, proposal="guide", seed=0, compile="eager")
    assert result.draws["z"].shape == (1000, 4, 3)
    assert torch.allclose(result.draws["z"].mean(0), SLOPE * x, atol=0.1)
    exact = dist.Normal(1.0, 5.0**0.5).log_prob(x).sum(-1)
    assert torch.allclose(result.values, exact, atol=0.5)


class Shared(Pair):
    """w of all data, topics in a plate of their own, z and y of each datum; z knows of x and y."""

    def __init__(self, alone=False):
        super().__init__()
        self.loc, self.alone = nn.Parameter(torch.zeros(2)), alone

    @pyro_method
    def model(self, x):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("topics", 5, dim=-1):
            pyro.sample("topic", dist.Normal(0.0, 1.0))
        pyro.sample("total", dist.Normal(w.sum(-1), 1.0), obs=torch.zeros(()))
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Bernoulli(0.5))
            z = 0.0 if self.alone else pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + w + y[..., None], 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        w = pyro.sample("w", dist.Normal(self.loc, 2.0).to_event(1))
        with pyro.plate("topics", 5, dim=-1):
            pyro.sample("topic", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Bernoulli(0.5))
            if not self.alone:
                pyro.sample("z", dist.Normal(x / 2 + w + 4 * y[..., None], 0.7).to_event(1))


def test_sites_of_all_data_are_left_out_and_averaged_over():
    pair, x = Shared(), torch.randn(1200, 2)
    means = posterior_means(pair, x, num_samples=150)
    assert set(means) == {"z"}
    assert torch.allclose(means["z"], x / 2 + 2.0, atol=1.2)  # of one draw of w and y it would be off by 2 on average
    assert (means["z"] - x / 2 - 2.0).mean().abs() < 0.5
    assert set(posterior_samples(pair, x)) == set(unit_variances(pair, x)) == {"z"}
    variances = torch.stack([unit_variances(pair, x, num_samples=20)["z"] for _ in range(10)])
    assert torch.allclose(variances.mean(0), (x / 2).var(0), rtol=0.15)  # w, the same for all, would take off 0.2
    assert active_units(pair, x) == {"z": 2}


def test_where_nothing_lies_in_the_data_plate_a_site_is_named():
    pair, x = Shared(alone=True), torch.randn(7, 2)
    for measure in (posterior_means, posterior_samples, unit_variances, active_units):
        with pytest.raises(ProgramError, match="site 'w' lies outside the data plate, of size 7 at dimension -1"):
            measure(pair, x)
    for draw in (reconstruct, sample, sample_means):
        with pytest.raises(ProgramError, match="site 'total' lies outside the data plate, of size 7"):
            draw(pair, x, site="total")
    assert sample(pair, x, site="x").shape == (7, 2)
