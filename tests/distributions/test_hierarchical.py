"""Groups given groups: against the joint normal that a linear chain of normals is."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrodgm.distributions import ExponentialSmoothing, Hierarchical, OverlappingBernoulli

LOC = torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.1, 0.2]], dtype=torch.float64)
MIX = torch.tensor([[1.0, 0.3, -0.5], [0.2, -1.0, 0.4]], dtype=torch.float64)


def chain(count):
    """Two normals, then three whose means are a linear map of them."""

    def conditional(earlier):
        count.append(len(earlier))
        if not earlier:
            return dist.Normal(LOC, 0.7).to_event(1)
        return dist.Normal(earlier[0] @ MIX, 0.4).to_event(1)

    return Hierarchical(conditional, [2, 3])


def joint():
    mean = torch.cat([LOC, LOC @ MIX], -1)
    lift = torch.cat([torch.eye(2), MIX], -1)
    noise = torch.diag(torch.tensor([0.0, 0.0, 0.16, 0.16, 0.16]))
    return dist.MultivariateNormal(mean, 0.49 * lift.T @ lift + noise)


def test_density_and_draws_are_those_of_the_joint():
    q, exact = chain([]), joint()
    value = torch.randn(7, 3, 5)
    torch.testing.assert_close(q.log_prob(value), exact.log_prob(value))
    draws = q.rsample((50_000,))
    assert draws.shape == (50_000, 3, 5)
    torch.testing.assert_close(draws.mean(0), exact.mean, atol=0.03, rtol=0)
    for i in range(3):
        torch.testing.assert_close(draws[:, i].T.cov(), exact.covariance_matrix[i], atol=0.03, rtol=0)


def test_a_draw_remembers_its_distributions_and_other_values_do_not():
    calls = []
    q = chain(calls)
    z = q.rsample((4,))
    calls.clear()
    torch.testing.assert_close(q.log_prob(z), joint().log_prob(z))
    assert calls == []
    torch.testing.assert_close(q.log_prob(z.clone()), joint().log_prob(z))
    assert calls == [1]
    assert q.groups(z)[1].mean.shape == (4, 3, 3)
    z.mul_(2.0)
    torch.testing.assert_close(q.log_prob(z), joint().log_prob(z))
    assert calls == [1, 1]


def test_a_draw_without_gradient_has_a_density_with_one():
    loc = torch.zeros(3, 2, requires_grad=True)
    q = Hierarchical(lambda earlier: dist.Normal(loc + sum(earlier), 1.0).to_event(1), [2, 2])
    with torch.no_grad():
        z = q.rsample()
    (gradient,) = torch.autograd.grad(q.log_prob(z).sum(), loc)
    torch.testing.assert_close(gradient, z[..., 2:])


def test_expansion_draws_anew_for_each_particle():
    with pyro.plate("particles", 4, dim=-2), pyro.plate("data", 3, dim=-1):
        trace = pyro.poutine.trace(lambda: pyro.sample("z", chain([]))).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["z"]
    assert site["value"].shape == (4, 3, 5)
    assert not torch.equal(site["value"][0], site["value"][1])
    torch.testing.assert_close(site["log_prob"], joint().log_prob(site["value"]))


def test_moments_are_those_of_groups_given_a_draw():
    q = chain([])
    assert torch.equal(q.mean[..., :2], LOC)
    torch.testing.assert_close(q.variance, torch.tensor([0.49, 0.49, 0.16, 0.16, 0.16]).expand(3, 5))
    assert not torch.equal(q.mean[..., 2:], q.mean[..., 2:])


def test_groups_without_rsample_keep_the_gradient_of_their_density():
    logits = torch.zeros(3, 2, requires_grad=True)
    weight = torch.tensor(0.5, requires_grad=True)

    def conditional(earlier):
        return dist.Bernoulli(logits=weight * earlier[0] if earlier else logits).to_event(1)

    q = Hierarchical(conditional, [2, 2])
    assert not q.has_rsample
    z = q.sample()
    assert not z.requires_grad
    gradients = torch.autograd.grad(q.log_prob(z).sum(), (logits, weight))
    torch.testing.assert_close(gradients[0], z[..., :2] - 0.5)
    expected = (z[..., :2] * (z[..., 2:] - (0.5 * z[..., :2]).sigmoid())).sum()
    torch.testing.assert_close(gradients[1], expected)


def test_draws_are_reparameterised_through_the_hierarchy():
    logits = torch.full((1,), 0.3, requires_grad=True)

    def conditional(earlier):
        own = 2.0 * earlier[0] if earlier else logits
        return OverlappingBernoulli(own, ExponentialSmoothing(4.0)).to_event(1)

    torch.manual_seed(1)
    value = Hierarchical(conditional, [1, 1]).rsample()
    (second,) = torch.autograd.grad(value[1], logits, retain_graph=True)
    (first,) = torch.autograd.grad(value[0], logits)
    assert first > 0
    assert second > 0


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match=r"sizes\[0\] must be that of group 0, \[2\]; got 3"):
        Hierarchical(lambda earlier: dist.Normal(LOC, 1.0).to_event(1), [3])
    q = Hierarchical(lambda earlier: dist.Normal(LOC, 1.0).to_event(1), [2, 3])
    for use in (q.sample, lambda: q.log_prob(torch.zeros(5))):
        with pytest.raises(ValueError, match=r"sizes\[1\] must be that of group 1, \[2\]; got 3"):
            use()
    with pytest.raises(ValueError, match="sizes must name at least one group"):
        Hierarchical(lambda earlier: dist.Normal(LOC, 1.0).to_event(1), [])
