"""The priors against what they are made of; every pair's prior is tested against its own samples in test_pairs."""

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import ExemplarPrior, MixtureOfGaussians, StandardNormal, VampPrior


def test_standard_normal_follows_dtype_and_saves_nothing():
    prior = StandardNormal(4).to(torch.float32)
    assert prior().sample().dtype == torch.float32
    assert prior.state_dict() == {}
    assert prior().log_prob(torch.zeros(4)).item() == pytest.approx(-2 * torch.log(torch.tensor(2 * torch.pi)).item())


@pytest.mark.parametrize("learn_weights", [False, True])
def test_mixture_of_gaussians_is_the_mixture_of_its_parts(learn_weights):
    prior = MixtureOfGaussians(3, 4, learn_weights, spread=2.0, log_variance_range=(-1.0, 1.0))
    with torch.no_grad():
        prior.log_variance.normal_(std=2.0)
        if learn_weights:
            prior.logits.normal_()
    z = torch.randn(5, 3)
    scale = prior.log_variance.clamp(-1, 1).div(2).exp()
    parts = dist.Normal(prior.loc, scale).to_event(1)
    oracle = dist.MixtureSameFamily(dist.Categorical(logits=prior.logits), parts)
    assert torch.allclose(prior().log_prob(z), oracle.log_prob(z))
    assert ("logits" in prior.state_dict()) == learn_weights
    with pytest.raises(ValueError, match="num_components"):
        MixtureOfGaussians(3, 0)


def make_vamp(**kwargs):
    posterior = GaussianPosterior(mlp(6, [5], 4))
    return posterior, VampPrior(posterior, torch.rand(7, 6), **kwargs)


def test_vamp_prior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs():
    posterior, prior = make_vamp()
    z = torch.randn(9, 2)
    each = torch.stack([posterior(u).log_prob(z) for u in prior.pseudo_inputs])
    assert torch.allclose(prior().log_prob(z), each.logsumexp(0) - torch.tensor(7.0).log())


def test_vamp_prior_takes_any_posterior():
    class Laplace(nn.Module):
        def forward(self, x):
            return dist.Laplace(x[..., :2], 1.0).to_event(1)

    prior = VampPrior(Laplace(), torch.rand(7, 6))
    z = torch.randn(9, 2)
    each = torch.stack([Laplace()(u).log_prob(z) for u in prior.pseudo_inputs])
    assert torch.allclose(prior().log_prob(z), each.logsumexp(0) - torch.tensor(7.0).log())
    assert prior().sample((3,)).shape == (3, 2)


def test_vamp_prior_owns_its_pseudo_inputs_alone():
    posterior, prior = make_vamp()
    assert list(prior.state_dict()) == ["raw_inputs"]
    assert [n for n, _ in prior.named_parameters()] == ["raw_inputs"]
    assert list(make_vamp(trainable=False)[1].parameters()) == []
    assert prior.posterior is posterior


def test_pseudo_inputs_stay_in_the_unit_interval_and_come_back_into_it():
    _, prior = make_vamp()
    with torch.no_grad():
        prior.raw_inputs[0] = -0.5
        prior.raw_inputs[1] = 1.5
    assert prior.pseudo_inputs.min() == 0
    assert prior.pseudo_inputs.max() == 1
    for push, expected in ((1.0, (0, 0.75, 0.5)), (-1.0, (-0.75, 0, -0.5))):  # of values -0.5, 0.5 and 1.5
        with torch.no_grad():
            prior.raw_inputs[:3, 0] = torch.tensor([-0.5, 1.5, 0.5])
        weights = push * torch.tensor([0.75, 0.75, 0.5])
        (gradient,) = torch.autograd.grad((weights * prior.pseudo_inputs[:3, 0]).sum(), prior.raw_inputs)
        assert gradient[:3, 0].tolist() == list(expected)


def test_vamp_prior_starts_from_the_mean_or_from_images():
    posterior, _ = make_vamp()
    mean = torch.linspace(0.2, 0.8, 6)
    around = VampPrior.around_mean(posterior, 4000, mean, std=0.05).pseudo_inputs
    assert torch.allclose(around.mean(0), mean, atol=0.005)
    assert torch.allclose(around.std(0), torch.full((6,), 0.05), atol=0.005)
    images = torch.rand(10, 6)
    chosen = VampPrior.from_data(posterior, 4, images, trainable=False).pseudo_inputs
    assert all((images == row).all(1).any() for row in chosen)
    assert len(chosen.unique(dim=0)) == 4
    noisy = VampPrior.from_data(posterior, 4, images, std=0.01).pseudo_inputs
    assert all(0 < (images - row).abs().amax(1).min() < 0.06 for row in noisy)
    for count in (11, 0, -5):
        with pytest.raises(ValueError, match=f"num_components must lie between 1 and the 10 images given, got {count}"):
            VampPrior.from_data(posterior, count, images)
    for count in (0, -5):
        with pytest.raises(ValueError, match=f"num_components must be at least 1, got {count}"):
            VampPrior.around_mean(posterior, count, mean)


def test_images_that_vamp_prior_cannot_start_from_are_refused():
    """Cut off at the ends of [0, 1], images of bytes would all become white pseudo-inputs."""
    posterior, _ = make_vamp()
    for bad in (255 * torch.rand(10, 6), torch.rand(10, 6) - 0.5, torch.full((10, 6), torch.nan)):
        for trainable in (True, False):
            with pytest.raises(ValueError, match=r"images must lie in \[0, 1\]"):
                VampPrior.from_data(posterior, 4, bad, trainable=trainable)
        with pytest.raises(ValueError, match=r"mean must lie in \[0, 1\]"):
            VampPrior.around_mean(posterior, 4, bad[0])


@pytest.mark.parametrize("images", [torch.float32, torch.float64, torch.uint8], ids=str)
def test_components_have_the_dtype_of_the_posterior(images):
    posterior = GaussianPosterior(mlp(6, [5], 4)).double()
    u, z = torch.rand(7, 6).round(), torch.randn(9, 2)
    means = posterior(u).mean
    vamp = dist.MixtureSameFamily(dist.Categorical(torch.ones(7)), posterior(u)).log_prob(z)
    exemplar = dist.MixtureSameFamily(dist.Categorical(torch.ones(7)), dist.Normal(means, 1.0).to_event(1)).log_prob(z)
    torch.set_default_dtype(torch.float32)
    u = u.to(images)
    torch.testing.assert_close(VampPrior(posterior, u)().log_prob(z), vamp)
    torch.testing.assert_close(ExemplarPrior(posterior, u, 2)().log_prob(z), exemplar)
    for prior in (VampPrior.from_data(posterior, 4, u), VampPrior.around_mean(posterior, 4, u[0])):
        assert prior().log_prob(z).dtype == torch.float64


def test_images_without_a_posterior_of_parameters_keep_their_dtype():
    class Rounded(nn.Module):
        def forward(self, x):
            return dist.Normal(x[..., :2].round(), torch.ones_like(x[..., :2])).to_event(1)

    torch.set_default_dtype(torch.float32)
    single, double = torch.float32, torch.float64
    for dtype, expected in ((double, double), (single, single), (torch.bool, single)):
        u = torch.ones(3, 4).to(dtype)
        assert VampPrior(Rounded(), u)().sample().dtype == expected
        assert ExemplarPrior(Rounded(), u, 2).means.dtype == expected


def test_bad_pseudo_inputs_are_refused():
    posterior, _ = make_vamp()
    for bad in (torch.rand(6), torch.rand(0, 6), 2 * torch.ones(3, 6), torch.full((3, 6), torch.nan)):
        with pytest.raises(ValueError, match="pseudo_inputs must"):
            VampPrior(posterior, bad)
