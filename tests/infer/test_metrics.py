import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import active_units, knn_error, posterior_means, reconstruct, sample, unit_variances
from pyrodgm.models import Pair


class Known(Pair):
    """q(z | x) has mean (x0, 0.05 x1, 7), so one unit is active; x | z ~ N(2 z + 1, 1)."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0, 0.05, 0.0]))
        self.noise = 1.0

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor([0.0, 0.0, 7.0]), 1e-6).to_event(1))
            pyro.sample("x", dist.Normal(2 * z + 1, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.slope * x + torch.tensor([0.0, 0.0, 7.0]), 1e-6).to_event(1))


def test_posterior_means_and_active_units():
    x = torch.randn(2500, 3)
    pair = Known()
    means = posterior_means(pair, x, batch_size=999)["z"]
    assert torch.allclose(means, torch.stack([x[:, 0], 0.05 * x[:, 1], torch.full((2500,), 7.0)], 1))
    assert torch.allclose(unit_variances(pair, x)["z"], means.var(0))
    assert active_units(pair, x) == {"z": 1}
    assert active_units(pair, x, threshold=1e-3) == {"z": 2}
    with pytest.raises(ValueError, match="at least two data"):
        active_units(pair, x[:1])


def test_reconstructions_come_from_the_guide_and_samples_from_the_prior():
    pair, x = Known(), torch.randn(5, 3)
    assert torch.allclose(reconstruct(pair, x), 2 * posterior_means(pair, x)["z"] + 1, atol=1e-4)
    assert torch.allclose(sample(pair, x), torch.tensor([1.0, 1.0, 15.0]).expand(5, 3), atol=1e-4)
    z = torch.randn(5, 3)
    assert torch.allclose(sample(pair, x, {"z": z}), 2 * z + 1)
    assert len(pyro.get_param_store()) == 0


def test_nearest_neighbours_by_hand():
    train = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    test = torch.tensor([[0.4], [1.6], [10.4]])
    assert knn_error(train, labels, test, torch.tensor([0, 1, 1]), k=1) == 0.0
    assert knn_error(train, labels, test, torch.tensor([0, 1, 1]), k=3) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="k must lie between 1 and the 5"):
        knn_error(train, labels, test, labels[:3], k=6)
