import pyro.poutine as poutine
import pytest
import torch
from torch import nn

from pyrodgm import datasets
from pyrodgm.infer import ELBO, TrainStep, fit, log_likelihood, sample
from pyrodgm.likelihoods import NegativeBinomialLikelihood, PoissonLikelihood
from pyrodgm.models import CountVAE
from pyrodgm.nn import CountProfile, joint_mlp, log_library_size, mlp
from pyrodgm.posteriors import GaussianPosterior, LibraryPosterior
from pyrodgm.priors import LibraryPrior, StandardNormal
from pyrodgm.testing import check_pair
from pyrodgm.zoo import count_vae

G = 6


@pytest.fixture
def x():
    return torch.poisson(torch.linspace(0.1, 4.0, G).expand(8, G))


def conditional(batches, counts):
    posterior = nn.Sequential(CountProfile(20.0), GaussianPosterior(mlp(G, [5], 4)))
    likelihood = NegativeBinomialLikelihood(joint_mlp([2, 2], [5], G), G)
    library = LibraryPrior(counts, batches), LibraryPosterior(mlp(G, [5], 2))
    return CountVAE(StandardNormal(2), likelihood, posterior, *library)


@pytest.mark.slow
def test_sites_with_covariates(x):
    batches = torch.eye(2)[torch.arange(8) % 2]
    pair = conditional(batches, x)
    step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters()))
    assert torch.isfinite(step(x, batches))
    assert step.mode == "traced"
    trace = poutine.trace(pair.model).get_trace(x, batches)
    rows = log_library_size(x)
    for batch in (0, 1):
        expected = rows[batch::2].mean(0)
        torch.testing.assert_close(trace.nodes["l"]["fn"].mean[batch::2], expected.expand(4, 1))
    other = poutine.trace(poutine.replay(pair.model, trace=trace)).get_trace(x, batches.flip(-1))
    assert not torch.equal(trace.nodes["x"]["fn"].mean, other.nodes["x"]["fn"].mean)


def test_observed_library_is_the_sum_of_the_counts(x):
    posterior = nn.Sequential(CountProfile(20.0), GaussianPosterior(mlp(G, [5], 4)))
    pair = CountVAE(StandardNormal(2), PoissonLikelihood(mlp(2, [5], G)), posterior)
    x[0] = 0.0  # a datum without counts has library size 1
    trace = poutine.trace(pair.model).get_trace(x)
    torch.testing.assert_close(trace.nodes["x"]["fn"].mean.sum(-1), x.sum(-1).clamp(min=1.0))
    assert "l" not in trace
    assert ELBO().differentiable_loss(pair.model, pair.guide, x).isfinite()
    assert sample(pair, x).shape == x.shape


def test_exact_likelihood_where_the_latent_says_nothing(x):
    """A decoder that ignores z leaves an integral over the library size alone, by quadrature here."""
    net = mlp(2, [], G)
    nn.init.zeros_(net[-1].weight)
    posterior = nn.Sequential(CountProfile(20.0), GaussianPosterior(mlp(G, [5], 4)))
    library = LibraryPrior(x), LibraryPosterior(mlp(G, [5], 2))
    pair = CountVAE(StandardNormal(2), NegativeBinomialLikelihood(net, G), posterior, *library)
    grid = torch.linspace(-8, 8, 2001).unsqueeze(-1) * library[0].scale[0] + library[0].loc[0]
    joint = library[0]().log_prob(grid)[:, None] + pair.likelihood(
        torch.zeros(2001, 1, 2), log_library=grid[:, None]
    ).log_prob(x)
    exact = joint.logsumexp(0) + (grid[1] - grid[0]).log()
    found = log_likelihood(pair, x, seed=0)
    torch.testing.assert_close(found.values, exact, atol=0.02, rtol=0)
    assert found.untrusted_share == 0


def test_bad_arguments(x):
    with pytest.raises(ValueError, match="must be given together, got library_posterior=None"):
        CountVAE(StandardNormal(2), nn.Identity(), nn.Identity(), LibraryPrior(x))
    with pytest.raises(ValueError, match="size must be finite and greater than 0, got 0"):
        CountProfile(0.0)
    with pytest.raises(ValueError, match=r"batches must be one-hot as \[8, B\], none empty, got \[8, 2\]"):
        LibraryPrior(x, torch.eye(2)[torch.zeros(8, dtype=torch.int64)])
    with pytest.raises(ValueError, match="batches must be given to a prior of 2 batches, got None"):
        LibraryPrior(x, torch.eye(2)[torch.arange(8) % 2])()


def test_profiles_are_those_of_any_library_size():
    profile, x = CountProfile(1000.0), torch.tensor([[1.0, 0.0, 9.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(profile(x), profile(50 * x))
    assert ((profile(x) >= 0) & (profile(x) <= 1)).all()
    torch.testing.assert_close(profile(100 * x)[0] * profile.scale, torch.log1p(100 * x[0]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "counts", "dispersion", "library"),
    [
        ("standard", "poisson", "gene", "latent"),
        ("mixture", "negative-binomial", "datum", "observed"),
        ("vampprior", "negative-binomial", "gene", "latent"),
        ("sticks", "zero-inflated", "datum", "latent"),
    ],
)
def test_every_prior_of_the_zoo(prior, counts, dispersion, library):
    flags = {"prior": prior, "counts": counts, "dispersion": dispersion, "library": library}
    config = count_vae.Config(components=3, latent=3, hidden=(4,), **flags)
    data = datasets.load("digit_counts").to(dtype=torch.float64)
    pair, x = count_vae.build(config, data), data.train.images[:5]
    check_pair(pair, x, traced=False)
    assert ELBO().differentiable_loss(pair.model, pair.guide, x).isfinite()


def test_data_that_are_no_counts_are_refused():
    with pytest.raises(ValueError, match="--data must be counts for count_vae, got digits, whose values are binary"):
        count_vae.build(count_vae.Config(), datasets.load("digits"))
    pair = CountVAE(StandardNormal(2), PoissonLikelihood(mlp(2, [5], G)), GaussianPosterior(mlp(G, [5], 4)))
    with pytest.raises(ValueError, match=r"data must lie in the support of site 'x'.*PoissonCounts.* in row 0"):
        fit(pair, torch.full((8, G), 0.5), epochs=1)
