"""Fits where a density is steep beyond what float32 can tell, or overflows."""

import pytest
import torch
from torch import nn

from pyrodgm.infer import log_likelihood, refine
from pyrodgm.infer.evaluation.refined import sampler
from pyrodgm.infer.evaluation.refined.curvature import positive_definite
from pyrodgm.infer.evaluation.refined.gauss_newton import Plan, fit, sharpen
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.likelihoods import BernoulliLikelihood, GaussianLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import Scale, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal


@pytest.fixture(autouse=True)
def single_precision():
    torch.set_default_dtype(torch.float32)


def posterior():
    return GaussianPosterior(mlp(12, [8], 6))


def binary(scale):
    return VAE(StandardNormal(3), BernoulliLikelihood(nn.Sequential(Scale(scale), *mlp(3, [8], 12))), posterior())


def mixture(scale):
    likelihood = BernoulliLikelihood(nn.Sequential(Scale(scale), *mlp(3, [8], 12)))
    return VAE(MixtureOfGaussians(3, 4), likelihood, posterior())


def real(scale):
    return VAE(StandardNormal(3), GaussianLikelihood(mlp(3, [8], 12), scale=1 / scale), posterior())


def sticks(scale):
    decoder = nn.Sequential(StickWeights(), Scale(scale), *mlp(4, [8], 12))
    encoder = StickBreakingPosterior(mlp(12, [8], 6), "kumaraswamy", 5.0)
    return VAE(GEMPrior(4, 5.0), BernoulliLikelihood(decoder), encoder)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "scale"), [(binary, 1e15), (mixture, 1e4), (real, 1e15), (sticks, 1e4)])
def test_steep_densities_are_estimated_all_the_same_and_flagged(make, scale, monkeypatch):
    monkeypatch.setattr(sampler, "TEMPERATURES", (3, 5))
    torch.manual_seed(0)
    pair, x = make(scale), torch.rand(3, 12).round()
    found = log_likelihood(pair, x, seed=0, progress=False)
    assert found.values.isfinite().all()
    assert found.untrusted_share > 0.0
    guide = refine(pair, x, seed=0)
    assert all(value.isfinite().all() for value in guide.mean.values())


def test_a_factor_lacks_no_more_than_rounding_took():
    torch.manual_seed(0)
    matrix = torch.randn(4, 6, 6, dtype=torch.float64)
    matrix = matrix @ matrix.mT
    vectors = torch.linalg.eigh(matrix).eigenvectors
    fine = matrix[0]
    rounded = vectors[1] @ torch.diag(torch.tensor([-1e-8, 0.0, 1.0, 1.0, 1.0, 1.0]).double()) @ vectors[1].T
    indefinite = vectors[2] @ torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0, 1.0, 1.0]).double()) @ vectors[2].T
    broken = matrix[3].clone()
    broken[1, 0] = torch.nan
    factor = positive_definite(torch.stack([fine, rounded, indefinite, broken]))
    assert torch.allclose(factor[0] @ factor[0].T, fine, rtol=1e-7, atol=1e-8)
    assert torch.allclose(factor[1] @ factor[1].T, rounded, atol=1e-6)
    for own, whole in ((factor[2], indefinite), (factor[3], broken)):
        diagonal = whole.diagonal()
        assert torch.equal(own, torch.diag(torch.where(diagonal > 0, diagonal, 1.0).sqrt()))
    infinite = torch.full((1, 2, 2), torch.inf)
    assert torch.equal(positive_definite(infinite)[0], torch.eye(2, dtype=torch.float64))


def test_a_datum_whose_density_overflows_keeps_its_first_gaussian_and_the_others_are_fitted():
    def moments(points):
        points = points.double()
        slope = -4.0 * (points - 1.0).mean(0)
        curvature = 4.0 * torch.eye(2, dtype=torch.float64).expand(3, 2, 2).clone()
        slope[1], curvature[1], curvature[2, 0, 1] = torch.nan, torch.inf, torch.nan
        return slope, curvature, slope.sum(-1)

    torch.manual_seed(0)
    first = Gaussian(torch.zeros(3, 2).double(), torch.eye(2).double().expand(3, 2, 2))
    plan = Plan.of_budget(None, 2)
    for fitted in (fit(first, plan, moments, torch.float32), sharpen(first, moments, torch.float32)):
        assert torch.equal(fitted.mean[1], first.mean[1])
        assert torch.allclose(fitted.factor[1], first.factor[1])
        assert torch.allclose(fitted.factor[2], first.factor[2])
        assert fitted.mean[0].sub(1.0).abs().max() < 0.7
        assert fitted.factor[0].diagonal().min() > 1.3
