"""Plateaus, accumulated gradients, layers in bfloat16."""

import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, TrainStep, fit
from pyrodgm.infer.tracing.precision import layers_in_bfloat16
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
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
        TrainStep(pair, Certain(), sgd(pair.parameters()), compile=mode, context=lambda x: layers_in_bfloat16()),
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
    with layers_in_bfloat16():
        assert torch.allclose(layer(z), expected, atol=2**-7)
        assert not torch.equal(layer(z), z @ layer.weight.t() + layer.bias)
        torch.testing.assert_close(z @ z.t(), (z.double() @ z.double().t()).float())  # in full precision
        assert layer.double()(z.double()).dtype == torch.float64


def test_validation_and_weights_are_those_of_the_float32_masters():
    pair, x = build(20).float(), X.float()
    settings = FitSettings(precision="bf16-mixed", valid=x, progress=False)
    result = fit(pair, x, epochs=3, objective=Certain(), batch_size=10, settings=settings)
    with torch.no_grad():
        bound = -float(Certain().differentiable_loss(pair.model, pair.guide, x)) / len(x)
    assert result.best_bound == pytest.approx(bound, rel=1e-6)
    assert all(not torch.equal(p, p.bfloat16().float()) for p in pair.parameters())
    assert math.isfinite(result.best_bound)
