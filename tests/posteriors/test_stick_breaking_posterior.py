"""The posteriors over sticks: where they start, and that nothing a network says makes them lose a finite number."""

import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from pyrodgm.distributions import GEMLogits
from pyrodgm.nn import Dense, mlp, stick_weights
from pyrodgm.posteriors import StickBreakingPosterior

FRACTIONS = ["kumaraswamy", "beta", "gamma", "logit_normal"]
each_kind = pytest.mark.parametrize("fractions", FRACTIONS)


@pytest.mark.parametrize("concentration", [0.5, 1.0, 5.0, 20.0])
@pytest.mark.parametrize("fractions", ["kumaraswamy", "beta"])
def test_output_of_zero_is_the_prior(fractions, concentration):
    q = StickBreakingPosterior(nn.Identity(), fractions, concentration)(torch.zeros(3, 18))
    assert (q.batch_shape, q.event_shape) == ((3,), (9,))
    assert kl_divergence(q, GEMLogits(torch.tensor(concentration), 10)).abs().max() < 1e-12


@pytest.mark.parametrize("concentration", [0.5, 1.0, 5.0, 20.0])
def test_logit_normal_starts_with_the_moments_of_the_priors_logit(concentration):
    q = StickBreakingPosterior(nn.Identity(), "logit_normal", concentration)(torch.zeros(2))
    v = torch.distributions.Beta(torch.tensor(1.0), torch.tensor(concentration)).sample((400_000,))
    logit = torch.logit(v[(v > 0) & (v < 1)])
    base = q.base_dist
    assert base.loc.item() == pytest.approx(logit.mean().item(), abs=0.02)
    assert base.scale.item() == pytest.approx(logit.std().item(), rel=0.02)


@each_kind
def test_parameters_are_where_the_network_puts_them(fractions):
    raw = torch.tensor([0.3, -0.2, 0.5, 2.0])
    base = StickBreakingPosterior(nn.Identity(), fractions, 1.0)(raw).base_dist
    if fractions == "logit_normal":
        torch.testing.assert_close(base.loc, raw[:2])  # the logit of Beta(1, 1) has mean zero
        torch.testing.assert_close(base.scale, raw[2:].exp() * torch.pi / 3**0.5)
    else:
        torch.testing.assert_close(base.concentration1, raw[:2].exp())
        torch.testing.assert_close(base.concentration0, raw[2:].exp())


@each_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("truncation", [5, 200])
def test_finite_whatever_the_network_says(fractions, dtype, truncation):
    for concentration in (0.5, 20.0):
        posterior = StickBreakingPosterior(nn.Identity(), fractions, concentration).to(dtype)
        prior = GEMLogits(torch.tensor(concentration, dtype=dtype), truncation)
        size = torch.tensor([0.0, 1.0, 10.0, 100.0, 1e4], dtype=dtype).repeat_interleave(8)[:, None]
        raw = (size * torch.randn(40, 2 * truncation - 2, dtype=dtype)).requires_grad_()
        q = posterior(raw)
        sticks = q.rsample()
        pi = stick_weights(sticks)
        kl = kl_divergence(q, prior)
        score = torch.arange(truncation, dtype=dtype).cos()
        terms = [kl, q.log_prob(sticks), prior.log_prob(sticks), pi @ score]
        assert (kl > -1e-4).all()
        assert ((pi > 0) & (pi <= 1)).all()
        for term in terms:
            assert term.isfinite().all()
            assert torch.autograd.grad(term.sum(), raw, retain_graph=True)[0].isfinite().all()


@each_kind
def test_untrained_posterior_lies_near_the_prior(fractions):
    net = mlp(784, [500], 2 * 49, layer=Dense)
    q = StickBreakingPosterior(net, fractions, 5.0)(torch.rand(20, 784).round())
    kl = kl_divergence(q, GEMLogits(torch.tensor(5.0), 50))
    assert (kl > 0).all()
    nearest = kl_divergence(
        StickBreakingPosterior(nn.Identity(), fractions, 5.0)(torch.zeros(2)), GEMLogits(torch.tensor(5.0), 2)
    )
    assert (kl / 49 < nearest + 0.05).all()


def test_last_layer_alone_is_scaled():
    torch.manual_seed(3)
    net = mlp(6, [5], 4)
    before = [p.clone() for p in net.parameters()]
    StickBreakingPosterior(net, output_scale=0.25)
    for i, (old, new) in enumerate(zip(before, net.parameters(), strict=True)):
        assert torch.equal(new, 0.25 * old if i == 2 else old)


def test_bad_arguments():
    with pytest.raises(
        ValueError, match="fractions must be one of kumaraswamy, beta, gamma, logit_normal, got 'gauss'"
    ):
        StickBreakingPosterior(nn.Identity(), "gauss")
    with pytest.raises(ValueError, match=r"concentration must be finite and at least 0\.1 and at most 100, got 0"):
        StickBreakingPosterior(nn.Identity(), concentration=0)
