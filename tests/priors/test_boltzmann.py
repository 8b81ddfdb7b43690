"""The Boltzmann prior learns machines, keeps its chains, and knows its log-partition."""

import copy
import math
from functools import partial

import networkx
import pyro
import pytest
import torch
from boltzmann_machines import random_graph_machine
from pyro.infer.importance import vectorized_importance_weights

from pyrodgm import boltzmann, datasets
from pyrodgm.boltzmann import Bits, Dimod, Gaussian, Graph, Potts
from pyrodgm.distributions import BoltzmannMachine, GaussianSmoothing, RelaxedBoltzmann
from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit, log_likelihood
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import BoltzmannPrior


def with_couplings(prior, coupling, seed=0):
    """The prior with normal couplings and balanced units."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        prior.weights.copy_(coupling * torch.randn(prior.weights.shape, generator=generator))
        prior.left_bias.copy_(0.3 - 0.5 * prior.weights.sum(1))
        prior.right_bias.copy_(-0.5 * prior.weights.sum(0))
    return prior


def exact(prior):
    return BoltzmannMachine(prior.weights.detach(), prior.left_bias.detach(), prior.right_bias.detach())


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["exact", "pcd", "pa"])
def test_learns_the_machine_that_data_are_from_and_tracks_its_log_partition(sampler):
    teacher = exact(with_couplings(BoltzmannPrior(4, 5), 2.0))
    data = teacher.sample((4000,))
    prior = BoltzmannPrior(4, 5, sampler=sampler, num_chains=1000, num_sweeps=5)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.1)
    for i in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - i / 200)
        optimizer.zero_grad()
        (-prior().log_prob(data).mean()).backward()
        optimizer.step()
    student = exact(prior)
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 9)
    p = teacher.log_prob(states)
    divergence = (p.exp() * (p - student.log_prob(states))).sum()
    before = (p.exp() * (p + 9 * math.log(2.0))).sum()
    assert divergence < 0.02 < 0.5 < before  # 29 parameters cost 29 / 2 / 4000 nats
    if sampler != "exact":
        assert prior.log_partition.item() == pytest.approx(student.log_partition.item(), abs=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["pcd", "pa"])
def test_samples_move_in_training_and_rest_in_evaluation(sampler):
    prior = with_couplings(BoltzmannPrior(18, 20, sampler=sampler, num_chains=50, num_sweeps=3), 0.3)
    before = copy.deepcopy(prior.state_dict())
    prior()
    assert not torch.equal(prior.chains[:, :18], before["chains"][:, :18])
    assert not torch.equal(prior.chains[:, 18:], before["chains"][:, 18:])
    assert prior.log_partition_error.item() == math.inf
    moved, state = copy.deepcopy(prior.state_dict()), torch.get_rng_state()
    prior.eval()
    with torch.no_grad():
        machine = prior()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(prior.chains, moved["chains"])
    error = prior.log_partition_error.item()
    assert 0 < error < 0.1
    assert machine.log_partition.item() == pytest.approx(exact(prior).log_partition.item(), abs=4 * error)
    # with a gradient the chains give it, still without moving
    value = prior().log_prob(torch.zeros(38))
    assert torch.autograd.grad(value, prior.left_bias)[0].abs().max() > 0.1
    assert torch.equal(prior.chains, moved["chains"])


@pytest.mark.slow
def test_log_partition_is_estimated_once_for_each_state_of_the_parameters():
    prior = with_couplings(BoltzmannPrior(17, 17, num_chains=20, num_sweeps=1), 0.2)
    value = exact(prior).log_partition.item()
    prior.eval()
    with torch.no_grad():
        first = prior().log_partition
        assert first.item() == pytest.approx(value, abs=0.05)
        prior.log_partition.fill_(7.0)
        assert prior().log_partition == 7.0
        assert first != 7.0
        prior.left_bias.add_(1.0)
        assert prior().log_partition.item() == pytest.approx(exact(prior).log_partition.item(), abs=0.05)
        prior.train()
        prior()  # moves the samples at the same parameters
        prior.eval()
        prior.log_partition.fill_(7.0)
        assert prior().log_partition != 7.0
        estimate = prior.estimate_log_partition(100, 64)
        assert prior.log_partition_error == estimate.standard_error
        assert not torch.equal(prior.estimate_log_partition(100, 64, seed=1).value, estimate.value)
    small = with_couplings(BoltzmannPrior(3, 40, num_chains=20), 1.0)
    assert small.estimate_log_partition().value.item() == pytest.approx(exact(small).log_partition.item(), rel=1e-12)
    assert small.log_partition_error == 0
    whole = with_couplings(BoltzmannPrior(3, 4, sampler="exact"), 1.0)
    assert whole.estimate_log_partition().value.item() == pytest.approx(exact(whole).log_partition.item(), rel=1e-12)


def test_samples_for_pictures():
    prior = with_couplings(BoltzmannPrior(6, 8), 1.5)
    activity = exact(prior).mean
    for draws in (prior.sample_gibbs(5000, 200), prior.sample_annealed(5000)):
        assert draws.shape == (5000, 14)
        assert ((draws == 0) | (draws == 1)).all()
        assert (draws.mean(0) - activity).abs().max() < 0.05
    assert prior.sample_annealed(10).shape == (10, 14)


def vae():
    relaxation = partial(RelaxedBoltzmann, smoothing=GaussianSmoothing(8.0), num_iterations=5)
    prior = BoltzmannPrior(17, 17, relaxation, num_chains=20, num_sweeps=2)
    return VAE(prior, BernoulliLikelihood(mlp(34, [16], 64)), GaussianPosterior(mlp(64, [16], 68)))


@pytest.mark.slow
def test_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    images = (torch.rand(100, 64) > 0.5).double()
    data = datasets.Dataset.from_tensors(images)  # validation would estimate the log-partition each epoch
    states = []
    for epochs in ((3,), (1, 3)):
        for number in epochs:
            pyro.set_rng_seed(0)
            pair = vae()
            folder = tmp_path / str(len(epochs))
            fit(
                pair,
                data,
                epochs=number,
                run_dir=folder,
                resume=number != epochs[0],
                seed=3,
                settings=FitSettings(progress=False),
            )
        states.append(pair.state_dict())
    assert states[0].keys() == states[1].keys()
    assert "prior.chains" in states[0]
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name]), name


@pytest.mark.slow
def test_likelihoods_are_made_with_the_estimate_and_the_pair_is_left_as_it_was():
    pair = vae()
    with_couplings(pair.prior, 0.3)
    step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters()), compile="traced")
    x = torch.rand(6, 64).round()
    step(x)
    chains = pair.prior.chains.clone()
    assert pair.prior.log_partition_error == math.inf
    result = log_likelihood(pair, x, 20, seed=0)
    assert torch.isfinite(result.values).all()
    assert torch.equal(pair.prior.chains, chains)
    reference = exact(pair.prior).log_partition.item()
    assert pair.prior.log_partition.item() == pytest.approx(reference, abs=0.1)
    assert pair.prior.log_partition_error < 0.1
    pair.eval()
    assert torch.isfinite(step(x))  # a traced step in evaluation mode
    assert torch.equal(pair.prior.chains, chains)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="sampler must be one of pcd, pa, pt, exact, or a sampler, got 'cd'"):
        BoltzmannPrior(3, 4, sampler="cd")
    with pytest.raises(ValueError, match=r"BipartiteMachine\(23 \+ 30 units\), too large for 'exact' sums"):
        BoltzmannPrior(23, 30, sampler="exact")
    for name, value in (("left", 0), ("right", 0), ("num_chains", 1), ("num_sweeps", 0)):
        with pytest.raises(ValueError, match=f"{name} must be at least"):
            BoltzmannPrior(**{"left": 2, "right": 2, name: value})
    assert boltzmann.MAX_UNITS == 22


@pytest.mark.slow
def test_pyro_evaluates_with_the_estimate_too():
    """With gradients on, as Pyro's utilities leave them."""
    pair = vae()
    with_couplings(pair.prior, 0.3)
    pair.prior()  # the chains move on
    pair.prior.log_partition.add_(5.0)
    value = exact(pair.prior).log_partition.item()
    pair.eval()
    x = torch.rand(1, 64).round()
    torch.manual_seed(3)
    theirs, _, _ = vectorized_importance_weights(pair.model, pair.guide, x, num_samples=50, max_plate_nesting=1)
    assert pair.prior.log_partition.item() == pytest.approx(value, abs=0.1)
    assert pair.prior.log_partition_error < 0.1
    ours = log_likelihood(pair, x, 50, seed=3, keep=True)
    assert torch.allclose(ours.log_weights[:, 0], theirs)


GRAPH = Graph(7, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 6), (6, 3)])


@pytest.mark.slow
def test_learns_a_machine_on_a_graph():
    teacher = BoltzmannMachine(random_graph_machine(GRAPH, 2.0))
    data = teacher.sample((4000,))
    prior = BoltzmannPrior(GRAPH, num_chains=1000, num_sweeps=5)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.1)
    for i in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - i / 200)
        optimizer.zero_grad()
        (-prior().log_prob(data).mean()).backward()
        optimizer.step()
    student = BoltzmannMachine(prior.machine().detach())
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 7)
    p = teacher.log_prob(states)
    assert (p.exp() * (p - student.log_prob(states))).sum() < 0.02
    assert prior.log_partition.item() == pytest.approx(student.log_partition.item(), abs=0.3)


@pytest.mark.slow
def test_a_wide_graph_is_estimated_and_trains_in_a_traced_step():
    graph = Graph.from_networkx(networkx.random_regular_graph(8, 34, seed=0))
    relaxation = partial(RelaxedBoltzmann, smoothing=GaussianSmoothing(8.0), num_iterations=5)
    prior = BoltzmannPrior(graph, relaxation=relaxation, num_chains=20, num_sweeps=2)
    pair = VAE(prior, BernoulliLikelihood(mlp(34, [16], 64)), GaussianPosterior(mlp(64, [16], 68)))
    states = []
    start = copy.deepcopy(pair.state_dict())
    for mode in ("eager", "traced"):
        pair.load_state_dict(start)
        step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), 0.1), compile=mode)
        torch.manual_seed(0)
        for _ in range(3):
            step(torch.rand(6, 64).round())
        assert step.mode == mode
        states.append(copy.deepcopy(pair.state_dict()))
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], msg=name)
    assert prior.couplings.abs().max() > 0.1
    pair.eval()
    with torch.no_grad():
        value = prior.discrete().log_partition.item()
    again = prior.machine().estimate_log_partition(500, 500)
    assert value == pytest.approx(again.value.item(), abs=5 * again.standard_error.item())
    assert 0 < prior.log_partition_error < 0.2
    assert prior.sample_gibbs(5, 2).shape == prior.sample_annealed(5).shape == (5, 34)


def test_other_samplers_train_and_keep_their_state():
    graph = Graph.from_networkx(networkx.random_regular_graph(4, 30, seed=0))
    prior = BoltzmannPrior(graph, sampler="pt", num_chains=20, num_sweeps=2)
    with torch.no_grad():
        prior.couplings.normal_(0.0, 2.0)
    before = copy.deepcopy(prior.state_dict())
    prior().log_prob(torch.zeros(30)).backward()
    moved = {name for name, value in prior.state_dict().items() if not torch.equal(value, before[name])}
    assert {"chains", "sampler_hotter", "sampler_inverse_temperatures", "log_partition"} <= moved
    assert prior.couplings.grad.abs().max() > 0
    other = BoltzmannPrior(graph, sampler="pt", num_chains=20, num_sweeps=2)
    other.load_state_dict(prior.state_dict())
    assert torch.equal(other.sampler_hotter, prior.sampler_hotter)
    samplers = pytest.importorskip("dwave.samplers")
    options = {"beta_range": (0.01, 1.0), "num_sweeps": 50, "seed": 1}
    annealed = BoltzmannPrior(GRAPH, sampler=Dimod(samplers.SimulatedAnnealingSampler(), options), num_chains=200)
    data = BoltzmannMachine(random_graph_machine(GRAPH, 2.0)).sample((500,))
    first = annealed().log_prob(data).mean().item()
    optimizer = torch.optim.Adam(annealed.parameters(), 0.2)
    for _ in range(20):
        optimizer.zero_grad()
        (-annealed().log_prob(data).mean()).backward()
        optimizer.step()
    exact = BoltzmannMachine(annealed.machine().detach())
    assert exact.log_prob(data).mean() > first + 0.3
    assert annealed.log_partition.item() == pytest.approx(exact.log_partition.item(), abs=0.5)  # tracked by change


def test_graphs_and_numbers_of_units_are_not_mixed_up():
    with pytest.raises(ValueError, match="right must be left out with a graph, got 3"):
        BoltzmannPrior(GRAPH, 3)
    with pytest.raises(ValueError, match="right must be given with a number of left units, got None"):
        BoltzmannPrior(3)
    with pytest.raises(ValueError, match="too large for 'exact' sums"):
        BoltzmannPrior(Graph.complete(30), sampler="exact")


def test_units_of_the_prior_are_checked():
    prior = BoltzmannPrior(2, 3, units=(Potts(3), Bits()), num_chains=4, num_visible=2)
    assert prior().event_shape == (6,)
    assert prior.log_partition.item() == pytest.approx(2 * math.log(3.0) + 3 * math.log(2.0))
    assert BoltzmannPrior(Graph(4, [(0, 1)]), units=Potts(3), num_chains=4).couplings.shape == (1, 3, 3)
    for arguments, error, message in [
        ((Graph(2, []), (Potts(2), Bits())), ValueError, "units must be of one kind on a graph"),
        ((Graph(2, []), "bits"), TypeError, "units must be Bits"),
        ((2, (Potts(2),)), TypeError, "units must be a kind for the left and one for the right"),
        ((2, Gaussian()), ValueError, "units must be discrete on one side at least"),
    ]:
        left, units = arguments
        with pytest.raises(error, match=message):
            BoltzmannPrior(left, 3 if left == 2 else None, units=units)
