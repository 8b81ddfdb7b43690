"""The traced step against the eager one, what it does with programs it cannot trace, and that nothing piles up."""

import copy
import gc
import math
import warnings
from functools import partial

import missing
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.nn import pyro_method
from step_pairs import D, Stateful, Tiny
from torch import nn

from pyrodgm.infer import ELBO, IWELBO, TrainStep
from pyrodgm.infer.tracing.graph import flatten
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal


def run(objective, mode, steps=6, build=Stateful, clip=1.0):
    pyro.set_rng_seed(0)
    pair = build()
    optimizer = torch.optim.Adam(pair.parameters(), lr=1e-2)
    step = TrainStep(pair, copy.deepcopy(objective), optimizer, clip_grad_norm=clip, compile=mode)
    x = torch.rand(8, D, generator=torch.Generator().manual_seed(1)).round()
    losses = [step(x if i % 3 else x[:5]) for i in range(steps)]
    assert step.mode == mode
    return torch.stack(losses), pair.state_dict()


@pytest.mark.parametrize(
    "objective",
    [
        ELBO(),
        *(
            pytest.param(objective, marks=pytest.mark.slow)
            for objective in (
                ELBO(kl_weight=0.3, num_particles=2),
                ELBO(num_particles=3, vectorize_particles=True),
                IWELBO(4),
                IWELBO(4, alpha=0.5, gradient="stl"),
                IWELBO(4, gradient="dreg"),
            )
        ),
    ],
    ids=lambda o: f"{type(o).__name__}-{o.num_particles}-{getattr(o, 'gradient', '')}",
)
def test_traced_equals_eager_with_all_that_a_pair_can_hold(objective):
    def deterministic():
        pair = Stateful()
        # batch statistics see no particles, and the particle plate no batch norm
        return pair.eval() if objective.num_particles > 1 else pair

    eager, eager_state = run(objective, "eager", build=deterministic)
    traced, state = run(objective, "traced", build=deterministic)
    assert torch.equal(eager, traced)
    assert all(torch.equal(eager_state[name], state[name]) for name in state)
    assert not torch.equal(state["chain"], deterministic().state_dict()["chain"])


@pytest.mark.slow
def test_noise_differs_between_steps_and_comes_from_the_seed():
    first, _ = run(ELBO(), "traced", steps=3)
    again, _ = run(ELBO(), "traced", steps=3)
    assert torch.equal(first, again)
    assert len(set(first.tolist())) == len(first)


@pytest.mark.slow
def test_one_graph_for_each_shape_and_nothing_left_by_tracing():
    pair = Stateful()
    before = copy.deepcopy(pair.state_dict())
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.0), compile="traced")
    rng = torch.get_rng_state()
    rehearse(pair, step.objective, (torch.ones(8, D),))
    assert torch.equal(rng, torch.get_rng_state())
    assert all(torch.equal(before[n], v) for n, v in pair.state_dict().items())
    for size in (8, 8, 5, 8, 5):
        step(torch.ones(size, D))
    pair.eval()
    step(torch.ones(8, D))
    assert len(step._gradients) == 3
    assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_a_replaced_part_is_seen(mode):
    pair = VAE(StandardNormal(1), BernoulliLikelihood(nn.Sequential(nn.Linear(1, 4))), GaussianPosterior(mlp(4, [], 2)))
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.0), compile=mode)
    x = torch.ones(6, 4)
    assert step(x) < 20

    def constant(value):
        layer = nn.Linear(1, 4)
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)
        return layer

    def loss():
        return step(x).item()

    pair.likelihood.net[0] = constant(-100.0)
    assert 395 < loss() < 420
    pair.likelihood.net[0].bias = nn.Parameter(torch.full((4,), -200.0))
    assert 795 < loss() < 820
    pair.likelihood.net.append(nn.ReLU())
    assert 4 * math.log(2) < loss() < 20


class Rows(VAE):
    """A VAE of images that it takes for rows of numbers."""

    @pyro_method
    def model(self, x):
        super().model(x.flatten(1))

    @pyro_method
    def guide(self, x):
        super().guide(x.flatten(1))


def test_batches_of_every_layout_have_the_eager_loss():
    x = torch.rand(6, 2, D // 2).round()
    layouts = [x, x.transpose(0, 2).contiguous().transpose(0, 2), x.repeat_interleave(2, 2)[..., ::2], x]
    losses = []
    for mode in ("traced", "eager"):
        pyro.set_rng_seed(0)
        pair = Rows(StandardNormal(2), BernoulliLikelihood(mlp(2, [6], D)), GaussianPosterior(mlp(D, [6], 4)))
        step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=1e-2), compile=mode)
        losses.append(torch.stack([step(batch) for batch in layouts]))
    assert torch.equal(*losses)


def test_graphs_are_kept_for_so_many_shapes_and_no_more(monkeypatch):
    monkeypatch.setattr("pyrodgm.infer.training.step.MOST_GRAPHS", 2)
    pair = VAE(StandardNormal(1), BernoulliLikelihood(mlp(1, [], 4)), GaussianPosterior(mlp(4, [], 2)))
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1), compile="traced")
    for size in (2, 3, 2):
        step(torch.ones(size, 4))
    before = copy.deepcopy(pair.state_dict())
    with pytest.warns(UserWarning, match="batches of more than 2 shapes: further ones run eagerly"):
        step(torch.ones(4, 4))
    step(torch.ones(5, 4))  # warned of once
    step(torch.ones(2, 4))
    assert sum(isinstance(call, partial) for call in step._gradients.values()) == 2
    assert not any(torch.equal(before[n], v) for n, v in pair.state_dict().items() if "net" in n)


@pytest.mark.slow
def test_memory_stays_flat_over_thousands_of_steps():
    pair = VAE(StandardNormal(1), BernoulliLikelihood(mlp(1, [], 4)), GaussianPosterior(mlp(4, [], 2)))
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=1e-3), compile="traced")
    x = torch.ones(2, 4)

    def objects_after(steps):
        for _ in range(steps):
            step(x)
        gc.collect()
        return len(gc.get_objects())

    early = objects_after(100)
    assert objects_after(2000) - early < 20


class Branching(Pair):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            scale = 1.0 if z.sum() > 0 else 2.0
            pyro.sample("x", dist.Normal(z[:, None], scale).expand([len(x), D]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 1.0))


def test_what_cannot_be_traced_runs_eagerly_with_one_warning_that_names_reason_and_site():
    pair = Branching()
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=1e-3), compile="traced")
    pyro.set_rng_seed(5)
    with pytest.warns(UserWarning, match=r"runs eagerly: \w+ at or after site 'z': \S+"):
        first = step(torch.zeros(8, D))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(torch.zeros(8, D))
        step(torch.zeros(5, D))
    assert step.mode == "eager"
    twin = Branching()
    pyro.set_rng_seed(5)
    eager = TrainStep(twin, ELBO(), torch.optim.SGD(twin.parameters(), lr=1e-3), compile="eager")
    assert eager(torch.zeros(8, D)) == first


@pytest.mark.slow
def test_estimators_of_pyro_run_too():
    for objective in (TraceMeanField_ELBO(), Trace_ELBO()):
        pyro.set_rng_seed(0)
        pair = Stateful()
        step = TrainStep(pair, objective, torch.optim.Adam(pair.parameters(), lr=1e-2))
        with warnings.catch_warnings(record=True):  # Pyro's estimators read numbers off tensors
            warnings.simplefilter("always")
            losses = [step(torch.ones(8, D)).item() for _ in range(60)]
        assert sum(losses[-10:]) < sum(losses[:10])


def test_unused_parameter_gets_no_gradient():
    pair = Stateful()
    pair.idle = nn.Parameter(torch.ones(2))
    step = TrainStep(pair, ELBO(), torch.optim.Adam(pair.parameters(), lr=0.1), compile="traced")
    step(torch.ones(8, D))
    assert pair.idle.grad is None
    assert torch.equal(pair.idle, torch.ones(2))


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor does not flush denormal numbers")
@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_a_step_flushes_denormal_numbers_and_nothing_else_does(mode):
    pair = Tiny()
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=1e38), compile=mode)
    step(torch.ones(4, dtype=torch.float32))
    assert pair.loc.item() == 0.5
    assert (torch.tensor([1e-39], dtype=torch.float32) / 2 > 0).all()


@pytest.mark.slow
def test_without_a_compiler_the_graph_runs_as_it_is(tmp_path, monkeypatch):
    """The graph made for the compiler, run without it, rounds otherwise: it adds biases after the products."""
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with (
        config.patch({"cpp.cxx": (str(tmp_path / "none"),), "fx_graph_cache": False}),
        pytest.warns(UserWarning, match="cannot be compiled and runs uncompiled"),
    ):
        compiled = run(ELBO(), "compiled", steps=1)
    traced = run(ELBO(), "traced", steps=1)
    torch.testing.assert_close(compiled[0], traced[0], rtol=1e-9, atol=0.0)
    # Adam divides by the size of a gradient plus 1e-8: of one that is rounding alone (a bias before a batch
    # normalisation) it makes a step of 1e-2 * 1e-16 / 1e-8 and a few times that.
    torch.testing.assert_close(compiled[1], traced[1], rtol=1e-9, atol=1e-7)


def test_mode_is_chosen_by_the_number_of_steps():
    pair = Stateful()
    optimizer = torch.optim.Adam(pair.parameters())
    assert TrainStep(pair, ELBO(), optimizer).mode == "traced"
    assert TrainStep(pair, ELBO(), optimizer, expected_steps=10**6).mode == "compiled"
    with pytest.raises(ValueError, match="compile must be one of auto, eager, traced, compiled, got 'fast'"):
        TrainStep(pair, ELBO(), optimizer, compile="fast")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason=missing.DEVICE)
def test_captured_step_equals_the_eager_one_without_noise():
    def losses(mode):
        torch.manual_seed(0)
        pair = Stateful().to("cuda").eval()
        optimizer = torch.optim.Adam(pair.parameters(), lr=1e-2, capturable=mode != "eager")
        step = TrainStep(pair, IWELBO(2000), optimizer, compile=mode)
        x = torch.ones(8, D, device="cuda")
        return torch.stack([step(x) for _ in range(30)]).mean()

    assert losses("traced").item() == pytest.approx(losses("eager").item(), rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_graphs_keep_the_digits_of_expm1(dtype):
    x = -torch.logspace(-30, 1.5, 3000, dtype=torch.float64).to(dtype)
    expected = torch.expm1(x.double())

    def both(x):
        return torch.expm1(x), x.neg().neg_().expm1_().neg_()

    graph = flatten(both, (x,), compiled=True)
    first, second = graph(x)
    for found in (first, -second):
        assert ((found.double() - expected) / expected).abs().max() < 4 * torch.finfo(dtype).eps
    assert (graph(torch.full_like(x, 1000.0))[0] == torch.inf).all()


@pytest.mark.slow
def test_compiled_graphs_take_inputs_of_other_layouts_and_dtypes():
    wide = torch.randn(4, 6)
    graph = flatten(lambda x: {"sum": x + 1, "rows": [x.sum(-1)]}, (wide,), compiled=True)
    for x in (wide, torch.randn(6, 4).T, wide.float(), (10 * wide).long()):
        found = graph(x)
        assert torch.equal(found["sum"], x + 1)
        assert torch.allclose(found["rows"][0], x.sum(-1))


@pytest.mark.slow
def test_compiled_products_have_their_bias():
    inputs = torch.randn(4), torch.randn(3, 5), torch.randn(5, 4)

    def products(b, x, w):
        return [torch.addmm(b, x, w, **factors).sin() for factors in ({}, {"alpha": 2.0}, {"beta": 0.5})]

    found = flatten(products, inputs, compiled=True)(*inputs)
    for product, expected in zip(found, products(*inputs), strict=True):
        assert torch.allclose(product, expected, rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_batches_without_data_or_of_other_kinds_are_refused(mode):
    pair = VAE(StandardNormal(1), BernoulliLikelihood(nn.Sequential(nn.Linear(1, 4))), GaussianPosterior(mlp(4, [], 2)))
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1), compile=mode)
    with pytest.raises(ValueError, match=r"batch must hold at least one datum, got shape \[0, 4\]"):
        step(torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"batch must hold at least one datum, got shape \[\]"):
        step(torch.zeros(()))
    x = torch.zeros(2, 4)
    for batch, got in (((x, 0.5), "'Tensor', 'float'"), (([x],), "'list'"), ((x.numpy(),), "'ndarray'"), ((), "")):
        with pytest.raises(TypeError, match=rf"batch must be tensors, at least one, got \[{got}\]"):
            step(*batch)
        with pytest.raises(TypeError, match=rf"batch must be tensors, at least one, got \[{got}\]"):
            step.on_batches([batch])
    assert torch.isfinite(step(x))
