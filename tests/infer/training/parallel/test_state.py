"""What buffers are where several processes train: replicated, averaged or sharded."""

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from process_group import run_processes
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit
from pyrodgm.infer.training.checkpoint import load_state
from pyrodgm.infer.training.parallel.shared_bound import own_rows
from pyrodgm.models import RBM, Pair
from pyrodgm.nn.recurrent import BatchNormLSTM
from pyrodgm.processes import kinds_of, pooled, register_state, world

D, CHAINS = 6, 4
ROWS = torch.rand(5, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).round()
STARTS = torch.rand(2 * CHAINS, D + 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64).round()


class Running(Pair):
    """A running mean of the data, which the next step uses."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(D))
        register_state(self, "averaged", "mean", torch.zeros(D))

    @pyro_method
    def model(self, x):
        before = self.mean.clone()
        if self.training:
            self.mean.lerp_(x.mean(0), 0.3)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Bernoulli(logits=self.logits + before).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        pass


def machine(num_chains, sampler="pcd"):
    """A restricted Boltzmann machine whose chains begin at given states."""
    torch.manual_seed(3)
    pair = RBM(D, 3, sampler=sampler, num_chains=num_chains, num_sweeps=2)
    with torch.no_grad():  # the chains were drawn before them
        pair.prior.weights.copy_(torch.linspace(-0.5, 1.0, 3 * D).view(D, 3))
    if sampler == "pcd":
        first = 0 if num_chains > CHAINS else CHAINS * (world().rank % 2)
        pair.prior.chains.copy_(STARTS[first : first + num_chains])
    return pair


def stepped(pair, how="traced", steps=3, rows=ROWS):
    """The state of a pair after steps that all processes share."""
    pair.train()
    team = world() if world().size > 1 else None
    sgd = torch.optim.SGD(pair.parameters(), lr=0.1)
    step = TrainStep(pair, ELBO(), sgd, compile=how, prepare=lambda x: own_rows((x,)), world=team)
    torch.manual_seed(5)
    losses = [float(step(rows)) for _ in range(steps)]
    return {name: value.clone() for name, value in pair.state_dict().items()}, losses


def everything(rank=0, chains=CHAINS):
    found = {how: stepped(machine(chains), how) for how in ("eager", "traced")}
    found["one row"] = stepped(machine(chains), rows=ROWS[:1])
    found["running"] = stepped(Running())
    for sampler in ("pa", "pt"):
        found[sampler] = stepped(machine(64, sampler), "eager", 1)[0]
    found["pooled"] = pooled([torch.tensor([1.0 + rank])], torch.tensor(800.0 * rank))
    return found


@pytest.mark.slow
def test_two_processes_have_twice_the_chains_of_one(tmp_path):
    """Each step is that of one process with the chains of both: parameters, log Z and the chains themselves."""
    whole = everything(chains=2 * CHAINS)
    both = run_processes(2, everything, tmp_path)
    for case in ("eager", "traced", "one row"):
        expected, losses = whole[case]
        for found, others in (part[case] for part in both):
            assert others == pytest.approx(losses, rel=1e-10)
            for name in expected.keys() - {"prior.chains"}:
                torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-12)
        chains = torch.cat([part[case][0]["prior.chains"] for part in both])
        assert torch.equal(chains, expected["prior.chains"])
    for name, value in whole["running"][0].items():
        for part in both:
            torch.testing.assert_close(part["running"][0][name], value, rtol=1e-10, atol=1e-12)
    for sampler in ("pa", "pt"):
        zero, one = (part[sampler] for part in both)
        assert zero["prior.log_partition"] == one["prior.log_partition"]
        assert torch.equal(zero["prior.weights"], one["prior.weights"])
        assert not torch.equal(zero["prior.chains"], one["prior.chains"])
    for part in both:  # of 1 and e^800
        means, log_mean = part["pooled"]
        assert means[0] == 1.5
        assert float(log_mean) == pytest.approx(800.0 - torch.tensor(2.0).log().item())


def trained(folder, epochs, resume=False):
    pair = machine(CHAINS)
    fit(pair, ROWS, epochs=epochs, batch_size=3, run_dir=folder, resume=resume, settings=FitSettings(progress=False))
    return {name: value.clone() for name, value in pair.state_dict().items()}


@pytest.mark.slow
def test_a_run_with_sharded_chains_is_resumed_by_as_many_and_by_others(tmp_path):
    """Its state has the chains of all; by as many processes the result is that of a run that was not interrupted."""

    def runs(rank):
        whole = trained(None, 2)
        trained(tmp_path / "run", 1)
        return whole, trained(tmp_path / "run", 2, resume=True)

    for whole, resumed in run_processes(2, runs, tmp_path):
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    shards = load_state(tmp_path / "run" / "state.pt")["shards"]
    assert [list(shard) for shard in shards] == [["prior.chains"]] * 2
    assert not torch.equal(shards[0]["prior.chains"], shards[1]["prior.chains"])
    found = run_processes(3, lambda rank: trained(tmp_path / "run", 3, resume=True), tmp_path)
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in found[0])
    assert len(load_state(tmp_path / "run" / "state.pt")["shards"]) == 3
    trained(tmp_path / "run", 4, resume=True)
    assert "shards" not in load_state(tmp_path / "run" / "state.pt")


def test_what_a_buffer_is_survives_copies_and_is_checked():
    pair = copy.deepcopy(RBM(D, 3, num_chains=2))
    pair.norm = nn.BatchNorm1d(3)
    pair.norm.register_buffer("other", torch.zeros(1))
    assert kinds_of(pair) == {
        "prior.chains": "sharded",
        "prior.log_partition": "replicated",
        "prior.log_partition_error": "replicated",
        "prior.estimated_at": "replicated",
        "norm.running_mean": "averaged",
        "norm.running_var": "averaged",
        "norm.num_batches_tracked": "replicated",
        "norm.other": None,
    }
    assert set(kinds_of(BatchNormLSTM(2, 3)).values()) == {"replicated"}
    with pytest.raises(ValueError, match="kind must be one of replicated, averaged, sharded, got 'shared'"):
        register_state(pair, "shared", "x", torch.zeros(1))
