"""Signal-to-noise ratios against closed forms, and the orderings of the literature."""

import contextlib
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, pyro_method
from torch import nn

from pyrodgm.infer import ELBO, IWELBO, gradient_snr
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


class Place(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self):
        return self.value


class Shifted(PyroModule):
    """x | z ~ N(a z, 1), z ~ N(0, 1), guided by N(m, s²)."""

    def __init__(self, slope=0.7, loc=0.4, scale=0.5):
        super().__init__()
        self.scale = scale
        self.likelihood, self.posterior = Place(slope), Place(loc)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(self.likelihood() * z, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.posterior(), self.scale))


@pytest.mark.slow
def test_ratio_is_that_of_the_exact_moments():
    """The ELBO's gradient in m is sum a (x - a z) - m, with z = m + 0.5 e: normal, its moments known."""
    pair, x = Shifted(), torch.tensor([0.3, -1.2, 2.0])
    a, m = 0.7, 0.4
    mean, deviation = float((a * (x - a * m) - m).sum()), a * a * 0.5 * math.sqrt(3)
    got = gradient_snr(pair, ELBO(), x, num_draws=1000)
    assert got["posterior"] == pytest.approx(abs(mean) / deviation, rel=0.08)
    # in a: sum z (x - a z), z = m + s e: mean m x - a (m² + s²), variance s² (x - 2 a m)² + 2 a² s⁴
    mean = float((m * x - a * (m * m + 0.25)).sum())
    variance = float((0.25 * (x - 2 * a * m) ** 2 + 2 * a * a * 0.0625).sum())
    assert got["likelihood"] == pytest.approx(abs(mean) / variance**0.5, rel=0.08)


@pytest.mark.slow
def test_dreg_keeps_the_signal_that_the_plain_gradient_loses():
    """As K grows the guide's plain gradient drowns (Rainforth et al. 2018); DReG's does not (Tucker et al. 2018)."""
    pair, x = Shifted(scale=1.2), torch.tensor([0.3, -1.2, 2.0])  # wider than any posterior: weights of finite variance
    ratios = {
        (gradient, k): gradient_snr(pair, IWELBO(k, gradient=gradient), x, num_draws=150)
        for gradient in ("reparam", "dreg")
        for k in (1, 100)
    }
    assert ratios["reparam", 100]["posterior"] < 0.5 * ratios["reparam", 1]["posterior"]
    assert ratios["dreg", 100]["posterior"] > 2 * ratios["dreg", 1]["posterior"]
    assert ratios["reparam", 100]["likelihood"] > 2 * ratios["reparam", 1]["likelihood"]


def test_nothing_is_left_behind():
    pair, x = Shifted(), torch.tensor([0.3])
    state = torch.get_rng_state()
    assert (
        gradient_snr(pair, ELBO(), x, 3) == gradient_snr(pair, ELBO(), x, 3) != gradient_snr(pair, ELBO(), x, 3, seed=1)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in pair.parameters())
    assert len(pyro.get_param_store()) == 0


class Normalised(Shifted):
    """The same with batch normalisation in the guide, which training mode advances."""

    def __init__(self):
        super().__init__()
        self.posterior, self.rest = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1)), nn.Linear(1, 1)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = self.posterior(x.unsqueeze(-1)).squeeze(-1) + 0.0 * self.rest(x.unsqueeze(-1)).squeeze(-1)
            pyro.sample("z", dist.Normal(loc, self.scale))


@pytest.mark.parametrize("around", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_surroundings_change_nothing_and_buffers_stay(around):
    pair, x = Normalised(), torch.tensor([0.3, -1.2, 2.0])
    before = {name: value.clone() for name, value in pair.named_buffers()}
    expected = gradient_snr(pair, ELBO(), x, 5)
    with around():
        assert gradient_snr(pair, ELBO(), x.clone(), 5) == expected
    assert pair.training
    assert all(torch.equal(value, before[name]) for name, value in pair.named_buffers())
    assert expected["posterior"] > expected["rest"] == 0.0  # which has no gradient but zeros


def test_what_has_no_gradient_is_refused():
    pair = VAE(StandardNormal(2), BernoulliLikelihood(nn.Linear(2, 3)), GaussianPosterior(nn.Linear(3, 4)))
    with pytest.raises(ValueError, match=r"x must lie in the support of site 'x', .*Boolean.* in row 1"):
        gradient_snr(pair, ELBO(), torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 1.0]]), 2)
    pair = Shifted()
    pair.posterior.value.register_hook(lambda gradient: gradient / 0.0)
    with pytest.raises(FloatingPointError, match=r"x must have finite gradients, but that of posterior\.value is not"):
        gradient_snr(pair, ELBO(), torch.tensor([0.3]), 2)


def test_noise_alone_has_no_signal_and_certainty_no_noise():
    pair = Shifted(slope=1.0, loc=0.5)
    assert gradient_snr(pair, ELBO(), torch.tensor([1.0]), num_draws=20)["posterior"] < 0.5  # at the optimum
    few = [gradient_snr(pair, ELBO(), torch.tensor([1.0]), 4, seed)["posterior"] for seed in range(8)]
    assert 0.0 in few  # the mean of few draws is no signal
    exact = Shifted(slope=0.0)
    assert gradient_snr(exact, ELBO(), torch.tensor([1.0]), num_draws=3)["posterior"] == math.inf
    with pytest.raises(ValueError, match="num_draws must be at least 2, got 1"):
        gradient_snr(pair, ELBO(), torch.ones(1), num_draws=1)
