"""Many models trained together: each is what its single run of the same seed gives, to rounding."""

from functools import partial

import pytest
import torch
from torch import nn
from toy_pairs import small_vae

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import ELBO, Callback, FitSettings, NonFiniteError, fit, fit_many
from pyrodgm.infer.tracing.draws import _table
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import BoltzmannPrior, StandardNormal, VampPrior

D = 10
IMAGES = torch.rand(45, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
DATA = Dataset("made", Split(IMAGES), Split(IMAGES[:17].round()), Split(IMAGES[:0]), (1, 1, D), "grey", "dynamic")
COMMON = {"epochs": 4, "batch_size": 10}


def with_everything(run):
    """Batch normalisation, dropout, pseudo-inputs and tied weights."""
    encoder = nn.Sequential(nn.Linear(D, 6, bias=False), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 6))
    posterior = GaussianPosterior(encoder)
    prior = VampPrior.around_mean(posterior, 4, torch.full((D,), 0.5))
    return VAE(prior, BernoulliLikelihood(mlp(3, [5], D)), posterior)


def adam(rate):
    return lambda parameters: torch.optim.Adam(parameters, lr=rate)


class Stop(Callback):
    def on_step(self, moment):
        return moment.step == 7


def compare(make_pair, runs, settings=FitSettings(clip_grad_norm=1.0, compile="traced"), **common):
    common = {**COMMON, **common}
    outside = torch.get_rng_state()
    fitted = fit_many(make_pair, runs, DATA, settings=settings, **common)
    assert torch.equal(outside, torch.get_rng_state())
    for run, one in zip(runs, fitted, strict=True):
        options = {"seed": run} if isinstance(run, int) else dict(run)
        options.pop("run_dir", None)
        torch.manual_seed(options["seed"])
        pair = make_pair(run)
        alone = fit(pair, DATA, settings=settings, **{**common, **options})
        assert not one.pair.training
        for name, value in pair.state_dict().items():
            torch.testing.assert_close(one.pair.state_dict()[name], value, rtol=1e-9, atol=1e-11)
        assert (one.result.best_epoch, len(one.result.metrics)) == (alone.best_epoch, len(alone.metrics))
        for row, other in zip(one.result.metrics, alone.metrics, strict=True):
            assert row == pytest.approx(other, rel=1e-6)
    return fitted


@pytest.mark.slow
def test_models_with_rates_weights_and_patience_of_their_own(tmp_path):
    runs = [
        {"seed": 3, "optimizer": adam(1e-2), "run_dir": tmp_path / "a"},
        {"seed": 4, "optimizer": adam(0.3), "patience": 1, "run_dir": tmp_path / "b"},
        {"seed": 5, "optimizer": adam(1e-3), "objective": ELBO(kl_weight=0.5), "kl_warmup": 2.0},
    ]
    fitted = compare(with_everything, runs, epochs=5)
    assert len(fitted[1].result.metrics) < 5  # it stopped early, the others went on
    assert not _table  # nothing is kept of the graphs
    for run, one in zip(runs[:2], fitted, strict=False):
        assert (run["run_dir"] / "state.pt").exists()
        assert one.result.run_dir == run["run_dir"]


@pytest.mark.slow
def test_run_folders_of_many_are_resumed_together_and_alone(tmp_path):
    def runs(resume):
        return [{"seed": s, "run_dir": tmp_path / str(s), "resume": resume} for s in range(2)]

    whole = fit_many(lambda run: small_vae(D, 2, 4), range(2), DATA, **COMMON)
    make = lambda run: small_vae(D, 2, 4)  # noqa: E731
    fit_many(make, runs(False), DATA, **{**COMMON, "epochs": 2})
    torch.manual_seed(0)
    first = small_vae(D, 2, 4)  # goes one epoch further by itself: the other catches up
    fit(first, DATA, seed=0, run_dir=tmp_path / "0", resume=True, **{**COMMON, "epochs": 3})
    resumed = fit_many(make, runs(True), DATA, **COMMON)
    for one, other in zip(whole, resumed, strict=True):
        for name, value in one.pair.state_dict().items():
            torch.testing.assert_close(other.pair.state_dict()[name], value, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_persistent_chains_of_each_model():
    def make_pair(run):
        posterior = GaussianPosterior(mlp(D, [4], 8))
        pair = VAE(StandardNormal(4), BernoulliLikelihood(mlp(4, [4], D)), posterior)
        pair.extra = BoltzmannPrior(2, 2, num_chains=3, num_sweeps=1)
        return pair

    compare(make_pair, [1, 2], epochs=1)


@pytest.mark.slow
def test_a_callback_stops_the_model_that_it_belongs_to():
    settings = FitSettings(callbacks=[Stop()], compile="traced")
    compare(lambda run: small_vae(D, 2, 4), [0, 1], settings)


@pytest.mark.slow
def test_a_model_that_diverges_is_named():
    runs = [{"seed": 7}, {"seed": 8, "optimizer": partial(torch.optim.SGD, lr=1e300)}]
    with pytest.raises(NonFiniteError, match=r"^runs\[1\] of seed 8: not finite at step 1: ") as caught:
        fit_many(lambda run: small_vae(D, 2, 4), runs, DATA, optimizer=partial(torch.optim.SGD, lr=0.1), **COMMON)
    assert caught.value.step == 1


def test_what_cannot_be_stacked_is_refused():
    with pytest.raises(ValueError, match=r"run_dir must be named in each of runs, .*got 'runs/all'"):
        fit_many(lambda run: small_vae(D, 2, 4), [0, 1], DATA, epochs=1, run_dir="runs/all")
    with pytest.raises(ValueError, match="make_pair must make pairs of one shape, got "):
        fit_many(lambda run: small_vae(D, 2, 4 + run), [0, 1], DATA, epochs=1)
    with pytest.raises(ValueError, match="runs must be at least one"):
        fit_many(lambda run: small_vae(D, 2, 4), [], DATA, epochs=1)
    with pytest.raises(ValueError, match="runs must be of as many steps each"):
        fit_many(lambda run: small_vae(D, 2, 4), [{"seed": 0, "epochs": 1}, {"seed": 1, "epochs": 2}], DATA)


def sigmoid_in_second(run):
    return VAE(
        StandardNormal(2),
        BernoulliLikelihood(nn.Sequential(nn.Linear(2, D), nn.Sigmoid() if run else nn.Tanh())),
        GaussianPosterior(nn.Linear(D, 4)),
    )


def still_in_second(run):
    pair = with_everything(run)
    pair.posterior.net[1].train(not run)
    return pair


def scaled(run, factor):
    pair = small_vae(D, 2, 4)
    pair.posterior.net.register_forward_hook(lambda module, inputs, output: output * factor)
    return pair


@pytest.mark.parametrize(
    ("make_pair", "reason"),
    [
        (sigmoid_in_second, r"equal parts, got some that differ in 'likelihood.net.1'"),
        (still_in_second, r"equal modes, got some with 'posterior.net.1' in evaluation mode"),
        (lambda run: scaled(run, 1.0 + run), r"equal attributes, got some that differ in 'posterior.net.hook 0'"),
    ],
)
def test_pairs_that_one_graph_would_make_the_same_are_refused(make_pair, reason):
    with pytest.raises(ValueError, match=f"make_pair must make pairs of {reason}"):
        fit_many(make_pair, [0, 1], DATA, epochs=1)


def test_pairs_with_equal_hooks_are_stacked():
    compare(lambda run: scaled(run, 2.0), [0, 1], epochs=1)


class Idle(VAE):
    """Draws what nobody looks at, as the rows of a subsampled plate may be."""

    def guide(self, x):
        torch.randperm(7)
        torch.randn(3)
        super().guide(x)


def test_draws_without_a_use_move_the_random_state_of_each_model_on():
    def make_pair(run):
        return Idle(StandardNormal(2), BernoulliLikelihood(nn.Linear(2, D)), GaussianPosterior(nn.Linear(D, 4)))

    compare(make_pair, [0, 1], epochs=1)
