import copy

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, fit, log_likelihood
from pyrodgm.infer.tracing.contexts import evaluating, loss_per_datum, matmul_precision, unchanged
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import BatchNorm, mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_of_products_holds_inside_only(precision):
    before = torch.get_float32_matmul_precision()
    with matmul_precision(precision):
        assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == before


def test_medium_precision_rounds_to_bfloat16_or_not_at_all():
    torch.manual_seed(0)
    left, right = torch.randn(200, 300, dtype=torch.float32), torch.randn(300, 400, dtype=torch.float32)
    exact = left.double() @ right.double()
    with matmul_precision("medium"):
        medium = left @ right
    highest = left @ right
    scale = left.double().norm(dim=1, keepdim=True) * right.double().norm(dim=0)
    assert ((highest - exact) / scale).abs().max() < 1e-6
    assert ((medium - exact) / scale).abs().max() < 4e-3


class Part(nn.Module):
    """Called with nothing; counts nothing, since that would be a side effect."""

    def __init__(self, make=lambda part: dist.Normal(part.loc, 1.0)):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))
        self.register_buffer("state", torch.zeros(3))
        self.calls, self.seen, self.generator = 0, [], torch.Generator().manual_seed(0)
        self.make = make

    def forward(self):
        return self.make(self)


def count(part):
    part.calls += 1
    return dist.Normal(part.loc, 1.0)


def append(part):
    part.seen.append(1)
    return dist.Normal(part.loc, 1.0)


def advance(part):
    part.state.add_(1.0)
    return dist.Normal(part.state.clone(), 1.0)


def test_a_part_called_with_nothing_is_kept_between_calls():
    pair = nn.ModuleDict({"prior": Part()})
    with evaluating(pair):
        assert pair["prior"]() is pair["prior"]()
        assert "forward" not in vars(pair["prior"])
        inside = pair["prior"]()
    assert pair["prior"]() is not inside
    assert "_compiled_call_impl" not in vars(pair["prior"])


def test_a_kept_result_follows_the_parameters():
    pair = nn.ModuleDict({"prior": Part(lambda part: part.loc + 1.0), "other": nn.Linear(1, 1)})
    with evaluating(pair):
        assert pair["prior"]().sum() == 3.0
        pair["prior"].loc.add_(1.0)
        assert pair["prior"]().sum() == 6.0
        replaced = {"prior.loc": torch.full((3,), 9.0)}
        assert torch.func.functional_call(pair["prior"], {"loc": replaced["prior.loc"]}, ()).sum() == 30.0
        assert pair["prior"]().sum() == 6.0
        with torch.enable_grad():
            assert not pair["prior"]().requires_grad  # parts are fixed while latents are differentiated


@pytest.mark.parametrize(
    "make",
    [
        lambda part: dist.Normal(pyro.sample("tau", dist.Normal(part.loc, 1.0).to_event(1)), 1.0),
        lambda part: pyro.deterministic("d", part.loc + 0.0),
        lambda part: torch.randn(3),
        lambda part: torch.nn.functional.dropout(part.loc + 1.0, 0.5, training=True),
        lambda part: torch.rand(3, generator=part.generator),
        count,
        append,
        advance,
    ],
    ids=["sample", "deterministic", "randn", "dropout", "generator", "attribute", "list", "buffer"],
)
def test_a_part_that_draws_or_changes_something_runs_each_time(make):
    part = Part(make)
    runs = []
    part.make = lambda p: (runs.append(1), make(p))[1]
    pair = nn.ModuleDict({"prior": part})
    with evaluating(pair):
        traces = [poutine.trace(pair["prior"]).get_trace() for _ in range(4)]
    assert len(runs) == 4
    assert len({tuple(trace.nodes) for trace in traces}) == 1


def test_state_that_is_brought_up_to_date_once_is_no_reason_to_run_again():
    def refresh(part):
        if part.state.sum() == 0.0:
            part.state.copy_(torch.rand(3) + 1.0)
        return part.state.clone()

    pair = nn.ModuleDict({"prior": Part(refresh)})
    with evaluating(pair):
        pair["prior"]()
        assert pair["prior"]() is pair["prior"]()


def test_parts_with_hooks_and_scripts_run_as_they_are():
    part, seen = Part(), []
    part.register_forward_hook(lambda module, args, output: seen.append(1))
    script = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    pair = nn.ModuleDict({"prior": part, "decoder": script, "pyro": PyroModule[nn.Linear](2, 2)})
    with evaluating(pair):
        pair["prior"]()
        pair["prior"]()
        pair["decoder"](torch.zeros(1, 2))
        copy.deepcopy(pair["pyro"])
    assert len(seen) == 2


@pytest.mark.parametrize("fails", [False, True])
def test_every_part_gets_its_mode_back(fails):
    pair = nn.ModuleDict({"a": nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), "b": nn.Linear(1, 1)})
    pair.train()
    pair["a"].eval()
    pair["a"][1].train()
    modes = [m.training for m in pair.modules()]

    def run():
        with evaluating(pair):
            assert not any(m.training for m in pair.modules())
            if fails:
                raise KeyError("inside")

    if fails:
        with pytest.raises(KeyError):
            run()
    else:
        run()
    assert [m.training for m in pair.modules()] == modes


def test_modes_come_back_where_a_part_refuses_to_be_evaluated():
    class Stubborn(nn.Module):
        def train(self, mode=True):
            if not mode:
                raise RuntimeError("no")
            return super().train(mode)

    pair = nn.ModuleDict({"a": nn.Linear(1, 1), "b": Stubborn()})
    with pytest.raises(RuntimeError, match="no"), evaluating(pair):
        pass
    assert pair["a"].training


def test_a_rehearsal_that_fails_leaves_buffers_as_they_were():
    class Failing(Pair):
        def __init__(self):
            super().__init__()
            self.register_buffer("steps", torch.zeros(()))

        def model(self, x):
            self.steps.add_(1.0)
            raise KeyError("inside")

        def guide(self, x):
            pass

    pair = Failing()
    with pytest.raises(KeyError):
        rehearse(pair, ELBO(max_plate_nesting=1), (torch.zeros(2),))
    assert pair.steps == 0.0


def test_a_pair_that_was_read_by_pytorch_trains_and_keeps_its_buffers(tmp_path):
    likelihood = BernoulliLikelihood(nn.Sequential(nn.Linear(2, 8), BatchNorm(8), nn.ReLU(), nn.Linear(8, 9)))
    torch.save(VAE(StandardNormal(2), likelihood, GaussianPosterior(mlp(9, [8], 4))), tmp_path / "pair.pt")
    pair = torch.load(tmp_path / "pair.pt", weights_only=False)
    x, before = torch.rand(20, 9).round(), {name: value.clone() for name, value in pair.named_buffers()}
    with unchanged(pair, torch.device("cpu")):
        for value in pair.buffers():
            value.add_(1)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in pair.named_buffers())
    for mode in ("eager", "traced"):
        assert fit(pair, x, epochs=1, settings=FitSettings(progress=False, compile=mode)).metrics
    assert log_likelihood(pair, x, 50, seed=0).mean < 0.0


class Plates(nn.Module):
    """x ~ N(0, 1), ten pixels of forty, in a plate of ``full`` data; ten topics of a hundred have plates of theirs."""

    def __init__(self, full=None):
        super().__init__()
        self.loc, self.full = nn.Parameter(torch.zeros(())), full

    def topics(self):
        with pyro.plate("topics", 100, subsample=torch.arange(10), dim=-1):
            pyro.sample("t", dist.Normal(0.0, 1.0))

    def model(self, x):
        self.topics()
        data = pyro.plate("data", self.full or len(x), subsample_size=len(x), dim=-2)
        with data, pyro.plate("pixels", 40, subsample=torch.arange(10), dim=-1) as rows:
            pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x[:, rows])

    def guide(self, x):
        self.topics()


@pytest.mark.parametrize("count", [10, 7])
@pytest.mark.parametrize("full", [None, 1000])
def test_loss_per_datum_is_of_the_plate_of_the_data_whatever_other_plates_have_its_size(count, full):
    x = torch.linspace(-1.0, 1.0, 40 * count).reshape(count, 40)
    loss = loss_per_datum(Plates(full), ELBO(), (x,))
    exact = -4.0 * dist.Normal(0.0, 1.0).log_prob(x[:, :10]).sum() / count
    assert loss.item() == pytest.approx(exact.item())
