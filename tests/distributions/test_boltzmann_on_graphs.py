"""What is made of a machine, on graphs that are not two layers, against sums over all states."""

import pyro.distributions as dist
import pytest
import torch
from boltzmann_machines import all_states, random_graph_machine, random_machine
from torch.distributions import kl_divergence

from pyrodgm.boltzmann import Graph, GraphMachine
from pyrodgm.distributions import (
    BoltzmannMachine,
    ContinuedBoltzmann,
    ExponentialSmoothing,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    Hierarchical,
    OverlappingBernoulli,
    RelaxedBoltzmann,
    SpikeBoltzmann,
    SpikeExponential,
    bits_divergence,
)

GRAPH = Graph(6, [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (1, 5), (0, 5)])
STATES = all_states(6)


def machine(graph=GRAPH, coupling=1.5):
    made = random_graph_machine(graph, coupling)
    for t in made.parameters:
        t.requires_grad_()
    return made


def same_with_gradients(got, want, leaves):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    weight = torch.linspace(-1, 2, got.numel()).reshape(got.shape)
    for a, b in zip(*(torch.autograd.grad((weight * v).sum(), leaves) for v in (got, want)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "smoothing", [GaussianSmoothing(20.0), ExponentialSmoothing(8.0)], ids=lambda s: type(s).__name__
)
def test_relaxed_machine(smoothing):
    energy = machine()
    prior = RelaxedBoltzmann(BoltzmannMachine(energy), smoothing)
    zeta = prior.sample((2, 3)).clamp(1e-3, 0.999).requires_grad_()
    each = torch.where(
        STATES == 1, smoothing.log_prob(zeta, 1)[..., None, :], smoothing.log_prob(zeta, 0)[..., None, :]
    )
    by_hand = (energy.negative_energy(STATES).log_softmax(0) + each.sum(-1)).logsumexp(-1)
    same_with_gradients(prior.log_prob(zeta), by_hand, [*energy.parameters, zeta])
    bound = RelaxedBoltzmann(BoltzmannMachine(energy), smoothing, num_iterations=20).log_prob(zeta)
    assert (bound <= by_hand + 1e-9).all()
    assert (bound > by_hand - 5.0).all()
    draws = prior.sample((20_000,))
    assert (draws.mean(0) - prior.mean).abs().max() < 0.02
    assert (draws.var(0) - prior.variance).abs().max() < 0.02


def test_gaussian_integral():
    energy = machine()
    prior = GaussianIntegralBoltzmann(BoltzmannMachine(energy), 4.0)
    zeta = prior.sample((5,)).requires_grad_()
    couplings = energy.coupling_matrix()
    beta = torch.maximum(torch.tensor(4.0), 5.0 - torch.linalg.eigvalsh(couplings)[0])
    normal = dist.MultivariateNormal(STATES, precision_matrix=couplings + beta * torch.eye(6))
    by_hand = (energy.negative_energy(STATES).log_softmax(0) + normal.log_prob(zeta.unsqueeze(-2))).logsumexp(-1)
    same_with_gradients(prior.log_prob(zeta), by_hand, [*energy.parameters, zeta])
    draws = prior.sample((20_000,))
    assert (draws.mean(0) - prior.mean).abs().max() < 0.03
    assert (draws.var(0) - prior.variance).abs().max() < 0.03


def test_machine_and_its_bits():
    energy = machine()
    bits = BoltzmannMachine(energy)
    torch.testing.assert_close(bits.log_prob(STATES).logsumexp(0), torch.zeros(()))
    assert bits.expand([3]).sample((2,)).shape == (2, 3, 6)
    batch = BoltzmannMachine(energy.shifted(torch.randn(3, 6)))
    assert batch.batch_shape == (3,)
    assert batch.expand([2, 3]).sample((4,)).shape == (4, 2, 3, 6)
    torch.testing.assert_close(batch.log_prob(STATES[:, None]).logsumexp(0), torch.zeros(3))
    torch.testing.assert_close(ContinuedBoltzmann(bits).log_prob(STATES), bits.log_prob(STATES))
    q = dist.Bernoulli(logits=torch.linspace(-2, 2, 6)).to_event(1)
    log_q = q.log_prob(STATES)
    torch.testing.assert_close(kl_divergence(q, bits), (log_q.exp() * (log_q - bits.log_prob(STATES))).sum())
    spikes = SpikeBoltzmann(bits, 3.0)
    assert (spikes.sample((20_000,)).mean(0) - spikes.mean).abs().max() < 0.02
    with pytest.raises(ValueError, match="machine must have two layers to be split"):
        bits.split(STATES)
    with pytest.raises(ValueError, match="left_bias and right_bias must be left out with a machine"):
        BoltzmannMachine(energy, torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="left_bias and right_bias must be given with weights"):
        BoltzmannMachine(torch.zeros(3, 2))


def groups(sizes, family, smoothing):
    nets = [torch.nn.Linear(sum(sizes[:k]), size) if k else None for k, size in enumerate(sizes)]
    first = torch.linspace(-1, 1, sizes[0]).expand(4, -1)

    def group(earlier):
        logits = first if not earlier else nets[len(earlier)](torch.cat(earlier, -1))
        base = family(logits, smoothing.beta) if family is SpikeExponential else family(logits, smoothing)
        return base.to_event(1)

    return Hierarchical(group, sizes)


@pytest.mark.parametrize("spikes", [True, False], ids=["spikes", "overlapping"])
@pytest.mark.parametrize("sizes", [(6,), (2, 4), (1, 2, 3)], ids=str)
def test_divergence_of_the_bits(sizes, spikes):
    smoothing = ExponentialSmoothing(6.0)
    q = groups(sizes, SpikeExponential if spikes else OverlappingBernoulli, smoothing)
    value = q.rsample()
    bases = [g.base_dist for g in q.groups(value)]
    parts = value.split(sizes, -1)
    probs = torch.cat([b.logits.sigmoid() for b in bases], -1)
    given = torch.cat(
        [b.bits(v) if spikes else b.posterior_logits(v).sigmoid() for b, v in zip(bases, parts, strict=True)],
        -1,
    )
    of = [k for k, size in enumerate(sizes) for _ in range(size)]

    def prior_of(energy):
        bits = BoltzmannMachine(energy)
        return SpikeBoltzmann(bits, 6.0) if spikes else RelaxedBoltzmann(bits, smoothing)

    energy = machine()
    expected = (probs * probs.log() + (1 - probs) * (1 - probs).log()).sum(-1) + energy.log_partition()
    expected = expected - probs @ energy.biases
    for w, (i, j) in zip(energy.couplings, GRAPH.edges.tolist(), strict=True):
        earlier = probs if of[i] == of[j] else given
        expected = expected - w * earlier[:, i] * probs[:, j]
    torch.testing.assert_close(bits_divergence(q, prior_of(energy), value), expected)
    # two layers as a graph
    weights, left, right = random_machine(2, 4)
    graph = GraphMachine(Graph.bipartite(2, 4), weights.flatten(), torch.cat([left, right]))
    two = BoltzmannMachine(weights, left, right)
    fast = SpikeBoltzmann(two, 6.0) if spikes else RelaxedBoltzmann(two, smoothing)
    torch.testing.assert_close(bits_divergence(q, prior_of(graph), value), bits_divergence(q, fast, value))
