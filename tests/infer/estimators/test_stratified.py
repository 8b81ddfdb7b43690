"""Bounds that draw from every component, against quadrature over all latents."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, pyro_method
from torch import nn

from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.infer import ELBO, IWELBO, StratifiedELBO, StratifiedIWELBO
from pyrodgm.infer.tracing.contexts import own_parameters

X = torch.tensor([0.3, -1.2], dtype=torch.float64)
NODES, WEIGHTS = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()  # of the standard normal


class Mixture(PyroModule):
    """x | z ~ N(z, 1), z ~ N(0, 1), guided by two Normals whose places depend on x."""

    def __init__(self, gap=1.5):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.4, -0.3]))
        self.loc = nn.Parameter(torch.tensor([-gap, gap]))
        self.log_scale = nn.Parameter(torch.tensor([-0.4, -0.1]))

    def posterior(self, x):
        loc, scale = self.loc + 0.5 * x.unsqueeze(-1), self.log_scale.exp().expand(*x.shape, 2)
        return DiagNormalMixture(self.logits.expand_as(loc), loc.unsqueeze(-1), scale.unsqueeze(-1))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", 10, subsample=torch.arange(len(x)), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.squeeze(-1), 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", 10, subsample=torch.arange(len(x)), dim=-1):
            pyro.sample("z", self.posterior(x))

    def nodes(self, x):
        """Log weight of each draw at the quadrature's nodes, ``[B, 2, nodes]``, and the components' weights."""
        q = self.posterior(x)
        z = q.loc + q.scale * NODES
        log_p = dist.Normal(0.0, 1.0).log_prob(z) + dist.Normal(z, 1.0).log_prob(x[:, None, None])
        log_q = q.log_prob(z.movedim(0, -1).unsqueeze(-1)).movedim(-1, 0)
        return log_p - log_q, q.probs

    def exact_elbo(self, x):
        log_w, probs = self.nodes(x)
        return 5.0 * (probs * (log_w * WEIGHTS).sum(-1)).sum()

    def exact_siwae(self, x):
        """Both components' draws together: log of a weighted sum, over the square of the nodes."""
        log_w, probs = self.nodes(x)
        first, second = (probs.log().unsqueeze(-1) + log_w).unbind(1)
        both = torch.logaddexp(first.unsqueeze(-1), second.unsqueeze(-2))
        return 5.0 * (both * WEIGHTS.unsqueeze(-1) * WEIGHTS).sum()

    def exact_iwelbo(self, x):
        """Two draws of the mixture: log of their mean weight, over the square of all components' nodes."""
        log_w, probs = self.nodes(x)
        log_w, chance = log_w.flatten(1), (probs.unsqueeze(-1) * WEIGHTS).flatten(1)
        both = torch.logaddexp(log_w.unsqueeze(-1), log_w.unsqueeze(-2)) - math.log(2.0)
        return 5.0 * (both * chance.unsqueeze(-1) * chance.unsqueeze(-2)).sum()


def value_and_gradients(objective, pair, groups=40, copies=1):
    """Mean and standard error of a bound and its gradients over independent estimates, each a mean over copies of X."""
    rows = []
    for _ in range(groups):
        loss = objective.differentiable_loss(pair.model, pair.guide, X.repeat(copies))
        gradients = torch.autograd.grad(-loss, list(pair.parameters()))
        rows.append(torch.cat([-loss.detach().reshape(1), *(g.reshape(-1) for g in gradients)]))
    rows = torch.stack(rows)
    return rows.mean(0), rows.std(0) / groups**0.5


def exact_gradients(bound, pair):
    gradients = torch.autograd.grad(bound, list(pair.parameters()))
    return torch.cat([bound.detach().reshape(1), *(g.reshape(-1) for g in gradients)])


@pytest.mark.parametrize(
    "objective", [StratifiedELBO(num_particles=500), ELBO(num_particles=500, vectorize_particles=True)]
)
def test_elbo_and_its_gradients_are_those_of_quadrature(objective):
    pair = Mixture()
    mean, error = value_and_gradients(objective, pair)
    exact = exact_gradients(pair.exact_elbo(X), pair)
    assert ((mean - exact).abs() < 5 * error).all()
    assert (error < 0.2).all()


def test_siwae_and_its_gradients_are_those_of_quadrature():
    pair = Mixture()
    mean, error = value_and_gradients(StratifiedIWELBO(1), pair, copies=20)
    exact = exact_gradients(pair.exact_siwae(X), pair)
    assert ((mean - exact).abs() < 5 * error).all()
    assert pair.exact_elbo(X) < pair.exact_siwae(X) < 5 * dist.Normal(0.0, 2**0.5).log_prob(X).sum()


def test_importance_weighted_bound_of_mixture_draws_and_its_gradients_are_those_of_quadrature():
    pair = Mixture()
    mean, error = value_and_gradients(IWELBO(2), pair, copies=100)
    exact = exact_gradients(pair.exact_iwelbo(X), pair)
    assert ((mean - exact).abs() < 4.5 * error).all(), (mean, exact, error)
    assert (error < 0.05 * exact.abs().max()).all()


@pytest.mark.slow
def test_stratified_bound_is_tighter_than_the_importance_weighted_one():
    pair = Mixture()
    with torch.no_grad():
        plain, stratified = (
            np.mean([-objective.loss(pair.model, pair.guide, X) for _ in range(400)])
            for objective in (IWELBO(4), StratifiedIWELBO(4))
        )
    assert plain < stratified < 5 * dist.Normal(0.0, 2**0.5).log_prob(X).sum()


@pytest.mark.slow
def test_stratified_gradients_of_the_weights_vary_less():
    pair = Mixture(gap=4.0)
    _, implicit = value_and_gradients(ELBO(num_particles=2, vectorize_particles=True), pair, groups=200)
    _, stratified = value_and_gradients(StratifiedELBO(), pair, groups=200)
    assert (stratified[1:3] < 0.2 * implicit[1:3]).all()


def test_same_draws_give_what_is_computed_by_hand():
    """Also with particles, and with the divergence's weight."""
    pair = Mixture()
    for objective, count in (
        (StratifiedELBO(0.3, 3, max_plate_nesting=1), 3),
        (StratifiedIWELBO(3, 0.3, max_plate_nesting=1), 3),
    ):
        pyro.set_rng_seed(2)
        loss = objective.loss(pair.model, pair.guide, X)
        pyro.set_rng_seed(2)
        q = pair.posterior(X).expand((count, 2))
        z, weights = q.rsample_stratified()
        log_w = 0.3 * (dist.Normal(0.0, 1.0).log_prob(z).squeeze(-1) - q.log_prob(z))
        log_w = log_w + dist.Normal(z.squeeze(-1), 1.0).log_prob(X)
        if isinstance(objective, StratifiedELBO):
            expected = (weights * log_w).sum() / count
        else:
            expected = ((weights * log_w.exp()).sum((0, 1)) / count).log().sum()
        assert loss == pytest.approx(-5 * expected.item(), rel=1e-12)


class Tower(PyroModule):
    """Two mixtures, the lower one conditioned on the upper one."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.5, -0.2, 0.1]))
        self.loc = nn.Parameter(torch.tensor([-1.0, 0.3, 1.2]))

    def upper(self):
        return DiagNormalMixture(self.logits, self.loc.unsqueeze(-1), torch.full((3, 1), 0.5))

    def lower(self, x, z2):
        loc = 0.5 * (x.unsqueeze(-1) + z2) + torch.tensor([-0.4, 0.4])
        return DiagNormalMixture(
            torch.stack([z2.squeeze(-1), -z2.squeeze(-1)], -1), loc.unsqueeze(-1), torch.tensor([[0.7], [0.6]])
        )

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(torch.zeros(1), 1.0).to_event(1))
            z1 = pyro.sample("z1", dist.Normal(z2, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z1.squeeze(-1), 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", self.upper())
            pyro.sample("z1", self.lower(x, z2))

    def exact(self, x):
        total = torch.zeros(())
        q2 = self.upper()
        z2 = (q2.loc + q2.scale * NODES)[..., None]  # [3, nodes, 1]
        outer = q2.probs[:, None] * WEIGHTS
        log_2 = dist.Normal(0.0, 1.0).log_prob(z2).squeeze(-1) - q2.log_prob(z2)
        for datum in x:
            q1 = self.lower(datum.expand(z2.shape[:-1]), z2)
            for k in range(2):
                z1 = q1.loc[..., k, :] + q1.scale[..., k, :] * NODES  # [3, nodes, nodes]
                inner = q1.probs[..., k, None] * WEIGHTS
                log_1 = dist.Normal(z2, 1.0).log_prob(z1) - q1.log_prob(z1.movedim(-1, 0)[..., None]).movedim(0, -1)
                each = dist.Normal(z1, 1.0).log_prob(datum) + log_1 + log_2.unsqueeze(-1)
                total = total + (outer.unsqueeze(-1) * inner * each).sum()
        return total


@pytest.mark.slow
def test_all_combinations_of_two_mixtures_are_drawn():
    pair = Tower()
    mean, error = value_and_gradients(StratifiedELBO(num_particles=300), pair)
    assert ((mean - exact_gradients(pair.exact(X), pair)).abs() < 5 * error).all()
    with torch.no_grad():
        bounds = [-StratifiedIWELBO(2000).loss(pair.model, pair.guide, X) for _ in range(20)]
    evidence = dist.Normal(0.0, 3**0.5).log_prob(X).sum().item()
    assert np.mean(bounds) == pytest.approx(evidence, abs=4 * np.std(bounds) / 20**0.5 + 1e-3)


def test_guides_without_mixtures_are_served_as_by_elbo():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.5 * x, 0.8))

    for ours, theirs in (
        (StratifiedELBO(num_particles=3), ELBO(num_particles=3, vectorize_particles=True)),
        (StratifiedIWELBO(3), IWELBO(3)),
        (StratifiedIWELBO(1), IWELBO(1)),
    ):
        pyro.set_rng_seed(1)
        expected = theirs.loss(model, guide, X)
        pyro.set_rng_seed(1)
        assert ours.loss(model, guide, X) == pytest.approx(expected, rel=1e-12)


def test_plates_that_do_not_fit_are_refused():
    mixture = DiagNormalMixture(torch.zeros(2), torch.randn(2, 1), torch.ones(2, 1))

    def model(x):
        with pyro.plate("parts", 3, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-2, keepdim=True).squeeze(-1), 1.0), obs=x)

    def guide(x):
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("z", mixture)

    with pytest.raises(ValueError, match="site 'x' must lie in all plates of 'z'"):
        StratifiedELBO(max_plate_nesting=1).loss(model, guide, X[0])
    with pytest.raises(ValueError, match="site 'z' is a mixture in a plate"):
        StratifiedIWELBO(1, max_plate_nesting=1).loss(model, guide, X[0])
    with pytest.raises(ValueError, match="num_particles must be at least 1, got 0"):
        StratifiedIWELBO(0)


def test_sites_that_cannot_be_reparametrised_are_refused():
    pair = Mixture()

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Poisson(1.0))
            pyro.sample("z", pair.posterior(x))

    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Poisson(1.0))
            pyro.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))

    for objective in (StratifiedELBO(), StratifiedIWELBO(2)):
        with own_parameters(pair), pytest.raises(ValueError, match="site 'k' is Poisson"):
            objective.differentiable_loss(model, guide, X)


def test_vanishing_weights_keep_gradients_finite():
    pair = Mixture()
    with torch.no_grad():
        pair.logits.copy_(torch.tensor([0.0, -2000.0]))
    for objective in (StratifiedELBO(), StratifiedIWELBO(2)):
        loss = objective.differentiable_loss(pair.model, pair.guide, X)
        assert math.isfinite(loss.item())
        assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(pair.parameters())))
