"""What training cannot work with is refused before anything has changed, with what to pass instead."""

from functools import partial

import pyro.optim
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

X = (torch.rand(20, 4, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)


def build():
    torch.manual_seed(0)
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [3], 4)), GaussianPosterior(mlp(4, [3], 4)))


def plateau(optimizer, **kwargs):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **kwargs)


WRONG = [
    ({"objective": ELBO}, TypeError, r"objective must be an instance: pass ELBO\(\), got the class"),
    ({"objective": Trace_ELBO}, TypeError, r"pass Trace_ELBO\(\)"),
    (
        {"objective": RenyiELBO(num_particles=2)},
        TypeError,
        r"pass pyrodgm\.infer\.IWELBO\(num_particles, alpha=\.\.\.\)",
    ),
    ({"objective": nn.MSELoss()}, TypeError, "must have a method differentiable_loss .* got MSELoss"),
    ({"optimizer": torch.optim.LBFGS}, TypeError, "got LBFGS, which evaluates the loss several times"),
    ({"optimizer": partial(torch.optim.LBFGS, lr=0.1)}, TypeError, "got LBFGS"),
    (
        {"optimizer": pyro.optim.Adam({"lr": 0.01})},
        TypeError,
        r"pass functools\.partial\(torch\.optim\.Adam, lr=0\.01\)",
    ),
    ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=0.2)}, TypeError, r"partial\(torch\.optim\.SGD, lr=0\.2\)"),
    ({"optimizer": "adam"}, TypeError, "optimizer must make a torch optimiser from the parameters, got str"),
    ({"optimizer": lambda parameters: None}, TypeError, "optimizer must make a torch optimiser .* got NoneType"),
    (
        {"settings": FitSettings(lr_scheduler=plateau)},
        ValueError,
        "lr_scheduler must be of mode='max'.* got \"mode='min'",
    ),
    (
        {"settings": FitSettings(lr_scheduler=plateau(torch.optim.SGD([torch.zeros(1)], lr=0.2)))},
        TypeError,
        r"pass functools\.partial\(torch\.optim\.lr_scheduler\.ReduceLROnPlateau, \.\.\.\)",
    ),
    ({"batch_size": 2.5}, TypeError, "batch_size must be a whole number, got 2.5"),
    ({"kl_warmup": "long"}, TypeError, "kl_warmup must be a number, got 'long'"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_work_is_refused_with_what_to_pass(options, kind, message, tmp_path):
    pair = build()
    before = [p.clone() for p in pair.parameters()]
    with pytest.raises(kind, match=message):
        fit(pair, X, epochs=1, run_dir=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
    assert all(torch.equal(a, b) for a, b in zip(before, pair.parameters(), strict=True))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [(nn.DataParallel, "pass pair.module, got DataParallel"), (lambda pair: pair.prior, "methods model and guide")],
)
def test_modules_that_are_no_pairs_are_refused(wrap, message):
    with pytest.raises(TypeError, match=message):
        fit(wrap(build()), X, epochs=1)


def test_options_that_are_out_of_range_are_refused():
    for options in ({"max_steps": 0}, {"steps_per_epoch": 0}, {"accumulate": 0}, {"precision": "bf16"}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            FitSettings(**options)


def test_autocast_from_outside_is_refused():
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(ValueError, match='precision="bf16-mixed"'):
        fit(build(), X, epochs=1)


def test_a_pair_without_parameters_is_evaluated_and_not_trained():
    class Known(nn.Module):
        def forward(self, *args):
            return torch.zeros(len(args[0]), 4)

    pair = VAE(StandardNormal(2), BernoulliLikelihood(Known()), GaussianPosterior(Known()))
    with pytest.raises(ValueError, match="pair must have parameters to train, got VAE with no parameters"):
        fit(pair, X, epochs=1)
    frozen = build().requires_grad_(False)
    with pytest.raises(ValueError, match="got VAE with 8 parameters, all of them frozen"):
        fit(frozen, X, epochs=1)


def test_numbers_of_numpy_are_numbers(tmp_path):
    import numpy as np

    settings = FitSettings(clip_grad_norm=np.float32(5), valid_every=np.int64(2), progress=False)
    result = fit(build(), X, epochs=np.int32(2), batch_size=np.int64(10), run_dir=tmp_path, settings=settings)
    assert len(result.metrics) == 2
