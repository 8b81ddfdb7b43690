"""Sentences against sums over all of them, evidence against quadrature, and rows against longer rows."""

import itertools
import math
from dataclasses import replace

import pyro
import pytest
import torch
from torch import nn

from pyrodgm.infer import ELBO, TrainStep, bidirectional, log_likelihood, perplexity, sample
from pyrodgm.likelihoods import SentenceLikelihood
from pyrodgm.models import VAE, LanguageModel
from pyrodgm.nn.recurrent import SentenceDecoder, SentenceEncoder, SentenceFeatures
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior

V, T, E, H = 3, 4, 3, 5


def all_rows(length=T):
    """Every sentence of symbols 0, 1, 2, of which 0 ends it, as rows."""
    rows = [(*body, 0, *[-1] * (length - n - 1)) for n in range(length) for body in itertools.product((1, 2), repeat=n)]
    return torch.tensor([*rows, *itertools.product((1, 2), repeat=length)])


def sentence_vae(prior="standard", cell="lstm", length=T, size=1, word_dropout=0.0):
    decoder = SentenceDecoder(V, size, E, H, cell)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3.0)  # so that the latent matters
    features = SentenceFeatures(V, E)
    encoder = SentenceEncoder(E, H, 2 * size, cell)
    posterior = StickBreakingPosterior(encoder) if prior == "sticks" else GaussianPosterior(encoder)
    priors = {
        "standard": lambda: StandardNormal(size),
        "mixture": lambda: MixtureOfGaussians(size, 2),
        "vampprior": lambda: VampPrior(posterior, features(all_rows(length)[:3]), bounded=False),
        "sticks": lambda: GEMPrior(size + 1, 2.0),
    }
    likelihood = SentenceLikelihood(nn.Linear(size, size), decoder, length, word_dropout=word_dropout)
    return VAE(priors[prior](), likelihood, nn.Sequential(features, posterior))


@torch.no_grad()
def exact(pair, x):
    """Log-evidence of rows by the trapezoidal rule."""
    grid = torch.linspace(-15, 15, 1501).reshape(-1, 1, 1)
    joint = pair.likelihood(grid).log_prob(x) + pair.prior().log_prob(grid)
    return joint.logsumexp(0) + math.log(30 / 1500)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_probabilities_of_all_rows_sum_to_one_and_are_those_of_draws(cell):
    likelihood, x = sentence_vae(cell=cell).likelihood, all_rows()
    fn = likelihood(torch.tensor([0.7]))
    assert fn.support.check(x).all()
    p = fn.log_prob(x).exp().detach()
    assert p.sum().item() == pytest.approx(1.0, abs=1e-12)
    count = 5_000
    with torch.no_grad():
        drawn = fn.sample((count,))
    shares = (drawn.unsqueeze(1) == x).all(-1).double().mean(0)
    assert shares.sum().item() == pytest.approx(1.0)
    assert ((shares - p).abs() < 5 * (p * (1 - p) / count).sqrt() + 1e-3).all()
    best, greedy = x[0], fn.greedy()
    for t in range(T):  # the most probable symbol after those before it, from sums over all rows
        tail = [p[((x[:, :t] == greedy[:t]).all(1)) & (x[:, t] == s)].sum() for s in (-1, 0, 1, 2)]
        best = torch.tensor(tail).argmax() - 1
        assert greedy[t] == best


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["standard", "mixture", "vampprior", "sticks"])
def test_the_refined_proposal_meets_the_exact_evidence(prior):
    pair, x = sentence_vae(prior), all_rows()[1:15:7]
    evidence = exact(pair, x)
    found = log_likelihood(pair, x, proposal="refined", num_samples=800, keep=True, seed=0)
    assert found.attributes["proposal"] == "refined"
    assert torch.allclose(found.values, evidence, atol=0.06)
    counts = (x >= 0).sum(1)
    by_hand = math.exp(-float(evidence.sum()) / float(counts.sum()))
    judged = perplexity(found)
    assert judged.value == pytest.approx(by_hand, rel=0.02)
    assert judged.num_symbols == int(counts.sum())
    assert judged.bits == pytest.approx(math.log2(judged.value))
    moved = replace(found, values=found.values + 0.01)  # an error of log Z moves the values of all sentences alike
    shared = math.log(judged.value / perplexity(moved).value) * judged.value
    with_shared = perplexity(replace(found, shared_error=0.01)).standard_error
    assert with_shared == pytest.approx(math.hypot(judged.standard_error, shared))


@pytest.mark.slow
def test_bounds_of_simulated_sentences_meet():
    found = bidirectional(sentence_vae(), 3, all_rows(), 100, chains=16, temperatures=8, seed=0)
    assert abs(found.gap) < 0.1 + 5 * found.standard_error


@pytest.mark.slow
def test_evidence_of_all_rows_sums_to_one():
    assert exact(sentence_vae(), all_rows()).exp().sum().item() == pytest.approx(1.0, abs=1e-8)


def everything(pair, x):
    """Terms of the bound, parameters of the posterior, and all gradients."""
    q = pair.posterior(x)
    log_prob = pair.likelihood(q.mean).log_prob(x)
    gradients = torch.autograd.grad(log_prob.sum() + q.base_dist.scale.log().sum(), list(pair.parameters()))
    return [log_prob, q.mean, q.base_dist.scale, *gradients]


def test_what_comes_after_a_sentence_has_no_influence():
    torch.manual_seed(1)
    pair, x = sentence_vae(), all_rows()[:7]
    torch.manual_seed(1)
    longer = sentence_vae(length=9)
    rows = torch.cat([x, torch.full((len(x), 5), -1)], 1)
    wanted = everything(pair, x)
    for found, value in zip(everything(longer, rows), wanted, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-14)
    filled = torch.where(x < 0, torch.tensor([-7, -3, -5, -2]), x)
    with pyro.validation_enabled(False):
        for found, value in zip(everything(pair, filled), wanted, strict=True):
            assert torch.equal(found, value)
        beyond = torch.where(x < 0, torch.tensor(2), x)  # symbols after the end are not counted by the decoder
        assert torch.equal(
            pair.likelihood(torch.zeros(1)).log_prob(beyond), pair.likelihood(torch.zeros(1)).log_prob(x)
        )


def test_terms_after_the_end_are_exactly_zero():
    fn, x = sentence_vae().likelihood(torch.zeros(1)), torch.tensor([1, 0, -1, -1])
    parts = fn.conditionals(x).base_dist
    each = parts.log_prob(x.clamp(min=0))
    assert (each[2:] == 0).all()
    assert each.sum().item() == pytest.approx(fn.log_prob(x).item())


@pytest.mark.parametrize(
    "row", [[1, 0, 0, -1], [1, -1, -1, -1], [-1, -1, -1, -1], [1, 3, 0, -1], [1, 0.5, 0, -1], [0, 1, -1, -1]]
)
def test_what_is_no_sentence_is_refused(row):
    fn = sentence_vae().likelihood(torch.zeros(1))
    assert not fn.support.check(torch.tensor(row))
    with pytest.raises(ValueError, match="support"):
        fn.log_prob(torch.tensor(row))
    with pytest.raises(ValueError, match=r"SentenceConstraint\(0 to 2 up to the first 0, then -1\)"):
        log_likelihood(sentence_vae(), torch.tensor([row, row]).to(torch.get_default_dtype()), 50)


def test_word_dropout_hides_inputs_in_training_alone():
    pair, x = sentence_vae(word_dropout=1.0), torch.tensor([[1, 2, 1, 0], [2, 1, 1, 0]])
    z = torch.zeros(2, 1)
    logits = pair.likelihood(z).conditionals(x).base_dist.base_dist.logits
    assert torch.equal(logits[0], logits[1])  # all that was seen is the start
    logits = pair.eval().likelihood(z).conditionals(x).base_dist.base_dist.logits
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.slow
def test_a_traced_step_hides_the_same_words():
    x, losses = all_rows()[:20], {}
    for mode in ("eager", "traced"):
        torch.manual_seed(0)
        pair = sentence_vae("vampprior", word_dropout=0.5)
        step = TrainStep(pair, ELBO(free_bits=0.1), torch.optim.Adam(pair.parameters()), compile=mode)
        losses[mode] = torch.stack([step(x) for _ in range(3)])
        assert step.mode == mode
    assert torch.equal(losses["eager"], losses["traced"])
    assert len(losses["eager"].unique()) == 3


def test_a_language_model_has_an_exact_likelihood():
    pair = LanguageModel(SentenceLikelihood(nn.Identity(), SentenceDecoder(V, 0, E, H, "gru"), T))
    x = all_rows()
    found = log_likelihood(pair, x, 30)
    assert found.values.exp().sum().item() == pytest.approx(1.0)
    assert found.untrusted_share == 0.0
    drawn = sample(pair, 5)
    assert drawn.shape == (5, T)
    assert pair.likelihood(torch.zeros(5, 0)).support.check(drawn).all()
