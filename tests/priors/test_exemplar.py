"""The exemplar prior against mixtures written out."""

import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch

from pyrodgm.datasets import Dataset
from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior, current_rows, training_rows
from pyrodgm.priors.exemplar import BLOCK, _smallest
from pyrodgm.zoo.pairs import dense_hvae

N, D, LATENT = 30, 6, 2


def make(**kwargs):
    images = torch.rand(N, D)
    posterior = GaussianPosterior(mlp(D, [5], 2 * LATENT))
    prior = ExemplarPrior(posterior, images, **kwargs)
    with torch.no_grad():
        prior.log_variance.fill_(-1.0)
    return prior, images


def components(prior, images, z):
    """Log-density of each exemplar's component, ``[*, N]``."""
    return dist.Normal(prior.posterior(images).mean, math.exp(-0.5)).to_event(1).log_prob(z.unsqueeze(-2))


def without(rows):
    """Log-weights of all components but a datum's own, ``[B, N]``."""
    return torch.zeros(len(rows), N).scatter(1, rows[:, None], -math.inf) - math.log(N - 1)


def test_evaluation_counts_every_image():
    prior, images = make()
    z = torch.randn(4, 7, LATENT)
    expected = components(prior, images, z).logsumexp(-1) - math.log(N)
    with training_rows(torch.arange(7), N):
        assert torch.allclose(prior.eval()().log_prob(z), expected)
    assert torch.allclose(prior.train()().log_prob(z), expected)


@pytest.mark.parametrize("kwargs", [{"num_neighbours": None}, {"num_neighbours": N - 1}])
def test_training_leaves_out_the_datum_itself(kwargs):
    prior, images = make(**kwargs)
    rows, z = torch.tensor([4, 0, 29, 11]), torch.randn(3, 4, LATENT)
    with training_rows(rows, N):
        found = prior()
    assert found.batch_shape == (4,)
    assert torch.allclose(found.log_prob(z), (components(prior, images, z) + without(rows)).logsumexp(-1))


def test_neighbours_of_the_batch_bound_the_rest_from_below():
    prior, images = make(num_neighbours=3)
    rows, z = torch.arange(10), torch.randn(5, 10, LATENT)
    means = prior.posterior(images).mean
    distance = torch.cdist(means[rows], means).scatter(1, rows[:, None], math.inf)
    near = distance.argsort(1)[:, :3].unique()
    with training_rows(rows, N):
        found = prior().log_prob(z)
    each = components(prior, images, z) + without(rows)
    assert torch.allclose(found, each[..., near].logsumexp(-1))
    assert (found < each.logsumexp(-1)).all()
    assert len(near) < 30  # some image is a neighbour twice, and counts once


def test_means_are_kept_and_renewed_where_they_are_met():
    prior, images = make(num_neighbours=2)
    kept = prior.means.clone()
    assert torch.allclose(kept, prior.posterior(images).mean)
    assert "means" in prior.state_dict()
    assert "exemplars" not in prior.state_dict()
    with torch.no_grad():
        prior.posterior.net[-1].bias += 0.5
    rows = torch.tensor([3, 8])
    with training_rows(rows, N):
        prior()
    moved = (prior.means != kept).all(1)
    assert moved[rows].all()
    assert 3 <= moved.sum() <= 6
    assert torch.allclose(prior.means[moved], prior.posterior(images[moved]).mean)


@pytest.mark.slow
def test_random_exemplars_are_unbiased():
    prior, images = make(num_neighbours=None, num_exemplars=5)
    rows, z = torch.tensor([4, 0]), torch.randn(2, LATENT)
    with training_rows(rows, N), torch.no_grad():
        draws = torch.stack([prior().log_prob(z).exp() for _ in range(3000)])
        exact = (components(prior, images, z) + without(rows)).logsumexp(-1).exp()
    assert ((draws.mean(0) - exact).abs() < 5 * draws.std(0) / 3000**0.5).all()


def test_gradients_reach_the_encoder_and_the_variance():
    prior, _ = make(num_neighbours=3)
    with training_rows(torch.tensor([1, 2]), N):
        prior().log_prob(torch.randn(2, LATENT)).sum().backward()
    assert prior.log_variance.grad != 0
    assert all((p.grad != 0).any() for n, p in prior.posterior.named_parameters() if not n.endswith("2.bias"))
    assert [n for n, _ in prior.named_parameters()] == ["log_variance"]


@pytest.mark.parametrize("binarize", [False, True])
def test_binarize_draws_the_exemplars_anew(binarize):
    prior, _ = make(binarize=binarize)
    seen = []
    prior.posterior.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    for _ in range(2):
        with training_rows(torch.arange(4), N):
            prior()
    assert all(((x == 0) | (x == 1)).all() == binarize for x in seen)
    assert torch.equal(seen[0], seen[2]) == (not binarize)


@pytest.mark.slow
@pytest.mark.parametrize("kwargs", [{"num_neighbours": 3}, {"num_neighbours": None, "num_exemplars": 7}])
def test_traced_training_equals_eager_bit_for_bit(kwargs):
    def run(mode):
        torch.manual_seed(0)
        images = torch.rand(N, D).round()
        pair = dense_hvae(lambda q: ExemplarPrior(q, images, **kwargs), D, (2, LATENT), 5)
        context, adam = partial(training_rows, total=N), torch.optim.Adam(pair.parameters(), lr=1e-2)
        step = TrainStep(pair, ELBO(), adam, compile=mode, prepare=lambda r: (images[r],), context=context)
        losses = [step(rows) for _ in range(3) for rows in torch.randperm(N).split(10)]
        assert step.mode == mode
        assert current_rows() is None
        return torch.stack(losses), pair.state_dict()

    (eager, eager_state), (traced, traced_state) = run("eager"), run("traced")
    assert torch.equal(eager, traced)
    assert all(torch.equal(eager_state[name], traced_state[name]) for name in eager_state)


def test_fit_leaves_the_datum_out():
    """Exemplars far apart and a variance that is stuck small: who finds himself pays nothing, others a lot."""
    images = torch.eye(8)
    posterior = GaussianPosterior(mlp(8, [], 16), log_variance_range=(-9.0, -8.0))
    with torch.no_grad():
        posterior.net[0].weight[:8] = 3.0 * torch.eye(8)
    prior = ExemplarPrior(posterior, images, num_neighbours=None, log_variance_range=(-6.0, -5.9))
    pair = VAE(prior, BernoulliLikelihood(mlp(8, [], 8)), posterior)
    data = Dataset.from_tensors(images, images, binarization="fixed")
    frozen = partial(torch.optim.SGD, lr=0.0)
    (row,) = fit(pair, data, epochs=1, optimizer=frozen, batch_size=8, settings=FitSettings(progress=False)).metrics
    # 18 / 2 / e^-5.9, the distance of two exemplars in units of the variance
    assert row["valid_bound"] - row["train_bound"] == pytest.approx(9 * math.exp(5.9), rel=0.15)


def test_training_on_other_data_is_refused():
    prior, _ = make()
    with (
        pytest.raises(ValueError, match="expected all 40 training images as exemplars, got 30"),
        training_rows(torch.arange(3), 40),
    ):
        prior()


def test_bad_arguments_are_refused():
    for bad, message in (
        ({"num_neighbours": N}, "num_neighbours must lie between 1 and 29"),
        ({"num_neighbours": 0}, "num_neighbours must lie between 1 and 29"),
        ({"num_neighbours": None, "num_exemplars": 1}, "num_exemplars must lie between 2 and 30"),
        ({"num_neighbours": 2, "num_exemplars": 3}, "exclude each other, got 2 and 3"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**bad)
    posterior, _ = make()
    for images in (torch.rand(D), torch.rand(1, D)):
        with pytest.raises(ValueError, match="exemplars must have shape"):
            ExemplarPrior(posterior.posterior, images)
    with pytest.raises(ValueError, match=r"exemplars must lie in \[0, 1\], got values from 0 to 2"):
        ExemplarPrior(posterior.posterior, torch.tensor([0.0, 2.0])[:, None].expand(2, D))


@pytest.mark.parametrize(("columns", "count"), [(50, 3), (7 * BLOCK, 3), (20 * BLOCK + 5, 4)])
def test_smallest_finds_what_sorting_finds(columns, count):
    values = torch.randn(6, columns)
    values[0, -1], values[1, :4] = -9.0, -torch.arange(6.0, 10.0)
    found = _smallest(values, count).sort(1).values
    assert torch.equal(found, values.argsort(1)[:, :count].sort(1).values)
