"""Fits with the Hessian itself, where the Gauss-Newton curvature is not enough."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn
from torch.autograd.functional import hessian
from toy_pairs import small_mixture, small_sticks

from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.gauss_newton import sharpen
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.models import Pair
from pyrodgm.priors import MixtureOfGaussians
from pyrodgm.zoo.pairs import dense_hvae


def levels():
    return dense_hvae(lambda posterior: MixtureOfGaussians(3, 3), 5, (2, 3), 6)


@pytest.mark.parametrize("make", [small_mixture, small_sticks, levels])
def test_curvature_is_minus_the_mean_hessian(make):
    torch.manual_seed(0)
    pair, x = make().eval(), torch.rand(2, 5).round()
    coordinates = Coordinates(pair, x[:1])
    assert coordinates.has_second_derivatives
    u = torch.randn(3, 2, coordinates.size)
    slope, found, value = coordinates.second_moments(x, u)
    whole = hessian(lambda v: coordinates._log_joint(x, v)[0].sum(), u)  # [points, B, D, points, B, D]
    each = whole.diagonal(dim1=0, dim2=3).diagonal(dim1=0, dim2=2)  # [D, D, points, B]
    assert torch.allclose(found, -each.mean(2).permute(2, 0, 1), atol=1e-10)
    usual = coordinates.moments(x, u)
    assert torch.allclose(slope, usual[0])
    assert torch.allclose(value, usual[2])


def test_a_fit_moves_from_a_wrong_curvature_to_the_true_one_and_stays_positive():
    torch.manual_seed(0)
    matrix = torch.randn(4, 4)
    true = matrix @ matrix.T + torch.eye(4)
    wrong = Gaussian(torch.full((1, 4), 0.2), torch.linalg.cholesky(3.0 * true).unsqueeze(0))

    def moments(points):
        return -(points @ true).mean(0), true.expand(1, 4, 4), points.new_zeros(1)

    found = sharpen(wrong, moments, torch.float64)
    precision = (found.factor @ found.factor.mT)[0]
    assert torch.linalg.matrix_norm(precision - true) < 0.45 * torch.linalg.matrix_norm(3.0 * true - true)
    assert found.mean.norm() < 0.5 * wrong.mean.norm()

    def saddle(points):
        return -points.mean(0), -true.expand(1, 4, 4), points.new_zeros(1)

    bent = sharpen(wrong, saddle, torch.float64)
    ratio = torch.linalg.eigvalsh(torch.linalg.solve(3.0 * true, (bent.factor @ bent.factor.mT)[0]))
    assert ratio.min() > 0.29


class OnceAlone(torch.autograd.Function):
    """A sine whose derivative PyTorch may not differentiate again."""

    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * ctx.saved_tensors[0].cos()

    @staticmethod
    def backward(ctx, grad):
        return OnceAloneBackward.apply(grad, ctx.saved_tensors[0])

    @staticmethod
    def vmap(info, in_dims, x):
        return OnceAlone.apply(x), in_dims[0]


class OnceAloneBackward(torch.autograd.Function):
    @staticmethod
    def forward(grad, x):
        return grad * x.cos()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass


class Bent(Pair):
    """Two latents on a curve, through a function that can be differentiated once or more often."""

    def __init__(self, function):
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.tensor(0.5))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z[..., :1] + self.function(z[..., 1:])
            pyro.sample("x", dist.Normal(loc, self.scale).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 0.5).to_event(1))

    def evidence(self, x):
        z = torch.linspace(-7, 7, 60_001)  # the first latent is summed out by hand
        given = dist.Normal(z.sin(), (1.0 + self.scale.detach() ** 2).sqrt()).log_prob(x)
        return (dist.Normal(0.0, 1.0).log_prob(z) + given).logsumexp(-1) + (z[1] - z[0]).log()


@pytest.mark.parametrize("function", [torch.sin, OnceAlone.apply])
def test_a_second_fit_meets_bent_posteriors_with_second_derivatives_and_without(function):
    torch.manual_seed(0)
    pair, x = Bent(function), torch.tensor([[-1.0], [0.2], [0.9]])
    coordinates = Coordinates(pair, x[:1])
    assert coordinates.has_second_derivatives == (function is torch.sin)
    found = torch.zeros(3).double()
    with torch.no_grad():
        sampler = RefinedSampler(coordinates, x[:1], 3, coordinates.plan(None), 2**27, "eager")
        none = torch.full((3, sampler.plan.modes, coordinates.size), torch.nan)

        def put(rows, result):
            found.put_(rows, result["values"])

        sampler.weigh_again(torch.arange(3), lambda rows: (x[rows], none[rows]), put)
    assert torch.allclose(found, pair.evidence(x).double(), atol=0.1)
