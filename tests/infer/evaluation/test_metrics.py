import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.distributions import Hierarchical, Implicit
from pyrodgm.infer import (
    active_units,
    classification_error,
    knn_error,
    knn_errors,
    posterior_means,
    posterior_samples,
    reconstruct,
    sample_means,
    unit_variances,
)
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


class Upper(Known):
    """q(z2 | x) ~ N(x, 1) and q(z1 | x, z2) has mean (z20, z21 - x1, 0.05 x2): two of its units know something of x."""

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(self.slope * 0 + x, 1.0).to_event(1))
            loc = torch.stack([z2[..., 0], z2[..., 1] - x[..., 1], 0.05 * x[..., 2]], -1)
            pyro.sample("z1", dist.Normal(loc, 1e-6).to_event(1))


@pytest.mark.slow
def test_what_samples_of_other_sites_add_is_no_activity():
    pair, x = Upper(), torch.randn(5000, 3)
    variances = unit_variances(pair, x)
    expected = torch.tensor([1.0, 0.0, 0.0025])
    assert torch.allclose(variances["z1"], expected, atol=0.05, rtol=0.1)
    assert variances["z1"][1] < 0.01  # of one sample it would be 1
    assert torch.allclose(variances["z2"], x.var(0))
    assert active_units(pair, x, threshold=0.02) == {"z2": 3, "z1": 1}
    means = posterior_means(pair, x[:2], num_samples=4000)["z1"]
    assert torch.allclose(means, torch.stack([x[:2, 0], torch.zeros(2), 0.05 * x[:2, 2]], 1), atol=0.1)


def groups(x):
    """z0 ~ N(0, 1), and z1, z2 given z0 and x, side by side."""

    def conditional(earlier):
        if not earlier:
            return dist.Normal(torch.zeros_like(x[..., :1]), 1.0).to_event(1)
        return dist.Normal(torch.cat([earlier[0], earlier[0] + x[..., :1]], -1), 1e-6).to_event(1)

    return Hierarchical(conditional, [1, 2])


def shifted(x):
    """Means of which the last alone knows something of x."""
    return torch.cat([torch.zeros_like(x[..., 1:]), x[..., :1]], -1)


ESTIMATED = {
    "groups": groups,
    "groups under a mask": lambda x: groups(x).mask(torch.ones(len(x), dtype=torch.bool)),
    "no mean": lambda x: dist.TransformedDistribution(
        dist.Normal(0.5 * shifted(x), 0.5), [dist.transforms.AffineTransform(0.0, 2.0)]
    ).to_event(1),
    "no density": lambda x: Implicit(lambda shape: shifted(x) + torch.randn(*shape, *x.shape), [len(x)], [3]),
    "a point": lambda x: Implicit(lambda shape: shifted(x).expand(*shape, *x.shape), [len(x)], [3]),
}


@pytest.mark.parametrize("name", ESTIMATED)
def test_what_samples_within_a_site_add_is_no_activity(name):
    class One(Known):
        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("z", ESTIMATED[name](x))

    pair, x = One(), torch.randn(2000, 3)
    x[:, 0] = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    assert torch.allclose(unit_variances(pair, x)["z"], torch.tensor([0.0, 0.0, 1.0]), atol=0.02)
    means = posterior_means(pair, x[:2].repeat(500, 1))["z"].view(500, 2, 3).mean(0)
    assert torch.allclose(means, shifted(x[:2]), atol=0.1)


def test_reconstructions_come_from_the_guide_and_samples_from_the_prior():
    pair, x = Known(), torch.randn(5, 3)
    assert torch.allclose(reconstruct(pair, x), 2 * posterior_means(pair, x)["z"] + 1, atol=1e-4)
    assert torch.allclose(sample_means(pair, x), torch.tensor([1.0, 1.0, 15.0]).expand(5, 3), atol=1e-4)
    z = torch.randn(5, 3)
    assert torch.allclose(sample_means(pair, x, {"z": z}), 2 * z + 1)
    assert len(pyro.get_param_store()) == 0


def test_nearest_neighbours_by_hand():
    train = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    test = torch.tensor([[0.4], [1.6], [10.4]])
    assert knn_error(train, labels, test, torch.tensor([0, 1, 1]), k=1) == 0.0
    assert knn_error(train, labels, test, torch.tensor([0, 1, 1]), k=3) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="each k must lie between 1 and the 5"):
        knn_error(train, labels, test, labels[:3], k=6)


def test_labels_that_are_no_numbers_are_refused_and_features_of_any_dtype_are_taken():
    train, labels = torch.tensor([[0.0], [1.0], [10.0]], requires_grad=True), torch.tensor([0.0, 0.0, 1.0])
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.float32):
        test = torch.tensor([[2.0], [9.0]]).to(dtype)
        assert knn_error(train.to(dtype), labels, test, torch.tensor([0.0, 0.0]), k=1) == 0.5
    wrong = torch.tensor([0.0, torch.nan, 1.0])
    with pytest.raises(ValueError, match="train_labels must be finite"):
        knn_error(train, wrong, train, labels, k=1)
    with pytest.raises(ValueError, match="test_labels must be finite"):
        knn_error(train, labels, train, wrong, k=1)
    with pytest.raises(ValueError, match="labels must be finite"):
        classification_error(Known(), torch.zeros(3, 3), wrong)


def test_knn_errors_are_those_of_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    features = torch.randn(300, 3)
    labels = 3 * (features[:, 0] > 0).long() + (features[:, 1] + 0.7 * torch.randn(300) > 0).long()
    errors = knn_errors(features[:200], labels[:200], features[200:], labels[200:], (3, 4, 10))
    for k, error in errors.items():
        classifier = KNeighborsClassifier(k).fit(features[:200].numpy(), labels[:200].numpy())
        assert error == pytest.approx(1 - classifier.score(features[200:].numpy(), labels[200:].numpy()), abs=1e-12)
    assert len(set(errors.values())) > 1


def test_posterior_samples_follow_the_guide():
    pair, x = Known(), torch.rand(3, 3)
    draws = posterior_samples(pair, x.repeat(5000, 1), batch_size=700)["z"].view(5000, 3, 3)
    trace = pyro.poutine.trace(pair.guide).get_trace(x)
    fn = trace.nodes["z"]["fn"]
    assert ((draws.mean(0) - fn.mean).abs() < 5 * fn.stddev / 5000**0.5).all()
    assert torch.allclose(draws.std(0), fn.stddev.expand(3, 3), rtol=0.05)


def test_samples_are_decoded_from_changed_latents():
    held = sample_means(Known(), torch.zeros(4, 3), {"z": lambda z: torch.full_like(z, 1.5)})
    assert torch.equal(held, torch.full((4, 3), 4.0))
    torch.manual_seed(0)
    plain = sample_means(Known(), torch.zeros(4, 3))
    torch.manual_seed(0)
    same = sample_means(Known(), torch.zeros(4, 3), {"z": lambda z: z})
    assert torch.equal(plain, same)
