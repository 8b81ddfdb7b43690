"""The restricted Boltzmann machine as a pair: plain SVI learns it, and its likelihood is that of exact sums."""

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

from pyrodgm.boltzmann import Bits, Gaussian, Potts
from pyrodgm.distributions import BoltzmannMachine, VisibleBoltzmann
from pyrodgm.infer import ELBO, IWELBO, TrainStep, log_likelihood
from pyrodgm.models import RBM
from pyrodgm.testing import check_pair


def exact_log_prob(rbm, x):
    return VisibleBoltzmann(BoltzmannMachine(rbm.prior.machine().detach()), x.shape[1]).log_prob(x)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["pa", "exact"])
def test_plain_svi_learns_a_pattern(sampler):
    """Two patterns of eight bits with noise: independent bits cost 5.5 nats, the patterns about 3.2."""
    x = torch.where(torch.rand(500, 1) < 0.5, torch.tensor([1.0, 0.0]).repeat(4), torch.tensor([0.0, 1.0]).repeat(4))
    x = torch.where(torch.rand(500, 8) < 0.1, 1.0 - x, x)
    rbm = RBM(8, 4, mean=x.mean(0), sampler=sampler, num_chains=200, num_sweeps=5)
    svi = SVI(rbm.model, rbm.guide, pyro.optim.Adam({"lr": 0.02}), loss=Trace_ELBO())
    before = exact_log_prob(rbm, x).mean()
    for _ in range(120):
        svi.step(x)
    after = exact_log_prob(rbm, x).mean()
    assert before < -5.4
    assert after > -3.4
    result = log_likelihood(rbm, x[:50], 3, seed=0)
    torch.testing.assert_close(result.values, exact_log_prob(rbm, x[:50]))


def test_it_is_a_pair_that_every_estimator_trains():
    """It has no row among the pairs: there is no latent to draw, and its prior is the distribution of the data."""
    x = torch.rand(5, 12).round()
    check_pair(RBM(12, 3, sampler="exact"), x)
    losses = []
    for objective in (Trace_ELBO(), TraceMeanField_ELBO(), RenyiELBO(num_particles=2), ELBO(), IWELBO(3)):
        rbm = RBM(12, 3, torch.full((12,), 0.4), sampler="exact")
        with torch.no_grad():
            rbm.prior.weights.fill_(0.3)
        losses.append(objective.loss(rbm.model, rbm.guide, x))
        assert losses[-1] == pytest.approx(losses[0])
    drawn = Predictive(poutine.uncondition(rbm.model), num_samples=3)(torch.zeros(7, 12))["x"]
    assert drawn.shape == (3, 7, 12)


@pytest.mark.slow
def test_likelihood_of_a_large_machine_is_that_of_annealing_and_steps_trace():
    rbm = RBM(20, 18, num_chains=20, num_sweeps=1)
    with torch.no_grad():
        rbm.prior.weights.normal_(0.0, 0.3)
    x = torch.rand(6, 20).round()
    exact = exact_log_prob(rbm, x)
    result = log_likelihood(rbm, x, 2, seed=0)
    error = rbm.prior.log_partition_error.item()
    assert 0 < error < 0.1
    assert (result.values - exact).abs().max() < 5 * error
    chains = rbm.prior.chains.clone()
    step = TrainStep(rbm, ELBO(), torch.optim.Adam(rbm.parameters()), compile="traced")
    assert torch.isfinite(step(x))
    assert step.mode == "traced"
    assert not torch.equal(rbm.prior.chains, chains)
    assert rbm.prior.sample_gibbs(3, 2).shape == (3, 20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["real", "three states"])
def test_real_data_and_data_of_several_states(kind):
    """Two clusters, far apart for one normal distribution, and two patterns of states with noise."""
    on = (torch.rand(400, 1) < 0.5).double()
    if kind == "real":
        x = torch.randn(400, 3) + 4.0 * on
        rbm = RBM(3, 3, mean=x.mean(0), sampler="exact", units=(Gaussian(), Bits()))
        alone = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).log_prob(x).mean()
    else:
        state = torch.where(torch.rand(400, 4) < 0.1, torch.randint(3, (400, 4)), 2 * on.long())
        x = torch.nn.functional.one_hot(state, 3).double().flatten(1)
        rbm = RBM(4, 3, mean=x.mean(0), sampler="exact", units=(Potts(3), Bits()))
        alone = (x.mean(0).clamp(min=1e-9).log() * x).sum(-1).mean()
    svi = SVI(rbm.model, rbm.guide, pyro.optim.Adam({"lr": 0.1}), loss=Trace_ELBO())
    for _ in range(100):
        svi.step(x)
    result = log_likelihood(rbm.eval(), x, 1, seed=0)
    assert result.mean > alone + 0.2
    torch.testing.assert_close(result.values, exact_log_prob(rbm, x))
    if kind == "real":
        return
    chains = RBM(4, 3, num_chains=50, num_sweeps=2, units=rbm.prior.kinds)
    chains.load_state_dict(rbm.state_dict(), strict=False)
    step = TrainStep(chains, ELBO(), torch.optim.Adam(chains.parameters(), lr=1e-3), compile="traced")
    assert torch.isfinite(step(x))
    assert step.mode == "traced"
    assert chains.prior.kinds[0].support.check(chains.prior.chains[:, : x.shape[1]]).all()
    assert chains.prior.sample_gibbs(20, 50).shape == (20, x.shape[1])
