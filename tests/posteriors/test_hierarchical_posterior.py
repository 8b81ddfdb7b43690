import pytest
import torch
from torch import nn

from pyrodgm.distributions import ExponentialSmoothing, OverlappingBernoulli, SpikeExponential
from pyrodgm.posteriors import GaussianIntegralLatents, HierarchicalPosterior, OverlappingLatents, SpikeLatents


def test_each_group_sees_centred_data_and_the_groups_before_it():
    nets = [nn.Linear(3, 2), nn.Linear(5, 4)]
    mean = torch.tensor([0.1, 0.2, 0.3])
    latents = [OverlappingLatents(ExponentialSmoothing(5.0)), SpikeLatents(4.0)]
    posterior = HierarchicalPosterior(nets, latents, [2, 4], mean)
    x = torch.rand(6, 3)
    q = posterior(x)
    z = q.rsample((2,))
    first = OverlappingBernoulli(nets[0](x - mean), ExponentialSmoothing(5.0))
    second = SpikeExponential(nets[1](torch.cat([(x - mean).expand(2, 6, 3), z[..., :2]], -1)), 4.0)
    expected = first.log_prob(z[..., :2]).sum(-1) + second.log_prob(z[..., 2:]).sum(-1)
    torch.testing.assert_close(q.log_prob(z.clone()), expected)
    torch.testing.assert_close(q.log_prob(z), expected)
    bits = posterior.discrete(x)
    b = bits.sample()
    assert ((b == 0) | (b == 1)).all()
    own = nets[1](torch.cat([x - mean, b[:, :2]], -1))
    expected = torch.distributions.Bernoulli(logits=torch.cat([nets[0](x - mean), own], -1)).log_prob(b).sum(-1)
    torch.testing.assert_close(bits.log_prob(b), expected)


def test_gaussian_integral_moves_and_widens_the_two_normals():
    latents = GaussianIntegralLatents(2)
    outputs = torch.tensor([[20.0, -20.0, 30.0, -30.0]])
    q = latents(outputs)
    # s = 0.25 at first, and the shift reaches a quarter either way
    torch.testing.assert_close(q.mean, torch.tensor([[1.25, -0.25]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(q.variance, torch.full((1, 2), 0.0625), atol=1e-6, rtol=0)
    q.log_prob(q.rsample()).sum().backward()
    assert latents.raw_scale.grad.abs().min() > 0
    torch.testing.assert_close(latents.discrete(outputs).mean, outputs[:, :2].sigmoid())


def test_groups_must_match():
    with pytest.raises(ValueError, match="got 1, 0 and 1"):
        HierarchicalPosterior([nn.Identity()], [], [2])
