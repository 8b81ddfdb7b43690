"""Doubly reparametrised gradients and sticking the landing where plates, masks and vectors meet."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch

from pyrodgm.infer import IWELBO
from pyrodgm.testing import Features, check_gradients
from pyrodgm.testing.check_gradients import has_gradients


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [
        Features(mask="both", seed=3),
        Features(mask="both", second_latent=True, vector="correlated", seed=3),
        Features(inner="left", inner_latent=True, vector="diagonal", seed=1),
    ],
    ids=["masked", "one of three masked", "plate to the left"],
)
def test_averages_are_the_gradients_of_the_bounds(features):
    assert has_gradients(features)
    check_gradients(features)


def test_a_masked_latent_keeps_the_plain_gradient():
    """With all of z masked the weights are p(x | z): nothing is left to reparametrise doubly."""
    loc = torch.zeros(4, requires_grad=True)
    x, hidden = torch.linspace(-1.0, 2.0, 4), torch.tensor([True, False, True, False])

    def model():
        with pyro.plate("data", 4):
            with poutine.mask(mask=hidden):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide():
        with pyro.plate("data", 4), poutine.mask(mask=hidden):
            pyro.sample("z", dist.Normal(loc, 0.7))

    slopes = {}
    for gradient in ("reparam", "dreg"):
        pyro.set_rng_seed(0)
        loss = IWELBO(5, gradient=gradient).differentiable_loss(model, guide)
        (slopes[gradient],) = torch.autograd.grad(loss, loc)
    torch.testing.assert_close(slopes["dreg"][~hidden], slopes["reparam"][~hidden])
    assert (slopes["dreg"][hidden] - slopes["reparam"][hidden]).abs().min() > 1e-3


@pytest.mark.parametrize("gradient", ["stl", "dreg"])
def test_one_particle_with_a_plate_left_of_the_data(gradient):
    """The row of a vector is found from the left, not by what happens to broadcast."""
    loc = torch.zeros(2, 2, requires_grad=True)

    def model(x):
        with pyro.plate("data", 2, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            with pyro.plate("inner", 3, dim=-2):
                pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", 2, dim=-1):
            pyro.sample("z", dist.Normal(loc, 0.7).to_event(1))

    x = torch.randn(3, 2)
    pyro.set_rng_seed(0)
    loss = IWELBO(1, gradient=gradient, max_plate_nesting=2).differentiable_loss(model, guide, x)
    (found,) = torch.autograd.grad(loss, loc)
    pyro.set_rng_seed(0)
    z = poutine.trace(guide).get_trace(x).nodes["z"]["value"].detach()
    # -d/dz (log p(x | z) + log p(z) - log q(z)), the path through the draw alone
    right = z - (x - z.sum(-1)).sum(0).unsqueeze(-1) - (z - loc.detach()) / 0.7**2
    torch.testing.assert_close(found, right)
