"""Priors of mixture weights and of components whose weights are latent."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from pyrodgm.arithmetic import stick_logits
from pyrodgm.distributions import KumaraswamyLogit, StickLogits
from pyrodgm.nn import stick_weights
from pyrodgm.priors import GaussianComponents, SymmetricDirichletPrior


@pytest.mark.parametrize(("size", "concentration"), [(2, 1.0), (5, 0.3), (4, 2.5)])
def test_it_is_the_dirichlet(size, concentration):
    prior, reference = (
        SymmetricDirichletPrior(size, concentration)(),
        dist.Dirichlet(torch.full((size,), concentration)),
    )
    weights = reference.sample((50,))
    logits = stick_logits(weights.log())
    torch.testing.assert_close(stick_weights(logits), weights)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda y: stick_weights(y)[:-1]))(logits).logdet()
    torch.testing.assert_close(prior.log_prob(logits) - jacobian, reference.log_prob(weights))
    torch.testing.assert_close(prior.mean_weights, reference.mean)
    torch.testing.assert_close(prior.variance_weights, reference.variance)


def test_divergence_from_a_posterior_is_exact():
    q = StickLogits(KumaraswamyLogit(torch.tensor([1.2, 0.7]), torch.tensor([2.0, 1.1])))
    p = SymmetricDirichletPrior(3, 0.8)()
    with torch.no_grad():
        draws = q.sample((200_000,))
        terms = q.log_prob(draws) - p.log_prob(draws)
    assert kl_divergence(q, p).item() == pytest.approx(terms.mean().item(), abs=5 * terms.std().item() / 200_000**0.5)


def test_components():
    weights = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    z = torch.randn(2, 4)
    standard = GaussianComponents(4, 3)(weights)
    torch.testing.assert_close(standard.log_prob(z), dist.Normal(0.0, 1.0).expand((4,)).to_event(1).log_prob(z))
    spread = GaussianComponents(4, 3, "spread", spread=0.5)(weights)
    each = torch.stack([dist.Normal(m, 1.0).log_prob(z).sum(-1) for m in (-0.5, 0.0, 0.5)], -1)
    torch.testing.assert_close(spread.log_prob(z), (weights.log() + each).logsumexp(-1))
    learned = GaussianComponents(4, 3, "learned")
    assert {name for name, _ in learned.named_parameters()} == {"loc", "log_variance"}
    assert learned(weights).batch_shape == (2,)
    assert list(GaussianComponents(4, 3, "spread").parameters()) == []


def test_vanishing_weights_are_finite():
    weights = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    log_prob = GaussianComponents(2, 3, "spread")(weights).log_prob(torch.zeros(2))
    assert log_prob.isfinite()
    assert torch.autograd.grad(log_prob, weights)[0].isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SymmetricDirichletPrior(1), "num_components must be at least 2, got 1"),
        (lambda: SymmetricDirichletPrior(3, 0.0), "concentration must be finite and greater than 0, got 0"),
        (lambda: GaussianComponents(2, 0), "num_components must be at least 1, got 0"),
        (lambda: GaussianComponents(2, 3, "none"), "kind must be one of standard, spread, learned, got 'none'"),
        (lambda: GaussianComponents(2, 3, spread=0.0), "spread must be finite and greater than 0, got 0"),
    ],
    ids=["components", "concentration", "count", "kind", "spread"],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
