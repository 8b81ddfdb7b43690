"""Divergences of which a share per datum is free, against the closed form."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, MixtureDensityELBO, StratifiedELBO
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DLGMM, VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianMixturePosterior, StickBreakingPosterior, WeightedGaussians
from pyrodgm.priors import GaussianComponents, StandardNormal, SymmetricDirichletPrior

X = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


class Normals(Pair):
    """A likelihood that does not depend on z, so that all but the divergence is known."""

    def __init__(self, subsample=None):
        super().__init__()
        self.shift, self.subsample = nn.Parameter(torch.tensor(0.5)), subsample

    def plate(self, x):
        return pyro.plate("data", self.subsample or len(x), subsample_size=len(x) if self.subsample else None, dim=-1)

    @pyro_method
    def model(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(self.shift * x, 1.0))


@pytest.mark.parametrize("subsample", [None, 30])
@pytest.mark.parametrize(
    "bound",
    [
        ELBO,
        partial(ELBO, num_particles=2, vectorize_particles=True),
        partial(StratifiedELBO, num_particles=2),
        MixtureDensityELBO,
    ],
)
@pytest.mark.parametrize("free", [0.1, 0.2, 0.3, 2.0])
def test_a_divergence_below_is_replaced_and_has_no_gradient(free, bound, subsample):
    pair, scale = Normals(subsample), (subsample or 3) / 3
    kl = 0.125 * X.square()  # mean 0.231
    data = -dist.Normal(0.0, 1.0).log_prob(X).sum()
    loss = bound(kl_weight=0.5, free_bits=free).differentiable_loss(pair.model, pair.guide, X)
    is_free = free > kl.mean()
    assert loss.item() == pytest.approx(scale * (data + 0.5 * (3 * free if is_free else kl.sum())).item())
    (gradient,) = torch.autograd.grad(loss, [pair.shift])
    assert gradient.item() == pytest.approx(0.0 if is_free else scale * 0.5 * 0.5 * X.square().sum().item())


def mixture_posterior():
    posterior = GaussianMixturePosterior(mlp(3, [], 2 * 3), num_components=2)
    return VAE(StandardNormal(1), BernoulliLikelihood(mlp(1, [], 3)), posterior)


def mixture_density():
    return DLGMM(
        SymmetricDirichletPrior(2, 1.5),
        GaussianComponents(1, 2, "standard"),
        BernoulliLikelihood(mlp(1, [], 3)),
        mlp(3, [], 4),
        StickBreakingPosterior(mlp(4, [], 2), "kumaraswamy"),
        WeightedGaussians(mlp(4, [], 4), 2),
    )


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize(
    ("build", "bound", "sites"),
    [(mixture_posterior, StratifiedELBO, 1), (mixture_density, MixtureDensityELBO, 2)],
)
def test_mixtures_have_free_bits_too(build, bound, sites, particles):
    """More of them than any divergence has: what is left of it is their number, whatever was drawn."""
    torch.manual_seed(0)
    pair, x, losses = build(), torch.ones(4, 3), []
    for weight, free in ((0.0, 0.0), (0.5, 50.0), (0.5, 1e-9), (0.5, 0.0)):
        torch.manual_seed(1)
        losses.append(bound(weight, num_particles=particles, free_bits=free).loss(pair.model, pair.guide, x))
    data, free, hardly, none = losses
    assert free == pytest.approx(data + 0.5 * sites * 4 * 50.0)
    assert hardly == pytest.approx(none)


def test_no_negative_number_is_free():
    with pytest.raises(ValueError, match=r"free_bits must be .* at least 0, got -1"):
        ELBO(free_bits=-1.0)
