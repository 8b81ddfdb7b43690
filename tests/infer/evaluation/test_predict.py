"""Draws, reconstructions and diagnostics of data of every kind, with sites of any name."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import active_units, classification_error, posterior_means, reconstruct, sample, sample_means
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


class Shifted(Pair):
    """z ~ N(0, 1), pixels | z, c ~ N(2 z + c, 0.5), with a count that is observed too."""

    def __init__(self, counts=False):
        super().__init__()
        self.scale, self.counts = nn.Parameter(torch.tensor(2.0)), counts

    @pyro_method
    def model(self, pixels, c=None):
        with pyro.plate("data", len(pixels)):
            z = pyro.sample("code", dist.Normal(0.0, 1.0))
            if self.counts:
                pyro.sample("count", dist.Poisson(3.0 + z * 0.0), obs=torch.ones(len(pixels)))
            pyro.factor("bonus", 0.1 * z)
            shift = 0.0 if c is None else c
            pyro.sample("pixels", dist.Normal(self.scale * z + shift, 0.5), obs=pixels)

    @pyro_method
    def guide(self, pixels, c=None):
        with pyro.plate("data", len(pixels)):
            pyro.sample("code", dist.Delta(pixels))
            if self.counts:
                pyro.sample("kind", dist.Categorical(torch.tensor([0.2, 0.8])).expand([len(pixels)]))


def vae():
    torch.manual_seed(0)
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [], 5)), GaussianPosterior(mlp(5, [], 4)))


def test_a_number_of_draws_and_their_distribution():
    pair = Shifted()
    draws = sample(pair, 40_000)
    assert draws.shape == (40_000,)
    assert draws.mean().item() == pytest.approx(0.0, abs=0.05)
    assert draws.var().item() == pytest.approx(4.25, rel=0.03)  # 2^2 + 0.5^2
    means = sample_means(pair, 40_000)
    assert means.var().item() == pytest.approx(4.0, rel=0.03)
    binary = sample(vae(), 16)
    assert binary.shape == (16, 5)
    assert ((binary == 0) | (binary == 1)).all()
    z = torch.linspace(-1.0, 1.0, 4)
    assert torch.equal(sample_means(pair, 4, {"code": z}), 2 * z)
    c = torch.tensor([100.0, 200.0, 300.0])
    assert torch.allclose(sample(pair, (torch.zeros(3), c)), c, atol=30.0)


def test_the_observed_site_is_found_or_named():
    pair, x = Shifted(counts=True), torch.linspace(-1.0, 1.0, 7)
    assert torch.allclose(reconstruct(pair, x), 2 * x)
    assert reconstruct(pair, x, site="count").tolist() == [3.0] * 7
    assert sample(pair, x, site="count").shape == (7,)
    with pytest.raises(ValueError, match="site must be one of the observed sites count, pixels, got 'code'"):
        sample(pair, x, site="code")


def test_given_values_are_those_of_the_data_however_they_come():
    pair, z = Shifted(), torch.randn(7)
    stream = DataLoader(TensorDataset(torch.zeros(7)), 3)
    for like in (7, torch.zeros(7), stream):
        assert torch.equal(sample_means(pair, like, {"code": z}), 2 * z)
        assert torch.equal(sample_means(pair, like, {"code": z[:1]}), 2 * z[:1].expand(7))
        assert torch.equal(sample_means(pair, like, {"code": z[0]}), 2 * z[:1].expand(7))
        for rows in (2, 3, 6, 9):
            with pytest.raises(ValueError, match=rf"^given\['code'\] must have a row for each of the .* got {rows}$"):
                sample_means(pair, like, {"code": torch.zeros(rows)})


WRONG = {  # given for z [4, 2], and what is said of it
    "shape": (
        lambda: torch.zeros(4, 3),
        ValueError,
        r"given\['z'\] must have shape \[4, 2\], or \[1, 2\] .* got \[4, 3\]$",
    ),
    "no event": (lambda: torch.zeros(()), ValueError, r"given\['z'\] must have shape \[4, 2\], .* got \[\]$"),
    "further dimension": (
        lambda: torch.zeros(5, 4, 2),
        ValueError,
        r"given\['z'\] must have shape .* got \[5, 4, 2\]$",
    ),
    "rows": (lambda: torch.zeros(3, 2), ValueError, r"given\['z'\] must have a row for each of the 4 data, .* got 3$"),
    "whole numbers": (
        lambda: torch.zeros(4, 2, dtype=torch.int64),
        TypeError,
        r"given\['z'\] must be of dtype .* got torch.int64",
    ),
    "NaN": (
        lambda: torch.full((4, 2), torch.nan),
        ValueError,
        r"given\['z'\] must be finite, got NaN or infinite values$",
    ),
    "infinite": (
        lambda: torch.full((1, 2), torch.inf),
        ValueError,
        r"given\['z'\] must be finite, got NaN or infinite",
    ),
    "list": (lambda: [[0.0, 0.0]] * 4, TypeError, r"given\['z'\] must be a tensor or a function, got list$"),
    "None": (lambda: None, TypeError, r"given\['z'\] must be a tensor or a function, got NoneType$"),
    "complex": (lambda: 1j * torch.ones(4, 2), TypeError, r"given\['z'\] must be of real numbers, got torch.complex"),
    "shape made": (lambda: lambda z: z[:, :1], ValueError, r"given\['z'\] must have shape \[4, 2\], .* got \[4, 1\]$"),
    "list made": (lambda: lambda z: z.tolist(), TypeError, r"the result of given\['z'\] must be a tensor, got \[\["),
    "dtype made": (lambda: lambda z: z > 0, TypeError, r"given\['z'\] must be of dtype .* got torch.bool"),
    "NaN made": (lambda: lambda z: z / 0 * 0, ValueError, r"the result of given\['z'\] must be finite, got NaN"),
    "error": (lambda: lambda z: z @ z, RuntimeError, "cannot be multiplied"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_given_value_is_said_of_it(name):
    make, kind, message = WRONG[name]
    stream = DataLoader(TensorDataset(torch.zeros(4, 5)), 4)
    for draw in (sample, sample_means):
        for like in (4, torch.zeros(4, 5), stream):
            with pytest.raises(kind, match=message) as caught:
                draw(vae(), like, {"z": make()})
            assert name != "error" or caught.value.__notes__[0].startswith("given['z'] was called with a draw")


def test_given_values_are_of_other_sites_than_the_one_that_is_meant():
    pair, x = Shifted(counts=True), torch.linspace(-1.0, 1.0, 7)
    for draw in (sample, sample_means):
        for value in (x, lambda drawn: drawn):
            with pytest.raises(
                ValueError, match=r"^given\['pixels'\] must be of a site other than 'pixels', whose draws"
            ):
                draw(pair, x, {"pixels": value}, site="pixels")
            assert draw(pair, x, {"pixels": value}, site="count").shape == (7,)
        with pytest.raises(TypeError, match=r"^given must be a dict from names of sites to values, got \['code'\]"):
            draw(pair, x, ["code"])


def test_a_model_that_needs_data_says_so():
    class Needy(Shifted):
        @pyro_method
        def model(self, pixels):
            with pyro.plate("data", len(pixels)):
                pyro.sample("pixels", dist.Normal(pixels[:, 0], 1.0), obs=pixels[:, 0])

    with pytest.raises(TypeError, match="like must be data for this model, which cannot run on a number of draws"):
        sample(Needy(), 3)
    with pytest.raises(IndexError) as caught:
        sample(Needy(), torch.zeros(3))
    assert caught.value.__notes__[0].startswith("like: model and guide were called with ([3])")
    assert sample(Needy(), torch.zeros(3, 2)).shape == (3,)
    with pytest.raises(ValueError, match="like must be at least 1, got 0"):
        sample(Shifted(), 0)


def test_every_kind_of_data_gives_the_same():
    pair = vae()
    x = (torch.rand(11, 5) < 0.5).to(torch.float64)
    kinds = [x.bool(), x.byte(), x.float(), x.numpy(), x.bool().numpy(), Split(x), (x,), {"x": x}, TensorDataset(x)]
    kinds += [DataLoader(TensorDataset(x), 4)]
    means, units = posterior_means(pair, x)["z"], active_units(pair, x)
    for data in kinds:
        found = posterior_means(pair, data, batch_size=4)["z"]
        assert torch.allclose(found, means), type(data)
        assert active_units(pair, data) == units
        assert reconstruct(pair, data).shape == (11, 5)
    with pytest.raises(TypeError, match=r"x must be one split of the data set, such as data\.test"):
        reconstruct(pair, Dataset.from_tensors(x, x))
    with pytest.raises(ValueError, match="x must hold at least two data, got 1"):
        active_units(pair, x[:1])


def test_labels_are_as_many_as_the_data():
    pair, x = Shifted(counts=True), torch.zeros(5)
    labels = torch.tensor([1, 1, 1, 0, 1])
    assert classification_error(pair, x, labels, "kind", batch_size=2) == pytest.approx(0.2)
    assert classification_error(pair, DataLoader(TensorDataset(x), 3), labels.numpy(), "kind") == pytest.approx(0.2)
    for wrong in (labels[:4], labels.repeat(2)):
        with pytest.raises(ValueError, match="labels must be as many as the data"):
            classification_error(pair, x, wrong, "kind", batch_size=2)


def test_a_pair_without_parameters_is_read():
    class Known(nn.Module):
        def forward(self, *args):
            return args[-1].new_zeros(*args[-1].shape[:-1], 4)

    pair = VAE(StandardNormal(2), BernoulliLikelihood(Known()), GaussianPosterior(Known()))
    x = torch.zeros(3, 4)
    assert active_units(pair, x) == {"z": 0}
    assert torch.equal(reconstruct(pair, x), torch.full((3, 4), 0.5))
