"""What the generic test does not ask of stick-breaking distributions."""

from fractions import Fraction

import pyro.distributions as dist
import pytest
import torch

from pyrodgm.distributions import (
    GEM,
    Kumaraswamy,
    LogitNormal,
    StickBreaking,
    first_sticks,
    fractions_to_weights,
    sticks_to_mass,
    weights_to_fractions,
)


def test_equals_dirichlet():
    alpha, size = 0.7, 6
    left = torch.arange(size - 1, 0, -1)
    sticks = StickBreaking(dist.Beta(torch.full((size - 1,), alpha), left * alpha).to_event(1))
    dirichlet = dist.Dirichlet(torch.full((size,), alpha))
    draws = dirichlet.sample((50,))
    torch.testing.assert_close(sticks.log_prob(draws), dirichlet.log_prob(draws))
    torch.testing.assert_close(sticks.mean, dirichlet.mean)
    torch.testing.assert_close(sticks.variance, dirichlet.variance)


def test_float32_variance_keeps_its_digits():
    """Against the moments of Beta in rational numbers; the last stick is a product of independent fractions."""
    for alpha in (10**5, 30, Fraction(1, 1000)):
        found = GEM(torch.tensor(float(alpha), dtype=torch.float32), 4).variance.double()
        mean, square = Fraction(1) / (alpha + 1), Fraction(2) / ((alpha + 1) * (alpha + 2))
        rest, rest_square = 1 - mean, 1 - 2 * mean + square
        exact = [square * rest_square**k - (mean * rest**k) ** 2 for k in range(3)] + [rest_square**3 - rest**6]
        torch.testing.assert_close(found, torch.tensor([float(v) for v in exact]), rtol=1e-5, atol=0.0)
    many = GEM(torch.logspace(-6, 6, 50, dtype=torch.float32), 200).variance
    assert (many >= 0).all()


def test_maps_are_inverse():
    fractions = torch.rand(7, 4, 9)
    weights = fractions_to_weights(fractions)
    torch.testing.assert_close(weights.sum(-1), torch.ones(7, 4))
    torch.testing.assert_close(weights_to_fractions(weights), fractions)
    jacobian = torch.autograd.functional.jacobian(lambda v: fractions_to_weights(v)[:-1], fractions[0, 0])
    each = Kumaraswamy(torch.rand(9) + 0.5, torch.rand(9) + 0.5)
    expected = each.log_prob(fractions[0, 0]).sum() - jacobian.logdet()
    torch.testing.assert_close(StickBreaking(each.to_event(1)).log_prob(weights[0, 0]), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_density_is_that_of_the_weights_given(dtype):
    sticks = StickBreaking(Kumaraswamy(torch.ones(20, dtype=dtype), torch.full((20,), 0.2, dtype=dtype)).to_event(1))
    draws = sticks.sample((1000,))
    assert torch.equal(sticks.log_prob(draws), sticks.log_prob(draws.clone()))


def test_gradients_stay_finite_in_float32():
    grid = torch.logspace(-2, 3, 10, dtype=torch.float32)
    a, b = (x.requires_grad_() for x in torch.cartesian_prod(grid, grid).unbind(-1))
    q = StickBreaking(Kumaraswamy(a, b).to_event(1))
    prior = GEM(torch.tensor(5.0, dtype=torch.float32), 101)
    draws = q.rsample((200,))
    for at in (draws, draws.detach()):
        difference = q.log_prob(at) - prior.log_prob(at)
        assert difference.isfinite().all()
        gradients = torch.autograd.grad(difference.mean() + at.square().sum(), (a, b), retain_graph=True)
        assert all(g.isfinite().all() for g in gradients)


def test_fractions_rounded_to_one_are_recovered_from_the_weights_alone():
    log1m = torch.tensor([-30.0, -25.0], dtype=torch.float32)
    weights = torch.stack([torch.ones(()), log1m[0].exp(), log1m.sum().exp()]).float()
    uniform = StickBreaking(Kumaraswamy(torch.ones(2), 3.0 * torch.ones(2)).to_event(1))
    expected = 2 * torch.tensor(3.0).log() + 2 * log1m.sum() - log1m[0]
    torch.testing.assert_close(uniform.log_prob(weights), expected, check_dtype=False)


def test_number_of_sticks():
    concentration = torch.tensor([0.5, 5.0, 30.0])
    expected = torch.tensor([5, 26, 100])  # ceil(log 0.01 / log(c / (c + 1))), at most the truncation
    assert torch.equal(GEM(concentration, 100).num_sticks(0.99), expected)
    assert torch.equal(sticks_to_mass(torch.tensor([[1.0, 0, 0], [0.5, 0.25, 0.25]])), torch.tensor([1, 3]))
    with pytest.raises(ValueError, match="mass must be finite and greater than 0 and less than 1"):
        sticks_to_mass(torch.ones(1), 1.0)


def test_fractions_of_any_distribution():
    """A distribution that is not known in log space is used as it is."""
    base = dist.Uniform(torch.zeros(3), torch.ones(3))
    sticks = StickBreaking(base.to_event(1))
    draws = sticks.sample((10,))
    flat = StickBreaking(dist.Beta(torch.ones(3), torch.ones(3)).to_event(1))
    torch.testing.assert_close(sticks.log_prob(draws), flat.log_prob(draws))


def test_fractions_that_are_transformed():
    loc, scale = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.5, 1.0, 2.0])
    for dtype in (torch.float32, torch.float64):
        normal = dist.Normal(loc.to(dtype), scale.to(dtype))
        sigmoid = dist.TransformedDistribution(normal, [dist.transforms.SigmoidTransform()])
        sticks = StickBreaking(sigmoid.to_event(1))
        draws = sticks.sample((10,))
        assert draws.dtype == sticks.log_prob(draws).dtype == dtype
        known = StickBreaking(LogitNormal(normal.loc, normal.scale).to_event(1))
        torch.testing.assert_close(sticks.log_prob(draws), known.log_prob(draws), rtol=1e-4, atol=1e-4)
    mixture = dist.MixtureSameFamily(dist.Categorical(torch.ones(3, 2)), dist.Beta(torch.ones(3, 2), torch.ones(3, 2)))
    flat = StickBreaking(dist.Beta(torch.ones(3), torch.ones(3)).to_event(1))
    draws = flat.sample((10,))
    torch.testing.assert_close(StickBreaking(mixture.to_event(1)).log_prob(draws), flat.log_prob(draws))


def test_whole_numbers_are_parameters_too():
    for make in (
        lambda c: GEM(c, 4),
        lambda c: Kumaraswamy(c, c),
        lambda c: Kumaraswamy(c, 5),
        lambda c: LogitNormal(c, c),
    ):
        one, other = make(torch.tensor([5, 5])), make(torch.tensor([5.0, 5.0]))
        x = other.sample()
        torch.testing.assert_close(one.log_prob(x), other.log_prob(x))
        assert one.sample().dtype == torch.get_default_dtype()
    torch.testing.assert_close(GEM(5, 10).mean, GEM(5.0, 10).mean)
    assert Kumaraswamy(2, 3).sample().dtype == torch.get_default_dtype()


def test_bad_arguments():
    with pytest.raises(ValueError, match="fractions must have event dimension 1"):
        StickBreaking(Kumaraswamy(torch.ones(3), torch.ones(3)))
    with pytest.raises(ValueError, match=r"event shape \[K - 1\]"):
        StickBreaking(dist.Dirichlet(torch.ones(2, 3)).to_event(1))
    with pytest.raises(ValueError, match="truncation must be at least 2, got 1"):
        GEM(torch.tensor(1.0), 1)


def test_first_sticks():
    weights = StickBreaking(dist.Beta(torch.ones(4, 5), torch.full((4, 5), 3.0)).to_event(1)).sample()
    kept = first_sticks(weights, 2)
    assert torch.equal(kept[:, :2], weights[:, :2])
    assert (kept[:, 2:] == 0).all()
    scaled = first_sticks(weights, 2, renormalize=True)
    torch.testing.assert_close(scaled.sum(-1), torch.ones(4))
    torch.testing.assert_close(scaled[:, 0] / scaled[:, 1], weights[:, 0] / weights[:, 1])
    assert torch.equal(first_sticks(weights, 6), weights)
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"count must be .*, got {count}"):
            first_sticks(weights, count)
