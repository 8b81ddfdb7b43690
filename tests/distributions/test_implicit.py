"""Distributions that are known by their draws alone."""

import pyro
import pytest
import torch

from pyrodgm.distributions import Implicit, NoDensityError
from pyrodgm.posteriors import ImplicitPosterior
from pyrodgm.priors import VampPrior


def exponential(batch=(3,)):
    rates = torch.arange(1.0, 1.0 + torch.Size(batch).numel()).reshape(*batch, 1)

    def draw(shape):
        return torch.empty(*shape, *batch, 2).exponential_() / rates

    return Implicit(draw, batch, (2,))


def test_shapes_expansions_and_plates():
    d = exponential()
    assert d.sample((4,)).shape == (4, 3, 2)
    wide = d.expand([5, 3])
    assert (wide.batch_shape, wide.event_shape) == ((5, 3), (2,))
    draws = wide.sample((2000,))
    assert draws.shape == (2000, 5, 3, 2)
    assert torch.allclose(draws.mean((0, 1, 3)), 1 / torch.arange(1.0, 4.0), rtol=0.05)
    assert len(draws.flatten().unique()) == draws.numel()  # none is repeated
    with pyro.plate("particles", 7, dim=-2), pyro.plate("data", 3, dim=-1):
        assert pyro.sample("z", d).shape == (7, 3, 2)
    with pytest.raises(ValueError, match=r"batch_shape must end in \[3\] for an Implicit distribution"):
        d.expand([4])


def test_density_is_refused_and_gradients_are_those_of_the_function():
    with pytest.raises(NoDensityError, match="draws alone"):
        exponential().log_prob(torch.ones(3, 2))
    scale = torch.tensor(2.0, requires_grad=True)
    Implicit(lambda shape: scale * torch.ones(*shape, 2), (), (2,)).rsample((5,)).sum().backward()
    assert scale.grad == 10.0


def test_posteriors_of_noise_and_points():
    net = torch.nn.Linear(3 + 2, 4)
    q = ImplicitPosterior(net, 4, 2)(torch.ones(20000, 3))
    z = q.rsample()
    w = net.weight[:, 3:].detach()
    assert torch.allclose(z.T.cov(), w @ w.T, atol=0.05)  # of a linear network: noise times its weights
    point = ImplicitPosterior(torch.nn.Linear(3, 4), 4)(torch.ones(5, 3))
    assert torch.equal(point.rsample(), point.rsample())


def test_a_vampprior_of_such_a_posterior_draws_from_its_components():
    """Two pseudo-inputs and no noise: half of the draws are the code of each."""
    q = ImplicitPosterior(torch.nn.Linear(3, 4), 4)
    prior = VampPrior(q, torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]]))
    draws = prior().expand([4000]).rsample()
    codes = q.net(prior.pseudo_inputs)
    first = (draws - codes[0]).abs().sum(1) < 1e-9
    second = (draws - codes[1]).abs().sum(1) < 1e-9
    assert (first | second).all()
    assert abs(float(first.double().mean()) - 0.5) < 4 * 0.5 / 4000**0.5
