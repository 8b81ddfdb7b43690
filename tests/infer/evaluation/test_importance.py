"""Importance-sampled log-likelihoods against the exact evidence of probabilistic PCA and against Pyro's own."""

import gc
import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from live_bytes import LiveBytes
from pyro.infer.importance import vectorized_importance_weights
from torch import nn
from toy_pairs import ProbabilisticPCA

from pyrodgm import infer
from pyrodgm.arithmetic import log_stick_weights
from pyrodgm.infer.evaluation.sampler import ImportanceSampler
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, Pair
from pyrodgm.nn import StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, StandardNormal, VampPrior

D, LATENT = 6, 3
log_likelihood = partial(infer.log_likelihood, proposal="guide")


def draw(pair, count):
    return (
        pyro.poutine.trace(pyro.poutine.uncondition(pair.model))
        .get_trace(torch.zeros(count, D))
        .nodes["x"]["value"]
        .detach()
    )


def test_exact_evidence_of_probabilistic_pca():
    pair = ProbabilisticPCA(stretch=1.3, shift=0.05)
    x = draw(pair, 40)
    result = log_likelihood(pair, x, 4000, seed=1)
    # delta method: the standard error of a log mean is that of the mean, divided by it
    error = (1 / result.ess - 1 / result.num_samples).sqrt()
    assert ((result.values - pair.evidence(x)).abs() < 4 * error).all()
    assert error.max() < 0.05
    assert result.mean == pytest.approx(pair.evidence(x).mean().item(), abs=4 * error.norm().item() / 40)
    assert result.standard_error == pytest.approx(pair.evidence(x).std().item() / math.sqrt(40), rel=0.05)
    assert result.untrusted_share == 0.0


def test_exact_guide_gives_the_evidence_whatever_the_number_of_samples():
    pair = ProbabilisticPCA()
    x = draw(pair, 5)
    result = log_likelihood(pair, x, 100)
    assert torch.allclose(result.values, pair.evidence(x), atol=1e-10)
    assert torch.allclose(result.ess, torch.full((5,), 100.0))
    assert result.untrusted_share == 0.0


def test_narrow_guide_is_not_trusted():
    pair = ProbabilisticPCA(stretch=0.2)
    result = log_likelihood(pair, draw(pair, 20), 2000, seed=1)
    assert result.untrusted_share > 0.9
    assert (result.ess < 500).all()


def test_weights_equal_those_of_pyro_on_the_same_draws():
    pair = ProbabilisticPCA(stretch=1.2)
    x = draw(pair, 1)
    result = log_likelihood(pair, x, 50, seed=2, keep=True)
    torch.manual_seed(2)
    log_weights, _, _ = vectorized_importance_weights(pair.model, pair.guide, x, num_samples=50, max_plate_nesting=1)
    assert torch.allclose(log_weights, result.log_weights[:, 0])
    assert result.values.item() == pytest.approx((log_weights.logsumexp(0) - math.log(50)).item())


@pytest.mark.slow
def test_chunks_and_memory_bound_do_not_change_the_estimate():
    pair = ProbabilisticPCA(stretch=1.3)
    x = draw(pair, 7)
    whole = log_likelihood(pair, x, 3000, seed=1, keep=True)
    pair.guide_runs.clear()
    parts = log_likelihood(pair, x, 3000, seed=1, max_bytes=300_000, keep=True)
    assert len(pair.guide_runs) < 7 + 8  # once a block of data, and a few probes of the memory
    error = (1 / whole.ess + 1 / parts.ess).sqrt()
    assert ((whole.values - parts.values).abs() < 4.5 * error).all()
    joint = parts.log_weights.double().logsumexp(0) - math.log(3000)
    assert torch.allclose(joint, parts.values)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("compile_", "prior"),
    [
        ("traced", lambda q: StandardNormal(3)),
        ("traced", lambda q: VampPrior(q, torch.rand(5, 12))),
        ("compiled", lambda q: VampPrior(q, torch.rand(5, 12))),
    ],
    ids=["traced-normal", "traced-vamp", "compiled-vamp"],
)
def test_graphs_draw_and_weigh_as_pyro_does(compile_, prior):
    """Over blocks of two sizes and chunks of samples, at the same seed."""
    posterior = GaussianPosterior(mlp(12, [8], 6))
    pair = VAE(prior(posterior), BernoulliLikelihood(mlp(3, [8], 12)), posterior)
    x = torch.rand(7, 12).round()
    found, wanted = (
        log_likelihood(pair, x, 90, max_bytes=300_000, keep=True, seed=4, compile=mode) for mode in (compile_, "eager")
    )
    assert torch.equal(found.draws["z"], wanted.draws["z"])
    assert torch.allclose(found.log_weights, wanted.log_weights, rtol=0.0, atol=1e-10)
    assert torch.allclose(found.pointwise, wanted.pointwise, rtol=0.0, atol=1e-10)


@pytest.mark.slow
def test_the_guide_is_traced_once_a_shape():
    pair = ProbabilisticPCA(stretch=1.3)
    calls = []
    for count in (16, 32):
        pair.guide_runs.clear()
        log_likelihood(pair, draw(pair, count), 100, max_bytes=1)
        calls.append(len(pair.guide_runs))
    assert calls[0] == calls[1] < 16


def test_a_guide_that_cannot_be_traced_runs_eagerly():
    class Branching(ProbabilisticPCA):
        def posterior(self, x):
            return super().posterior(x if x.sum() > -1e9 else -x)

    pair = Branching()
    x = draw(pair, 5)
    with pytest.warns(UserWarning, match="cannot be traced and is evaluated eagerly"):
        result = log_likelihood(pair, x, 50, compile="traced")
    assert torch.allclose(result.values, pair.evidence(x), atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [2**22, 2**25])
def test_the_bound_on_memory_holds(max_bytes):
    vae = VAE(StandardNormal(8), BernoulliLikelihood(mlp(8, [50], 784)), GaussianPosterior(mlp(784, [50], 16)))
    x = torch.rand(20, 784).round()
    with LiveBytes() as bytes_held:
        log_likelihood(vae, x, 500, max_bytes=max_bytes)
    assert max_bytes / 20 < bytes_held.peak < max_bytes
    assert bytes_held.peak < 20 * 500 * 784 * 8  # what a single pass would need for one tensor of it


@pytest.mark.slow
def test_nothing_is_kept_of_a_block_but_its_results(monkeypatch):
    """Small tensors kept between large ones that come and go scatter the heap, which then grows without end."""
    alive, weigh = [], ImportanceSampler.weigh

    def counting(*args):
        gc.collect()
        alive.append(sum(type(o) is torch.Tensor for o in gc.get_objects()))
        return weigh(*args)

    monkeypatch.setattr(ImportanceSampler, "weigh", counting)
    pair = ProbabilisticPCA(stretch=1.3)
    gc.freeze()  # what earlier tests left is not searched each time
    try:
        log_likelihood(pair, draw(pair, 8), 100, max_bytes=1, keep=True)
    finally:
        gc.unfreeze()
    assert len(alive) == 8
    assert alive[2] == alive[-1]


def test_caller_is_left_as_it_was():
    pair = ProbabilisticPCA()
    x = draw(pair, 2)
    pair.train()
    pyro.clear_param_store()
    before = torch.get_rng_state()
    first = log_likelihood(pair, x, 20, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    assert pair.training
    assert len(pyro.get_param_store()) == 0
    assert torch.equal(first.values, log_likelihood(pair, x, 20, seed=1).values)


@pytest.mark.parametrize("progress", [None, False, True])
def test_progress_is_shown_on_terminals_or_where_it_is_asked_for(progress, capfd):
    pair = ProbabilisticPCA()
    log_likelihood(pair, draw(pair, 2), 20, progress=progress)
    assert ("datum/s" in capfd.readouterr().err) == (progress is True)


def test_one_datum_has_no_standard_error(recwarn):
    result = log_likelihood(ProbabilisticPCA(), torch.zeros(1, D), 20, proposal="guide")
    assert math.isnan(result.standard_error)
    assert str(result).startswith(f"log p(x) = {result.mean:.2f} nats (1 datum, ")
    assert not recwarn


def test_bad_input_is_named():
    pair = ProbabilisticPCA()
    with pytest.raises(ValueError, match="num_samples"):
        log_likelihood(pair, torch.zeros(2, D), 0)
    with pytest.raises(ValueError, match="compile must be one of auto, eager, traced, compiled, got 'fast'"):
        log_likelihood(pair, torch.zeros(2, D), 10, compile="fast")
    with pytest.raises(ValueError, match=r"x must hold at least one datum"):
        log_likelihood(pair, torch.zeros(0, D), 10)
    x = torch.zeros(3, D)
    x[1, 2] = math.nan
    with pytest.raises(FloatingPointError, match="datum 1 of x"):
        log_likelihood(pair, x, 10)

    class Outside(Pair):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.zeros(()))

        def model(self, x):
            self.guide(x)
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(self.a, 1.0).expand([D]).to_event(1), obs=x)

        def guide(self, x):
            pyro.sample("theta", dist.Normal(self.a, 1.0))

    with pytest.raises(ValueError, match="site 'theta' lies outside the data plate"):
        log_likelihood(Outside(), torch.zeros(3, D), 10)


@pytest.mark.parametrize("compile_", ["eager", "traced"])
def test_draws_are_weighed_as_they_are_drawn_where_weights_underflow(compile_):
    """Where the guide is the prior, weights are log p(x | z), even of sticks that underflow in float32."""
    torch.set_default_dtype(torch.float32)
    posterior = StickBreakingPosterior(nn.Linear(6, 2 * 199), "kumaraswamy", concentration=0.5, output_scale=0.0)
    nn.init.zeros_(posterior.net.bias)
    pair = VAE(GEMPrior(200, 0.5), BernoulliLikelihood(nn.Sequential(StickWeights(), nn.Linear(200, 6))), posterior)
    result = log_likelihood(pair, torch.rand(4, 6).round(), 60, keep=True, compile=compile_, seed=0)
    assert (log_stick_weights(result.draws["z"]) < -90.0).any()
    assert torch.allclose(result.log_weights, result.pointwise, atol=2e-3)
