"""Any number of stochastic layers: exact values where the model is linear, and parts that do not agree."""

import pytest
import torch
from torch import nn

from pyrodgm import datasets
from pyrodgm.infer import IWELBO, log_likelihood
from pyrodgm.likelihoods import GaussianLikelihood
from pyrodgm.models import BottomUpVAE, TopDownVAE
from pyrodgm.posteriors import GaussianPosterior, PrecisionWeightedPosterior, StickBreakingPosterior
from pyrodgm.priors import StandardNormal, VampPrior
from pyrodgm.testing import check_pair
from pyrodgm.zoo import ladder_vae


class Given(nn.Module):
    """A Gaussian with a mean of factor times the input and a fixed log-variance."""

    def __init__(self, factor, log_variance):
        super().__init__()
        self.factor, self.log_variance = factor, nn.Parameter(torch.tensor(log_variance))

    def forward(self, *inputs):
        loc = self.factor * inputs[-1]
        return torch.cat([loc, self.log_variance.expand_as(loc)], -1)


def gaussian(factor, log_variance=0.0):
    return GaussianPosterior(Given(factor, log_variance), (-8.0, 8.0))


def linear_chain():
    """x = z1 + noise, z1 = 2 z2 + noise, z2 = 0.5 z3 + noise: p(x), and the parts of the model."""
    parts = StandardNormal(1), [gaussian(2.0), gaussian(0.5)], GaussianLikelihood(nn.Identity(), 1.0)
    variance = 1 + 1 + 4 * (1 + 0.25)
    return parts, torch.distributions.Normal(0.0, variance**0.5)


def test_precision_weighted_posterior_of_a_linear_model_is_exact():
    """q(z1 | x, z2) that weighs x itself is the true conditional, whose ELBO is tight but for the layers above."""
    parts, _ = linear_chain()
    conditional = parts[1]
    merged = PrecisionWeightedPosterior(gaussian(1.0), conditional[0])(torch.tensor([[3.0]]), torch.tensor([[0.5]]))
    torch.testing.assert_close(merged.mean, torch.tensor([[(3.0 + 1.0) / 2]]))
    torch.testing.assert_close(merged.variance, torch.tensor([[0.5]]))
    certain = PrecisionWeightedPosterior(gaussian(1.0, 8.0), conditional[0])(torch.ones(1, 1), torch.ones(1, 1))
    torch.testing.assert_close(certain.mean, torch.tensor([[2.0]]), atol=1e-3, rtol=0)  # the data say nothing
    narrow = PrecisionWeightedPosterior(GaussianPosterior(Given(1.0, -200.0), (-200.0, 0.0)), conditional[0])
    found = narrow(torch.full((1, 1), 7.0), torch.ones(1, 1))
    torch.testing.assert_close(found.mean, torch.tensor([[7.0]]))
    torch.testing.assert_close(found.stddev.log(), torch.tensor([[-100.0]]))


def test_exact_posterior_of_a_linear_chain_makes_the_bound_tight():
    parts, exact = linear_chain()
    # Backwards from x, whose variance is 7: z3 | x, then z2 | z3 and x, then z1 | z2 and x.
    top = gaussian(1 / 7, float(torch.tensor(1 - 1 / 7).log()))
    middle = PrecisionWeightedPosterior(gaussian(0.5, float(torch.tensor(0.5).log())), parts[1][1])
    lower = PrecisionWeightedPosterior(gaussian(1.0), parts[1][0])
    up = nn.Sequential(*(nn.Identity() for _ in range(3)), top)
    ladder = TopDownVAE(*parts, up, [lower, middle])
    x = torch.linspace(-4, 4, 7).unsqueeze(-1)
    expected = exact.log_prob(x).squeeze(-1)
    tight = log_likelihood(ladder, x, 50, proposal="guide", seed=0)
    torch.testing.assert_close(tight.values, expected)  # each weight is p(x) itself
    assert tight.ess.min() > 49.9


def test_bottom_up_chain_estimates_the_likelihood():
    parts, exact = linear_chain()
    up = [gaussian(0.4, -0.5), gaussian(0.4, 0.0)]
    pair = BottomUpVAE(*parts, gaussian(0.85, 0.0), up)
    x = torch.linspace(-2, 2, 5).unsqueeze(-1)
    found = log_likelihood(pair, x, 20_000, proposal="guide", seed=0)
    torch.testing.assert_close(found.values, exact.log_prob(x).squeeze(-1), atol=0.05, rtol=0)
    assert IWELBO(3).differentiable_loss(pair.model, pair.guide, x).isfinite()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "prior", "layers"),
    [("ladder", "vampprior", 3), ("hvae", "mixture", 4), ("bottom-up", "standard", 3), ("ladder", "standard", 1)],
)
def test_zoo_of_any_number_of_layers(model, prior, layers):
    config = ladder_vae.Config(
        model=model, prior=prior, latent=(3,) * layers, hidden=(5,) * layers, batch_norm=False, components=4
    )
    data = datasets.load("digits").to(dtype=torch.float64)
    pair = ladder_vae.build(config, data)
    assert all(p.requires_grad for p in pair.parameters())
    check_pair(pair, data.test.images[:5], traced=False)
    if prior == "vampprior":
        assert isinstance(pair.prior, VampPrior)
        assert pair.prior.posterior is pair.posterior


def test_parts_that_do_not_agree():
    parts, _ = linear_chain()
    up = nn.Sequential(nn.Identity(), gaussian(1.0))
    with pytest.raises(ValueError, match=r"conditional_priors must hold 0 modules, .* got 2"):
        TopDownVAE(*parts, up, [])
    with pytest.raises(ValueError, match=r"posterior must be an nn.Sequential of layers"):
        TopDownVAE(*parts, gaussian(1.0), [])
    with pytest.raises(ValueError, match=r"conditional_priors must hold 1 modules, .* got 2"):
        BottomUpVAE(*parts, gaussian(1.0), [gaussian(1.0)])
    sticks = StickBreakingPosterior(nn.Linear(1, 2))
    with pytest.raises(TypeError, match=r"must return diagonal Gaussians, got StickLogits"):
        PrecisionWeightedPosterior(sticks, gaussian(1.0))(torch.ones(2, 1), torch.ones(2, 1))
    data = datasets.load("digits")
    for flags, message in (
        ({"latent": (3,)}, "--latent and --hidden must name as many sizes"),
        ({"prior": "vampprior"}, "--prior vampprior needs --no-batch-norm"),
        ({"prior": "vampprior", "model": "bottom-up", "batch_norm": False}, "got --model bottom-up"),
    ):
        with pytest.raises(ValueError, match=message):
            ladder_vae.build(ladder_vae.Config(**flags), data)
