"""Pareto shapes of weights, where there are any."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import log_likelihood
from pyrodgm.infer.evaluation.diagnostics import is_flagged, pareto_smooth, summarise
from pyrodgm.likelihoods import GaussianLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


def k_hat(log_weights):
    return pareto_smooth(log_weights.unsqueeze(-1))[1].item()


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9, 1.5])
def test_shape_of_pareto_weights_is_found(shape):
    uniform = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    assert k_hat(-shape * uniform.log()) == pytest.approx(shape, abs=0.15)


@pytest.mark.parametrize("spread", [500.0, 5e4])
def test_weights_that_underflow_beside_the_largest_are_the_worst(spread):
    log_weights = spread * torch.randn(5000, generator=torch.Generator().manual_seed(1))
    assert k_hat(log_weights) == math.inf


def test_many_weights_tied_at_the_edge_of_the_tail_are_the_worst():
    log_weights = torch.full((1000,), -376.0)
    log_weights[:3] = torch.tensor([-290.0, -300.0, -310.0])
    assert k_hat(log_weights) == math.inf
    log_weights = -400.0 - torch.rand(1000, generator=torch.Generator().manual_seed(0))
    log_weights[:94] = -376.0
    assert k_hat(log_weights) == math.inf


@pytest.mark.parametrize("count", [1, 2, 5, 21, 22, 23, 24])
def test_too_few_weights_have_no_shape(count):
    assert k_hat(torch.randn(count)) == math.inf
    assert k_hat(torch.zeros(count)) == math.inf


def test_equal_weights_are_the_best():
    found = summarise(torch.full((30, 2), -7.0))
    assert found["k_hat"].tolist() == [-math.inf, -math.inf]
    assert torch.allclose(found["ess"], torch.full((2,), 30.0))
    assert torch.allclose(found["values"], torch.full((2,), -7.0))


def test_small_effective_sizes_are_flagged_whatever_the_shape():
    assert is_flagged(torch.tensor([29.0, 31.0, 500.0]), torch.tensor([0.1, 0.1, 0.8])).tolist() == [True, False, True]


@pytest.mark.parametrize("count", [25, 26, 40])
def test_from_twenty_five_weights_on_there_is_a_shape(count):
    assert math.isfinite(k_hat(torch.randn(count, generator=torch.Generator().manual_seed(0))))


def test_flat_tails_of_every_length_never_raise():
    for tied in range(1, 100, 7):
        log_weights = torch.randn(1000, generator=torch.Generator().manual_seed(tied)) - 10.0
        log_weights[:tied] = 0.0
        assert not math.isnan(k_hat(log_weights))


def test_an_untrained_model_of_grey_values_is_not_trusted():
    torch.manual_seed(0)
    pair = VAE(StandardNormal(4), GaussianLikelihood(mlp(4, [8], 100), scale=0.05), GaussianPosterior(mlp(100, [8], 8)))
    found = log_likelihood(pair, torch.rand(3, 100), 2000, proposal="guide", seed=0, keep=True)
    assert found.log_weights.std(0).min() > 500
    assert (found.k_hat == math.inf).all()
    assert found.untrusted_share == 1.0


class SureOfZeros(Pair):
    """Twenty bits that are all one, and a guide that seldom draws one."""

    def __init__(self):
        super().__init__()
        self.noise = nn.Parameter(torch.tensor(0.1))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Bernoulli(torch.full((20,), 0.99)).to_event(1))
            pyro.sample("x", dist.Normal(z, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(torch.full((20,), 0.003)).to_event(1))


def test_bits_under_a_guide_that_is_sure_of_zeros_are_not_trusted():
    found = log_likelihood(SureOfZeros(), torch.ones(4, 20), 1000, proposal="guide", seed=0)
    truth = 20 * (math.log(0.99) - math.log(0.1) - 0.5 * math.log(2 * math.pi))
    assert (found.values < truth - 100).all()
    assert (found.k_hat == math.inf).all()
    assert found.untrusted_share == 1.0


def test_weights_that_are_the_same_by_rounding_alone_are_not_trusted():
    found = summarise(torch.tensor([-1e3, 3e6, -4e30, 4e30]).expand(200, 4))
    assert found["k_hat"].tolist() == [-math.inf, -math.inf, math.inf, math.inf]
    assert is_flagged(found["ess"], found["k_hat"]).tolist() == [False, False, True, True]


class Component(Pair):
    """x ~ N(mu_k, 1) under k of three values; the guide, if it draws k, is as sure of the second as is said."""

    def __init__(self, logit=None, sure_prior=False):
        super().__init__()
        self.mu = nn.Parameter(torch.tensor([-1.0, 1.2, 3.0]))
        self.logit, self.sure_prior = logit, sure_prior

    @pyro_method
    def model(self, x):
        logits = torch.tensor([0.0, 40.0, 0.0]) if self.sure_prior else torch.zeros(3)
        with pyro.plate("data", len(x), dim=-1):
            k = pyro.sample("k", dist.Categorical(logits=logits))
            pyro.sample("x", dist.Normal(self.mu[k], 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if self.logit == "exact":
                pyro.sample("k", dist.Categorical(logits=dist.Normal(self.mu, 1.0).log_prob(x.unsqueeze(-1))))
            elif self.logit is not None:
                pyro.sample("k", dist.Categorical(logits=torch.tensor([0.0, self.logit, 0.0]).expand(len(x), 3)))

    def evidence(self, x):
        return dist.Normal(self.mu, 1.0).log_prob(x.unsqueeze(-1)).logsumexp(-1).detach() - math.log(3.0)


def test_equal_weights_of_one_point_prove_nothing():
    x = torch.tensor([1.0, 1.5, 2.0])
    found = log_likelihood(Component(30.0), x, 1000, seed=0)
    assert (found.values < Component().evidence(x) - 0.2).all()
    assert (found.k_hat == math.inf).all()
    assert found.untrusted.all()
    alone = log_likelihood(Component(sure_prior=True), x, 1000, seed=0)  # drawn by the model alone, and as sure
    assert (alone.k_hat == math.inf).all()
    assert alone.untrusted.all()


@pytest.mark.parametrize(("logit", "options"), [("exact", {}), (30.0, {"sum_out": True})])
def test_equal_weights_of_all_values_prove_all(logit, options):
    x = torch.tensor([1.0, 1.5, 2.0])
    found = log_likelihood(Component(logit), x, 1000, seed=0, **options)
    assert torch.allclose(found.values, Component().evidence(x))
    assert (found.k_hat == -math.inf).all()
    assert not found.untrusted.any()


def test_a_point_is_told_from_draws_datum_by_datum_and_whatever_the_memory():
    class Part(Component):
        def guide(self, x):
            exact = dist.Normal(self.mu, 1.0).log_prob(x.unsqueeze(-1))
            with pyro.plate("data", len(x), dim=-1):
                sure = torch.tensor([0.0, 30.0, 0.0]).expand_as(exact)
                pyro.sample("k", dist.Categorical(logits=torch.where(x.unsqueeze(-1) > 1.2, sure, exact)))

    for max_bytes in (1, 2**27):
        found = log_likelihood(Part(), torch.tensor([1.0, 1.5, 2.0]), 100, seed=0, max_bytes=max_bytes)
        assert found.untrusted.tolist() == [False, True, True]


class Point(Pair):
    """z ~ Gumbel(0, 1), x ~ N(z, 0.5), under a guide that is a point, or that has nothing to draw."""

    def __init__(self, empty=False):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.8))
        self.empty = empty

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = 0.0 if self.empty else pyro.sample("z", dist.Gumbel(torch.tensor(0.0), 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if not self.empty:
                pyro.sample("z", dist.Delta(self.slope * x))


def test_a_guide_that_is_a_point_is_not_trusted_and_a_model_without_latents_is():
    x = torch.tensor([1.0, 2.0])
    assert log_likelihood(Point(), x, 1000, proposal="guide", seed=0).untrusted.all()
    found = log_likelihood(Point(empty=True), x, 1000, seed=0)
    assert torch.allclose(found.values, dist.Normal(0.0, 0.5).log_prob(x))
    assert not found.untrusted.any()


def test_bits_that_never_move_are_not_trusted():
    class Stuck(SureOfZeros):
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Bernoulli(logits=torch.full((20,), -60.0)).to_event(1))

    found = log_likelihood(Stuck(), torch.ones(4, 20), 2000, proposal="refined", seed=0)
    assert found.attributes["proposal"] == "refined"
    assert found.untrusted.all()
