"""Skewed Gaussians: the transformation of the axes, how it is found, and what its proposals weigh."""

import math

import pytest
import torch
from mpmath import mp, mpf, npdf, quad, sqrt
from torch.autograd.functional import jacobian

from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.refined import student
from pyrodgm.infer.evaluation.refined.annealing import anneal
from pyrodgm.infer.evaluation.refined.gauss_newton import Plan, sharpen, skew
from pyrodgm.infer.evaluation.refined.gaussian import LARGEST, MEAN_OF_ROOT, THIRD, Gaussian, Skew
from pyrodgm.infer.evaluation.refined.student import Mixture


def some(epsilon=None):
    """Two data in three dimensions."""
    torch.manual_seed(0)
    matrix = torch.randn(2, 3, 3)
    factor = torch.linalg.cholesky(matrix @ matrix.mT + torch.eye(3))
    epsilon = torch.tensor([[-1.2, 0.0, 0.4], [1.0, -0.3, 0.7]]) if epsilon is None else epsilon
    return Gaussian(torch.randn(2, 3), factor, Skew(torch.randn(2, 3), torch.rand(2, 3) + 0.5, epsilon))


def test_constants_are_moments_of_a_standard_normal():
    with mp.workdps(20):
        mean = quad(lambda w: sqrt(1 + w * w) * npdf(w), [-mp.inf, -3, 0, 3, mp.inf])
        third = 3 * quad(lambda w: (w * w - 1) * sqrt(1 + w * w) * npdf(w), [-mp.inf, -3, 0, 3, mp.inf])
        assert abs(mean - mpf(MEAN_OF_ROOT)) < 1e-12
        assert abs(third - mpf(THIRD)) < 1e-12


def test_points_stand_at_their_standardised_ones_with_the_right_slope():
    gaussian = some()
    v = torch.randn(5, 2, 3) * torch.tensor([0.1, 1.0, 3.0, 30.0, 1e4]).reshape(5, 1, 1)
    assert torch.allclose(gaussian.standardise(gaussian.place(v)), v, rtol=1e-8)
    for datum in range(2):
        own = gaussian[torch.tensor([datum])]
        slope = jacobian(lambda w, own=own: own.place(w)[0, 0], v[1:2, datum : datum + 1]).reshape(3, 3)
        assert torch.allclose(own.log_det(v[1:2, datum : datum + 1]), -slope.det().abs().log(), atol=1e-10)


def test_gradients_are_those_of_the_density_in_standardised_points():
    gaussian = some()
    v = torch.randn(4, 2, 3, requires_grad=True)

    def log_density(u):
        return -u.exp().sum(-1) + u.prod(-1)

    u = gaussian.place(v)
    want = torch.autograd.grad((log_density(u) - gaussian.log_det(v)).sum(), v)[0]
    at = u.detach().requires_grad_()
    slope = torch.autograd.grad(log_density(at).sum(), at)[0]
    assert torch.allclose(gaussian.pull_back(slope, v.detach()), want, atol=1e-10)


def test_a_large_skewness_is_held_back_and_a_small_one_is_met_to_first_order():
    one = torch.ones(1, 2)
    held = Skew.of_skewness(0.0 * one, one, torch.tensor([[50.0, -50.0]]))
    assert held.epsilon.tolist() == [[LARGEST, -LARGEST]]
    w = torch.linspace(-12, 12, 200_001).unsqueeze(-1).unsqueeze(-1)
    weight = (-0.5 * w.square()).exp() / (-0.5 * w.square()).exp().sum()
    u = Skew.of_skewness(0.0 * one, one, torch.tensor([[0.05, -0.1]])).place(w)
    mean = (weight * u).sum(0)
    third = (weight * (u - mean) ** 3).sum(0) / (weight * (u - mean) ** 2).sum(0) ** 1.5
    assert torch.allclose(third, torch.tensor([[0.05, -0.1]]), rtol=0.02)


def test_independent_gamma_logarithms_are_met_along_each_axis():
    torch.manual_seed(0)
    shape = torch.tensor([2.0, 4.0, 9.0]).repeat(4).expand(300, 12)
    fitted = Gaussian(shape.log() - 0.5 / shape, torch.diag_embed(shape.sqrt()))  # the nearest in KL(q || p)
    skewed = skew(fitted, lambda u: shape - u.exp(), 32, torch.float64)
    skewness = skewed.skew.epsilon * THIRD
    assert torch.allclose(skewness.mean(0), -shape[0].rsqrt(), rtol=0.08)  # the mean of -e^u is minus the shape

    def moments(w):
        u, slope = skewed.skew.place(w), skewed.skew.log_slope(w).exp()
        gradient = (shape - u.exp()) * slope + skewed.skew.slope_gradient(w)
        step = 1e-4
        ahead = skewed.skew.slope_gradient(w + step) - skewed.skew.slope_gradient(w - step)
        second = (
            -u.exp() * slope.square() + (shape - u.exp()) * slope * skewed.skew.slope_gradient(w) + ahead / (2 * step)
        )
        return gradient.mean(0), torch.diag_embed(-second.mean(0)), w.new_zeros(len(shape))

    def weights(gaussian):
        u, log_q = student.draw(gaussian, 200)
        return (shape * u - u.exp()).sum(-1) - log_q

    def effective(log_w):
        return float((2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp().mean())

    plain, sharp = weights(fitted), weights(sharpen(skewed, moments, torch.float64))
    estimate = sharp.flatten().logsumexp(0) - math.log(sharp.numel())
    assert torch.isclose(estimate, torch.lgamma(shape[0]).sum(), atol=0.01)
    assert effective(sharp) > 1.2 * effective(plain)


def test_an_axis_whose_gradients_overflow_is_not_skewed():
    gaussian = Gaussian(torch.zeros(1, 2), torch.eye(2).expand(1, 2, 2))
    found = skew(gaussian, lambda u: torch.stack([-u[..., 0].exp(), u[..., 1] / 0.0], -1), 32, torch.float64)
    assert found.skew.epsilon[0, 0] < -0.1
    assert found.skew.epsilon[0, 1] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("backwards", [False, True])
def test_annealing_in_skewed_coordinates_has_the_exact_integral(backwards):
    gaussian = some(torch.tensor([[-0.8, 0.0, 0.4], [0.9, -0.3, 0.7]]))
    centred = Skew(torch.zeros(2, 3), gaussian.skew.scale, gaussian.skew.epsilon)
    gaussian = Gaussian(0.3 * gaussian.mean, gaussian.factor, centred)

    def gradient(u):  # three standard normals times e^2
        return -u, 2.0 - 0.5 * u.square().sum(-1) - 1.5 * math.log(2 * math.pi)

    torch.manual_seed(1)
    u = torch.randn(2000, 2, 3) if backwards else student.draw(gaussian, 2000)[0]
    betas = torch.linspace(1, 0, 25) if backwards else torch.linspace(0, 1, 25)
    found = summarise(anneal(Mixture((gaussian,)), gradient, u, betas, torch.float64))
    error = (found["values"] - (-2.0 if backwards else 2.0)).abs()
    assert (error < 3 * (1 / found["ess"] - 1 / 2000).sqrt()).all()
    assert (found["ess"] > 800).all()


def test_first_fits_of_sticks_are_skewed_where_the_budget_allows_it():
    whole = Plan.of_budget(None, 49, is_damped=True, can_skew=True)
    assert whole.is_skewed
    assert (whole.draws, whole.fit_cost) == (2000, 32 * 52 + 16 * 3 * 50 + 2 * 128 * 3 + 160)
    enough = Plan.of_budget(2 * whole.fit_cost, 49, is_damped=True, can_skew=True)
    assert enough.is_skewed
    assert enough.draws == whole.fit_cost
    hardly = 2 * (whole.fit_cost - whole.search_cost)
    unsearched = Plan.of_budget(hardly, 49, is_damped=True, can_skew=True)
    assert (unsearched.is_skewed, unsearched.searches) == (True, False)
    for budget, damped, can in ((hardly - 1, True, True), (None, True, False), (None, False, True)):
        plan = Plan.of_budget(budget, 49, damped, can)
        assert not plan.is_skewed
        assert not plan.is_quick
        assert plan.draws == (2000 if budget is None else budget - 32 * 52 - 160)
    assert Plan.of_budget(Plan.least_budget(49), 49, is_damped=True, can_skew=True).is_quick
    assert Plan.of_budget(Plan.least_budget(49) - 1, 49, is_damped=True, can_skew=True) is None
