"""Exports against the exact posterior of a linear-Gaussian model, read back and summarised by ArviZ itself."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import log_likelihood
from pyrodgm.infer.evaluation.export import _resample
from pyrodgm.models import Pair

X = torch.tensor([0.3, -1.2, 2.0, 0.0])


class Line(Pair):
    """z ~ N(0, I₂), x | z ~ N(z₀ + z₁, 1), guided by the prior: the posterior has another mean and is correlated."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.ones(2))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(self.a), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.a, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros_like(self.a), torch.full_like(self.a, 1.2)).to_event(1))


COVARIANCE = torch.tensor([[2 / 3, -1 / 3], [-1 / 3, 2 / 3]], dtype=torch.float64)
MEAN = X.double().unsqueeze(-1) / 3


def test_posterior_holds_draws_of_the_posterior():
    result = log_likelihood(Line(), X, 20_000, proposal="guide", seed=5, keep=True, config={"latent": 2})
    tree = result.to_datatree()
    draws = torch.as_tensor(tree["posterior"]["z"].values)[0]
    assert draws.shape == (20_000, 4, 2)
    for i in range(len(X)):  # 4 standard errors at the effective sample size of the weights
        error = 4 * (2 / 3 / result.ess[i]).sqrt()
        assert (draws[:, i].mean(0) - MEAN[i]).abs().max() < error
        assert (torch.cov(draws[:, i].T) - COVARIANCE).abs().max() < 2 * error
    given = dist.Normal(draws.sum(-1), 1.0).log_prob(X)
    assert np.allclose(tree["log_likelihood"]["x"].values[0], given)
    lag = draws[1:, 0, 0] - draws[:, 0, 0].mean()
    assert abs((lag[1:] * lag[:-1]).mean()) < 4 / 20_000**0.5  # in random order, so that no trace shows a trend


def test_guide_keeps_its_own_draws_and_weights():
    result = log_likelihood(Line(), X, 30, proposal="guide", seed=5, keep=True)
    tree = result.to_datatree()
    assert np.allclose(tree["guide"]["z"].values[0], result.draws["z"])
    assert np.allclose(tree["guide_stats"]["log_weight"].values[0], result.log_weights)
    assert np.allclose(tree["guide_stats"]["log_likelihood"].values[0], result.pointwise)
    wide = dist.Normal(0.0, 1.2).log_prob(result.draws["z"]).sum(-1)
    joint = dist.Normal(0.0, 1.0).log_prob(result.draws["z"]).sum(-1) + result.pointwise
    assert torch.allclose(joint - wide, result.log_weights)
    assert np.allclose(tree["observed_data"]["x"].values, X)
    assert np.allclose(tree["importance"]["k_hat"].values, result.k_hat)
    assert tree["guide"]["z"].dims == ("chain", "draw", "datum", "z_dim_0")
    assert tree.attrs["model"] == "Line"
    assert tree.attrs["seed"] == 5
    assert {type(value) for value in tree.attrs.values()} <= {str, int}  # subclasses have no place in files


def test_without_kept_draws_only_what_each_datum_has():
    tree = log_likelihood(Line(), X, 30).to_datatree()
    assert set(tree.children) == {"observed_data", "importance"}


@pytest.mark.parametrize("few", [1, 2, 24])
def test_few_draws_are_resampled_by_their_weights_as_they_are(few):
    log_weights = torch.full((few, 3), -1e4)
    log_weights[0] = 0.0
    assert (_resample(log_weights) == 0).all()
    tree = log_likelihood(Line(), X, few, keep=True).to_datatree()
    assert tree["posterior"]["z"].shape == (1, few, 4, 2)


def test_equal_weights_keep_every_draw_once():
    assert (_resample(torch.zeros(100, 5)).sort(0).values == torch.arange(100).unsqueeze(-1)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_dtypes_are_exported(dtype):
    tree = log_likelihood(Line().to(dtype), X.to(dtype), 30, keep=True).to_datatree()
    assert tree["posterior"]["z"].dtype == tree["observed_data"]["x"].dtype == np.float32


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["h5netcdf", "zarr"])
def test_written_read_back_and_summarised(engine, tmp_path):
    import arviz_stats
    import xarray

    tree = log_likelihood(Line(), X, 4000, seed=1, keep=True, config={"latent": 2}).to_datatree()
    path = tmp_path / f"export.{engine}"
    if engine == "zarr":
        tree.to_zarr(path, consolidated=False)
    else:
        tree.to_netcdf(path, engine=engine)
    options = {"consolidated": False} if engine == "zarr" else {}
    with xarray.open_datatree(path, engine=engine, **options) as back:
        assert set(back.children) == {
            "posterior",
            "log_likelihood",
            "guide",
            "guide_stats",
            "observed_data",
            "importance",
        }
        assert np.array_equal(back["posterior"]["z"].values, tree["posterior"]["z"].values)
        assert back.attrs["config"] == "{'latent': 2}"
        summary = arviz_stats.summary(back, var_names=["z"], round_to="none")
        means = summary["mean"].to_numpy().reshape(4, 2)
        assert np.allclose(means, MEAN, atol=0.15)
        assert np.allclose(summary["sd"].to_numpy(), (2 / 3) ** 0.5, atol=0.1)
        assert arviz_stats.ess(back)["z"].shape == (4, 2)
        assert arviz_stats.hdi(back)["z"].shape == (4, 2, 2)
