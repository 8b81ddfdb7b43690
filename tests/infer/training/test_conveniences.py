"""Plateaus, accumulated gradients, layers in half precision."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit
from pyrodgm.infer.tracing.precision import layers_in
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

X = (torch.rand(30, 4, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)


def build(hidden=3):
    torch.manual_seed(0)
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [hidden], 4)), GaussianPosterior(mlp(4, [hidden], 4)))


@pytest.mark.parametrize(("valid_every", "rates"), [(1, [1.0, 1.0, 0.5, 0.25, 0.25]), (2, [1.0, 1.0, 1.0, 1.0, 0.5])])
def test_a_plateau_of_the_score_lowers_the_rate(valid_every, rates):
    scores = iter([1.0, 1.0, 0.0, 3.0, 2.0])
    scheduler = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", factor=0.5, patience=0)
    settings = FitSettings(
        lr_scheduler=scheduler, valid_score=lambda pair, x: next(scores), valid_every=valid_every, progress=False
    )
    result = fit(build(), X, epochs=5, optimizer=partial(torch.optim.SGD, lr=1.0), settings=settings)
    assert [row["learning_rate"] for row in result.metrics] == rates


@pytest.mark.parametrize(
    ("scores", "rates"),
    [
        ([-50.0, -51.0, -40.0, -39.0, -41.0], [1.0, 1.0, 0.5, 0.5, 0.25]),  # -39 is no tenth better than -40
        ([-1.0, -0.5, 0.5, 0.52, 0.6], [1.0, 1.0, 1.0, 1.0, 0.5]),
    ],
)
def test_a_relative_threshold_is_a_share_of_the_size_of_the_score(scores, rates):
    found = iter(scores)
    scheduler = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", factor=0.5, patience=0, threshold=0.1)
    settings = FitSettings(lr_scheduler=scheduler, valid_score=lambda pair, x: next(found), progress=False)
    result = fit(build(), X, epochs=5, optimizer=partial(torch.optim.SGD, lr=1.0), settings=settings)
    assert [row["learning_rate"] for row in result.metrics] == rates


@pytest.mark.slow
def test_a_plateau_of_the_bound_is_gone_on_with(tmp_path):
    scheduler = partial(
        torch.optim.lr_scheduler.ReduceLROnPlateau,
        mode="max",
        factor=0.5,
        patience=0,
        threshold=1e3,
        threshold_mode="abs",
    )
    options = {"optimizer": partial(torch.optim.SGD, lr=1e-3), "batch_size": 10}
    options["settings"] = FitSettings(lr_scheduler=scheduler, progress=False)
    whole = fit(build(), X, epochs=5, **options)
    assert [row["learning_rate"] for row in whole.metrics] == [1e-3, 1e-3, 5e-4, 2.5e-4, 1.25e-4]
    for epochs in (2, 5):
        parts = fit(build(), X, epochs=epochs, run_dir=tmp_path, resume=True, **options)
    assert [row["train_bound"] for row in parts.metrics] == [row["train_bound"] for row in whole.metrics]
    assert [row["learning_rate"] for row in parts.metrics] == [row["learning_rate"] for row in whole.metrics]


class Certain(ELBO):
    """The bound at the mean of the guide: it has no noise, so that batches can be compared."""

    def differentiable_loss(self, model, guide, x):
        pair = model.__self__
        q = pair.posterior(x)
        return dist.kl.kl_divergence(q, pair.prior()).sum() - pair.likelihood(q.mean).log_prob(x).sum()


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_accumulated_gradients_are_those_of_one_large_batch(mode):
    """Batches of 12, 12 and 6: each datum counts the same."""
    one, many = build(), build()
    options = {"clip_grad_norm": 0.5, "compile": mode}
    first = TrainStep(one, Certain(), torch.optim.Adam(one.parameters(), lr=1e-2), **options)
    second = TrainStep(many, Certain(), torch.optim.Adam(many.parameters(), lr=1e-2), **options)
    for _ in range(3):
        loss = first(X)
        again = second.on_batches((x,) for x in X.split(12))
    torch.testing.assert_close(loss, again)
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_clipping_is_of_the_gradient_that_the_optimiser_follows(mode, frozen, batches):
    """What it lacks, frozen with an old gradient or not, has no part in the norm, nor do gradients of earlier steps."""
    pair, twin = build(), build()
    for parameter in pair.posterior.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
        parameter.requires_grad_(not frozen)
    step = TrainStep(pair, Certain(), torch.optim.SGD(pair.likelihood.parameters(), lr=1.0), 0.05, compile=mode)
    own, objective = list(twin.likelihood.parameters()), Certain()
    for _ in range(4):
        step(X) if batches == 1 else step.on_batches((x,) for x in X.split(len(X) // batches))
        gradients = torch.autograd.grad(objective.differentiable_loss(twin.model, twin.guide, X) / len(X), own)
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        assert norm > 0.05
        with torch.no_grad():
            for parameter, gradient in zip(own, gradients, strict=True):
                parameter -= gradient * 0.05 / norm
    for a, b in zip(pair.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_fit_counts_optimiser_steps_where_it_accumulates():
    settings = FitSettings(accumulate=2, progress=False)
    result = fit(build(), X, epochs=2, batch_size=6, settings=settings)
    assert [row["step"] for row in result.metrics] == [3, 6]  # of five batches per pass
    whole = fit(build(), X, epochs=2, objective=Certain(), batch_size=30, settings=FitSettings(progress=False))
    parts = fit(build(), X, epochs=2, objective=Certain(), batch_size=15, settings=settings)
    assert [r["train_bound"] for r in parts.metrics] == pytest.approx([r["train_bound"] for r in whole.metrics])


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_layers_multiply_in_bfloat16_and_nothing_else_does(mode):
    pair, exact = build(20).float(), build(20).float()
    x, seen = X.float(), []
    pair.likelihood.net.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    sgd = partial(torch.optim.SGD, lr=0.1)
    steps = [
        TrainStep(pair, Certain(), sgd(pair.parameters()), compile=mode, context=lambda x: layers_in(torch.bfloat16)),
        TrainStep(exact, Certain(), sgd(exact.parameters()), compile=mode),
    ]
    losses = [[float(step(x)) for _ in range(20)] for step in steps]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert set(seen) == {torch.float32}
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in pair.parameters())
    layer, z = nn.Linear(3, 2).float(), torch.rand(5, 3)
    z = z.float()
    expected = (z.bfloat16() @ layer.weight.bfloat16().t() + layer.bias.bfloat16()).float()
    with layers_in(torch.bfloat16):
        assert torch.allclose(layer(z), expected, atol=2**-7)
        assert not torch.equal(layer(z), z @ layer.weight.t() + layer.bias)
        torch.testing.assert_close(z @ z.t(), (z.double() @ z.double().t()).float())  # in full precision
        assert layer.double()(z.double()).dtype == torch.float64


class Faint(Pair):
    """x ~ N(a layer's output, 1), times ``factor``: gradients of a size to choose."""

    def __init__(self, factor):
        super().__init__()
        self.layer, self.factor = nn.Linear(2, 1, bias=False).float(), factor
        nn.init.constant_(self.layer.weight, 0.5)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x)), poutine.scale(scale=self.factor):
            pyro.sample("x", dist.Normal(self.layer(x[:, :2])[:, 0], 1.0), obs=x[:, 2])

    @pyro_method
    def guide(self, x):
        pass


def scaled_step(pair, mode, scale):
    sgd = torch.optim.SGD(pair.parameters(), lr=0.1 / pair.factor)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=3)
    context = lambda *x: layers_in(torch.float16)  # noqa: E731
    return TrainStep(pair, ELBO(), sgd, compile=mode, context=context, scaler=scaler)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_a_scaled_loss_keeps_gradients_that_float16_loses(mode):
    x = torch.rand(8, 3, generator=torch.Generator().manual_seed(1)).float()
    pair, lost, exact = Faint(1e-7), Faint(1e-7), Faint(1e-7)
    step, plain = scaled_step(pair, mode, 2.0**12), scaled_step(lost, mode, 1.0)
    wanted = TrainStep(exact, ELBO(), torch.optim.SGD(exact.parameters(), lr=0.1 / 1e-7), compile=mode)
    for i in range(5):
        loss = step(x)
        assert float(loss) == pytest.approx(float(wanted(x)), rel=1e-2), i
        plain(x)
    assert step.scaler.get_scale() == 2.0**13  # after three steps without overflow
    assert (exact.layer.weight - 0.5).abs().min() > 0.01
    assert torch.allclose(pair.layer.weight, exact.layer.weight, atol=2e-4)
    assert (lost.layer.weight == 0.5).all()


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_steps_whose_gradients_overflow_are_left_out(mode):
    x, pair = torch.rand(8, 3).float(), Faint(1.0)
    step = scaled_step(pair, mode, 2.0**23)
    before, scales, moved = pair.layer.weight.clone(), [], []
    for _ in range(6):
        assert math.isfinite(float(step(x)))
        scales.append(step.scaler.get_scale())
        moved.append(not torch.equal(before, pair.layer.weight))
    assert 2 <= moved.index(True) < 6
    assert scales[: moved.index(True)] == [2.0 ** (22 - i) for i in range(moved.index(True))]
    assert torch.isfinite(pair.layer.weight).all()


@pytest.mark.slow
def test_a_run_in_float16_goes_on_where_it_was(tmp_path):
    def train(run_dir, epochs):
        pair = build(20).float()
        settings = FitSettings(precision="fp16-mixed", progress=False)
        fit(pair, X.float(), epochs=epochs, batch_size=10, run_dir=run_dir, resume=True, settings=settings)
        return pair.state_dict()

    whole = train(tmp_path / "whole", 4)
    train(tmp_path / "parts", 2)
    for name, value in train(tmp_path / "parts", 4).items():
        assert torch.equal(value, whole[name])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed", "fp16-mixed"])
def test_validation_and_weights_are_those_of_the_float32_masters(precision):
    pair, x = build(20).float(), X.float()
    settings = FitSettings(precision=precision, valid=x, progress=False)
    result = fit(pair, x, epochs=3, objective=Certain(), batch_size=10, settings=settings)
    with torch.no_grad():
        bound = -float(Certain().differentiable_loss(pair.model, pair.guide, x)) / len(x)
    assert result.best_bound == pytest.approx(bound, rel=1e-6)
    half = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    assert all(not torch.equal(p, p.to(half).float()) for p in pair.parameters())
    assert math.isfinite(result.best_bound)
