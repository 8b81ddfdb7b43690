"""Values and distributions with fewer batch dimensions than those that they meet."""

import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pairs import D, dvaes_gi
from torch.distributions import kl_divergence

from pyrodgm.distributions import BoltzmannMachine, Hierarchical


def hierarchical():
    """Two groups; the second is made of the first and a value of the batch put side by side, as networks do."""
    x = torch.linspace(-1.0, 1.0, 5).unsqueeze(-1)

    def conditional(earlier):
        if not earlier:
            return dist.Normal(x.expand(5, 2), 1.0).to_event(1)
        both = torch.cat([x.expand(*earlier[0].shape[:-1], 1), *earlier], -1)
        return dist.Normal(both, 0.7).to_event(1)

    return Hierarchical(conditional, [2, 3])


@pytest.mark.parametrize("shape", [(5,), (1, 5), (5, 5), (4, 1, 5), (3, 5, 5)])
def test_hierarchical_log_prob_of_any_value_that_broadcasts(shape):
    d, value = hierarchical(), torch.randn(shape)
    whole = value.expand(torch.broadcast_shapes(shape, (5, 5))).clone()
    assert torch.allclose(d.log_prob(value), d.log_prob(whole))
    assert d.log_prob(value).shape == whole.shape[:-1]


def test_conditioned_hierarchical_guide_has_all_of_its_density():
    pair, x = dvaes_gi(), torch.rand(5, D).round()
    z = pair.posterior(x).sample()[:1]
    conditioned = poutine.trace(poutine.condition(pair.guide, {"z": z})).get_trace(x)
    whole = poutine.trace(poutine.condition(pair.guide, {"z": z.expand(5, -1).clone()})).get_trace(x)
    assert conditioned.log_prob_sum().item() == pytest.approx(whole.log_prob_sum().item())


@pytest.mark.parametrize(("p_batch", "q_batch"), [((), (3,)), ((4,), ()), ((4, 1), (3,)), ((2, 3), (2, 3))])
def test_divergence_from_an_expanded_boltzmann_machine_has_the_batch_of_both(p_batch, q_batch):
    machine = BoltzmannMachine(torch.tensor([[0.5, -1.0]]), torch.tensor([0.2]), torch.tensor([0.1, -0.3]))
    p = dist.Bernoulli(logits=torch.randn(*p_batch, 3)).to_event(1)
    found = kl_divergence(p, machine.expand(q_batch))
    assert found.shape == torch.broadcast_shapes(p_batch, q_batch)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    log_p = p.log_prob(states.reshape(8, *[1] * len(p_batch), 3))
    right = (log_p.exp() * (log_p - machine.log_prob(states).reshape(8, *[1] * len(p_batch)))).sum(0)
    assert torch.allclose(found, right.expand(found.shape))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
def test_states_of_a_boltzmann_machine_of_every_dtype(dtype):
    machine = BoltzmannMachine(torch.tensor([[0.5, -1.0]]), torch.tensor([0.2]), torch.tensor([0.1, -0.3]))
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    assert torch.allclose(machine.log_prob(states.to(dtype)), machine.log_prob(states))
    assert machine.log_prob(states.to(dtype)).logsumexp(0).item() == pytest.approx(0.0, abs=1e-12)
