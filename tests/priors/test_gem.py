"""The GEM prior against conjugacy: minus log(1 - v) is exponential with rate alpha, and the Gamma is its conjugate."""

import copy

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch.nn.functional import logsigmoid

from pyrodgm.distributions import GEMLogits
from pyrodgm.priors import GEMPrior

N, K = 40, 6


@pytest.fixture
def sticks():
    return GEMLogits(torch.tensor(2.5), K).sample((N,))


def gradient(prior, rows, total=N):
    """Of the loss of a model that observes these rows of ``total``."""

    def model():
        with pyro.plate("data", total, subsample_size=len(rows)):
            pyro.sample("z", prior(), obs=rows)

    loss = Trace_ELBO().differentiable_loss(model, lambda: None)
    return torch.autograd.grad(loss, prior.log_concentration)[0]


def test_fixed_concentration_is_no_parameter():
    prior = GEMPrior(K, 3.0)
    assert list(prior.parameters()) == []
    assert prior.log_hyperprior() == 0
    z = GEMLogits(torch.tensor(1.0), K).sample((5,))
    torch.testing.assert_close(prior().log_prob(z), GEMLogits(torch.tensor(3.0), K).log_prob(z))
    other = GEMPrior(K, 1.0)
    other.load_state_dict(prior.state_dict())
    assert other.concentration.item() == pytest.approx(3.0)
    assert prior.to(torch.float32)().sample().dtype == torch.float32


def test_fixed_concentration_is_the_same_in_every_dtype():
    torch.set_default_dtype(torch.float32)
    prior = GEMPrior(K, 20.0)
    assert prior.double().concentration == prior().concentration == 20.0
    assert prior.concentration.dtype == torch.float64
    twin = GEMPrior(K, 20.0).double()
    twin.load_state_dict(GEMPrior(K, 20.0).state_dict())
    assert twin.concentration == 20.0
    assert copy.deepcopy(twin).concentration == 20.0
    other = GEMPrior(K, 20.0, learn=True)
    assert other.concentration.item() == pytest.approx(20.0, rel=1e-6)


@pytest.mark.parametrize("hyperprior", [None, (3.0, 20.0)])
def test_learned_concentration_has_no_gradient_at_its_conjugate_estimate(sticks, hyperprior):
    shape, rate = hyperprior or (0.0, 0.0)
    exponentials = -logsigmoid(-sticks).sum().item()
    estimate = (shape + N * (K - 1)) / (rate + exponentials)
    at = GEMPrior(K, estimate, learn=True, hyperprior=hyperprior, num_data=N)
    assert abs(gradient(at, sticks)) < 1e-9
    below = GEMPrior(K, 0.9 * estimate, learn=True, hyperprior=hyperprior, num_data=N)
    assert gradient(below, sticks) < -1


def test_batches_share_the_hyperprior(sticks):
    """The mean over scaled batches is the gradient over all data: the hyperprior counts once."""
    prior = GEMPrior(K, 4.0, learn=True, hyperprior=(3.0, 20.0), num_data=N)
    batches = torch.stack([gradient(prior, rows) for rows in sticks.split(8)])
    torch.testing.assert_close(batches.mean(), gradient(prior, sticks))


def test_hyperprior_is_the_density_of_the_logarithm():
    prior = GEMPrior(K, 4.0, learn=True, hyperprior=(3.0, 0.7), num_data=N)
    gamma = torch.distributions.Gamma(torch.tensor(3.0), torch.tensor(0.7))
    log = torch.distributions.TransformedDistribution(gamma, [torch.distributions.ExpTransform().inv])
    torch.testing.assert_close(prior.log_hyperprior(), log.log_prob(torch.tensor(4.0).log()))


def test_evaluation_is_of_the_data_alone(sticks):
    prior = GEMPrior(K, 4.0, learn=True, hyperprior=(3.0, 20.0), num_data=N)
    plain = GEMPrior(K, 4.0, learn=True)
    assert not torch.equal(gradient(prior, sticks), gradient(plain, sticks))
    torch.testing.assert_close(gradient(prior.eval(), sticks), gradient(plain, sticks))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"truncation": 1}, "truncation must be at least 2, got 1"),
        ({"truncation": 5, "concentration": 0.0}, "concentration must be finite and greater than 0, got 0"),
        ({"truncation": 5, "concentration": float("inf")}, "concentration must be finite and greater than 0, got inf"),
        ({"truncation": 5, "hyperprior": (1.0, 1.0)}, "hyperprior needs learn=True"),
        (
            {"truncation": 5, "learn": True, "hyperprior": (1.0, 0.0), "num_data": 3},
            "must be finite and greater than 0, got 0",
        ),
        ({"truncation": 5, "learn": True, "hyperprior": (1.0, 1.0)}, "num_data must be the number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GEMPrior(**arguments)
