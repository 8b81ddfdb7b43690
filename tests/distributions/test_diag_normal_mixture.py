"""What the generic test does not ask of `DiagNormalMixture`."""

import math

import mpmath as mp
import pyro.distributions as dist
import pytest
import torch

from pyrodgm.distributions import DiagNormalMixture


def reference(value, logits, loc, scale):
    each = torch.distributions.Normal(loc, scale).log_prob(value.unsqueeze(-2)).sum(-1)
    return (logits.log_softmax(-1) + each).logsumexp(-1)


def components(k, d, dtype=torch.float32):
    logits, loc = torch.randn(k, dtype=dtype), torch.randn(k, d, dtype=dtype) * 1.5
    return logits, loc, (torch.rand(k, d, dtype=dtype) * math.log(2.7 / 0.05)).exp() * 0.05


def test_float32_accuracy_and_gradients():
    params = [p.requires_grad_() for p in components(500, 40)]
    value = (params[1][:100] + params[2][:100] * torch.randn(100, 40, dtype=torch.float32)).detach().requires_grad_()
    inputs = [value, *params]
    wide = [p.detach().double().requires_grad_() for p in inputs]
    got, expected = DiagNormalMixture(*params).log_prob(value), reference(*wide)
    assert (got - expected).abs().max() < 1e-3
    for a, b in zip(torch.autograd.grad(got.sum(), inputs), torch.autograd.grad(expected.sum(), wide), strict=True):
        assert (a - b).abs().max() < 1e-6 * b.abs().max()


def test_far_values_and_dead_components_stay_finite():
    logits, loc, scale = components(20, 3)
    logits[:5] = -math.inf
    scale[7] = 1e-6
    params = [logits.requires_grad_(), loc.requires_grad_(), scale.requires_grad_()]
    value = torch.tensor([[1e15, 0, 0], [0, 0, 0], loc[7].tolist()], dtype=torch.float32)
    result = DiagNormalMixture(*params).log_prob(value)
    assert result.isfinite().all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(result.sum(), params))


@pytest.mark.parametrize(
    ("logits_shape", "loc_shape", "scale_shape", "value_shape"),
    [
        ((4,), (4, 3), (4, 3), (5, 2, 3)),
        ((2, 4), (4, 3), (4, 3), (5, 2, 3)),
        ((4,), (2, 4, 3), (4, 3), (5, 2, 3)),
        ((6, 1, 4), (2, 4, 3), (6, 1, 4, 3), (7, 1, 2, 3)),
        ((2, 4), (2, 4, 3), (2, 4, 3), (3,)),
    ],
)
def test_broadcasting(logits_shape, loc_shape, scale_shape, value_shape):
    params = torch.randn(logits_shape), torch.randn(loc_shape), torch.rand(scale_shape) + 0.1
    mixture, value = DiagNormalMixture(*params), torch.randn(value_shape)
    expected = reference(value, *params)
    torch.testing.assert_close(mixture.log_prob(value), expected)
    new = mixture.expand((9, *mixture.batch_shape))
    torch.testing.assert_close(new.log_prob(draw := new.sample()), reference(draw, *params))
    draws = mixture.sample((4000,))
    assert draws.shape == (4000, *mixture.batch_shape, 3)
    error = (draws.mean(0) - mixture.mean) / (mixture.variance / 4000).sqrt()
    assert error.abs().max() < 5.5


def test_responsibilities_and_parts():
    logits, loc, scale = components(4, 3, torch.float64)
    mixture = DiagNormalMixture(logits, loc, scale)
    value = torch.randn(6, 3)
    each = mixture.component_distribution.log_prob(value.unsqueeze(-2)) + mixture.mixture_distribution.logits
    torch.testing.assert_close(mixture.responsibilities(value), each.softmax(-1))
    same = dist.MixtureSameFamily(mixture.mixture_distribution, mixture.component_distribution)
    torch.testing.assert_close(mixture.log_prob(value), same.log_prob(value))
    torch.testing.assert_close(mixture.mean, same.mean)
    torch.testing.assert_close(mixture.variance, same.variance)


def test_pathwise_gradient_is_exact_in_one_dimension():
    """dz/dparams = -dF/dparams / p(z), each by finite differences of the distribution function."""
    params = [torch.tensor([0.2, -0.4]), torch.tensor([[-1.0], [1.5]]), torch.tensor([[0.5], [1.2]])]
    mixture = DiagNormalMixture(*(p.clone().requires_grad_() for p in params))

    def cdf(z, logits, loc, scale):
        return (logits.softmax(-1) * torch.special.ndtr((z - loc.squeeze(-1)) / scale.squeeze(-1))).sum(-1)

    for _ in range(20):
        z = mixture.rsample()
        got = torch.autograd.grad(z.sum(), mixture._given)
        density = mixture.log_prob(z).exp()
        for which, gradient in enumerate(got):
            for j in range(2):
                high, low = ([p.clone() for p in params] for _ in range(2))
                high[which].view(-1)[j] += 1e-6
                low[which].view(-1)[j] -= 1e-6
                change = (cdf(z, *high) - cdf(z, *low)) / 2e-6
                torch.testing.assert_close(gradient.view(-1)[j], (-change / density).squeeze(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("at", [-12.0, 14.0])
def test_pathwise_gradient_of_a_draw_far_in_a_tail(at, monkeypatch):
    params = [torch.tensor([0.2, -0.4]), torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.1]])]
    mixture = DiagNormalMixture(*(p.clone().requires_grad_() for p in params))
    monkeypatch.setattr(mixture, "sample", lambda shape=(): torch.tensor([at]))
    got = torch.cat([g.flatten() for g in torch.autograd.grad(mixture.rsample().sum(), mixture._given)])
    with mp.workdps(60):

        def below(*flat):
            first, second = mp.exp(flat[0]), mp.exp(flat[1])
            parts = [mp.ncdf((at - m) / s) for m, s in ((flat[2], flat[4]), (flat[3], flat[5]))]
            return (first * parts[0] + second * parts[1]) / (first + second)

        flat = [mp.mpf(x.item()) for p in params for x in p.flatten()]
        share = mp.exp(flat[0]) / (mp.exp(flat[0]) + mp.exp(flat[1]))
        density = share * mp.npdf(at, flat[2], flat[4]) + (1 - share) * mp.npdf(at, flat[3], flat[5])
        orders = [tuple(int(i == j) for j in range(6)) for i in range(6)]
        expected = [float(-mp.diff(below, flat, order) / density) for order in orders]
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-9, atol=0)


def test_stratified_estimate_is_unbiased_with_less_variance():
    params = [p.requires_grad_() for p in components(3, 2, torch.float64)]
    mixture = DiagNormalMixture(*params)
    exact = torch.autograd.grad((mixture.variance + mixture.mean.square()).sum(), params)
    groups = []
    for _ in range(20):
        z, weights = mixture.rsample_stratified((1000,))
        assert z.shape == (3, 1000, 2)
        stratified = (weights * z.square().sum(-1)).sum(0)
        groups.append(torch.autograd.grad(stratified.mean(), params))
    for expected, *got in zip(exact, *groups, strict=True):
        got = torch.stack(got)
        assert ((got.mean(0) - expected) / (got.std(0) / 20**0.5)).abs().max() < 6
    assert stratified.var() < mixture.rsample((4000,)).square().sum(-1).var()
    assert (mixture.expand((5,)).rsample_stratified((2,))[1].shape) == (3, 1, 5)


def test_choice_of_gradient():
    mixture = DiagNormalMixture(*(p.requires_grad_() for p in components(3, 2, torch.float64)))
    assert mixture().requires_grad
    assert not mixture.has_rsample_(False)().requires_grad
    assert not mixture.expand((4,))().requires_grad


def test_shapes_that_do_not_fit():
    logits, loc, scale = components(3, 2)
    with pytest.raises(ValueError, match=r"loc must end in \[K, D\]"):
        DiagNormalMixture(logits[:2], loc, scale)
    with pytest.raises(ValueError, match=r"scale must end in \[K, D\]"):
        DiagNormalMixture(logits, loc, scale[:, :1])
    with pytest.raises(ValueError, match=r"logits, loc and scale must have shapes \[\*batch, K\]"):
        DiagNormalMixture(logits, loc[0], scale)


def test_gradients_come_back_without_denormal_numbers():
    """Components of which nothing comes are exactly nothing: denormal numbers slow down every product after them."""
    loc = torch.linspace(0.0, 40.0, 400).unsqueeze(-1)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        given = loc.to(dtype).requires_grad_()
        mixture = DiagNormalMixture(torch.zeros(400, dtype=dtype), given, torch.ones(400, 1, dtype=dtype))
        gradients += torch.autograd.grad(mixture.log_prob(torch.zeros(1, dtype=dtype)).sum(), given)
    exact, got = gradients
    kept = exact.abs() >= 1e-30
    assert (~kept & (exact.abs().float() > 0)).sum() > 20
    assert (got[~kept] == 0).all()
    torch.testing.assert_close(got[kept].double(), exact[kept], rtol=1e-5, atol=1e-31)
