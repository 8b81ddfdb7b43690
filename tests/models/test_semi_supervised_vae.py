"""Labels summed out against enumeration by hand, Pyro's own, and a model whose evidence is known."""

import math

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate
from torch import nn

from pyrodgm.infer import ELBO, IWELBO, SemiSupervisedELBO, TrainStep, classification_error, log_likelihood
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import SemiSupervisedVAE
from pyrodgm.nn import Dense, joint_mlp, mlp
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior
from pyrodgm.priors import CategoricalPrior, MixtureOfGaussians, StandardNormal

D, LATENT, CLASSES = 6, 2, 3


def build(sees_label=True, prior=None, encoder=False):
    head = joint_mlp([D, CLASSES], [5], 2 * LATENT) if sees_label else mlp(D, [5], 2 * LATENT)
    return SemiSupervisedVAE(
        prior or StandardNormal(LATENT),
        BernoulliLikelihood(joint_mlp([LATENT, CLASSES], [5], D)),
        CategoricalPosterior(mlp(D, [5], CLASSES)),
        GaussianPosterior(head),
        CLASSES,
        label_prior=CategoricalPrior(CLASSES, torch.tensor([1.0, 2.0, 3.0]), learn=True),
        encoder=Dense(D, D) if encoder else None,
        posterior_sees_label=sees_label,
    )


@pytest.fixture
def x():
    return torch.rand(4, D).round()


def gradients(loss, pair):
    return torch.autograd.grad(loss, list(pair.parameters()))


def bound_by_hand(pair, x, seed):
    """Sum over the data of the bound, class by class and row by row, with the noise that the guide draws."""
    pyro.set_rng_seed(seed)
    shape = (CLASSES, len(x), LATENT) if pair.posterior_sees_label else (len(x), LATENT)
    noise = torch.randn(shape).expand(CLASSES, len(x), LATENT)
    log_prior = torch.log_softmax(pair.label_prior.logits, -1)
    total = 0.0
    for n in range(len(x)):
        h = pair.encoder(x[n])
        log_q = torch.log_softmax(pair.classifier.net(h), -1)
        for c in range(CLASSES):
            label = torch.eye(CLASSES)[c]
            q = pair.posterior(h, label) if pair.posterior_sees_label else pair.posterior(h)
            z = q.base_dist.loc + q.base_dist.scale * noise[c, n]
            p = pair.likelihood(z, label).base_dist.probs
            log_x = (x[n] * p.log() + (1 - x[n]) * (1 - p).log()).sum()
            variance = q.base_dist.scale**2
            kl = 0.5 * (variance + q.base_dist.loc**2 - 1 - variance.log()).sum()
            total = total + log_q[c].exp() * (log_x - kl + log_prior[c] - log_q[c])
    return total


@pytest.mark.parametrize("sees_label", [True, False])
def test_missing_labels_are_summed_out_as_by_hand(x, sees_label):
    pair = build(sees_label, encoder=True)
    by_hand = bound_by_hand(pair, x, 3)
    pyro.set_rng_seed(3)
    loss = ELBO().differentiable_loss(pair.model, pair.guide, x)
    assert loss.item() == pytest.approx(-by_hand.item(), rel=1e-12)
    for ours, theirs in zip(gradients(-loss, pair), gradients(by_hand, pair), strict=True):
        assert torch.allclose(ours, theirs)
    assert ELBO().describe(pair.model, pair.guide, x) == {"y": "exact", "z": "exact"}


@pytest.mark.parametrize("particles", [{}, {"num_particles": 3, "vectorize_particles": True}])
def test_same_as_enumeration_by_pyro_under_the_same_noise(x, particles):
    pair = build(prior=MixtureOfGaussians(LATENT, 2))  # whose divergence both sample
    nesting = 2 if particles else 1
    values = []
    for objective, guide in (
        (ELBO(max_plate_nesting=nesting, **particles), pair.guide),
        (TraceEnum_ELBO(max_plate_nesting=nesting, **particles), config_enumerate(pair.guide)),
    ):
        pyro.set_rng_seed(5)
        loss = objective.differentiable_loss(pair.model, guide, x)
        values.append((loss.detach(), *gradients(loss, pair)))
    for ours, theirs in zip(*values, strict=True):
        assert torch.allclose(ours, theirs)


def test_sampled_labels_give_the_same_bound_on_average(x):
    pair = build()
    with torch.no_grad():
        exact = ELBO(num_particles=20_000, vectorize_particles=True).loss(pair.model, pair.guide, x)
        sampled = Trace_ELBO(num_particles=20_000, vectorize_particles=True).loss(pair.model, pair.guide, x)
    assert sampled == pytest.approx(exact, abs=0.08)


@pytest.mark.parametrize("objective", [ELBO(), SemiSupervisedELBO(0.375)], ids=["ELBO", "SemiSupervisedELBO"])
def test_all_classes_are_one_batched_pass(x, objective):
    pair = build()
    calls = []
    pair.likelihood.register_forward_pre_hook(lambda module, inputs: calls.append(inputs[0].shape))
    objective.max_plate_nesting = 1
    objective.differentiable_loss(pair.model, pair.guide, x)
    assert calls == [(CLASSES, len(x), LATENT)]


def test_estimators_that_need_reparametrised_guides_refuse_missing_labels(x):
    pair = build()
    with pytest.raises(ValueError, match="site 'y' is Categorical, which has no rsample"):
        IWELBO(2).differentiable_loss(pair.model, pair.guide, x)
    y = torch.tensor([0, 1, 2, 0])
    assert IWELBO(2).loss(pair.model, pair.guide, x, y) > 0


class Known(nn.Module):
    """x | z, y ~ N(a z + b[y], 1) with z ~ N(0, 1) and p(y): everything is known."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.probs = 0.8, torch.tensor([-1.5, 0.3, 1.0]), torch.tensor([0.5, 0.2, 0.3])

    def pair(self, exact=True):
        a, shift = self.a, 0.0 if exact else 0.4

        class Likelihood(nn.Module):
            def forward(_, z, label):
                return dist.Normal(a * z + (label @ self.b).unsqueeze(-1), 1.0).to_event(1)

        class Posterior(nn.Module):
            def forward(_, x, label):
                loc = a * (x - (label @ self.b).unsqueeze(-1)) / (1 + a**2)
                return dist.Normal(loc + shift, (1 + a**2) ** -0.5 + shift).to_event(1)

        class Classifier(nn.Module):
            def forward(_, x):
                return dist.Categorical(logits=self.log_joint(x) * (1 - shift))

        prior = CategoricalPrior(3, self.probs, learn=True)
        return SemiSupervisedVAE(StandardNormal(1), Likelihood(), Classifier(), Posterior(), 3, label_prior=prior)

    def log_joint(self, x):
        """log p(x, y), ``[N, 3]``."""
        return dist.Normal(self.b, math.sqrt(1 + self.a**2)).log_prob(x) + self.probs.log()


def test_bounds_are_the_evidence_where_the_guide_is_exact():
    known, x = Known(), torch.tensor([[0.5], [-2.0], [3.0]])
    pair, y = known.pair(), torch.tensor([2, 0, 1])
    many = {"num_particles": 40_000, "vectorize_particles": True}
    with torch.no_grad():
        unlabelled = ELBO(**many).loss(pair.model, pair.guide, x)
        labelled = ELBO(**many).loss(pair.model, pair.guide, x, y)
    joint = known.log_joint(x)
    assert unlabelled == pytest.approx(-joint.logsumexp(-1).sum().item(), abs=0.02)
    assert labelled == pytest.approx(-joint[range(3), y].sum().item(), abs=0.02)


@pytest.mark.parametrize("exact", [True, False])
def test_importance_sampling_finds_the_evidence(exact):
    known, x = Known(), torch.tensor([[0.5], [-2.0], [3.0]])
    evidence = known.log_joint(x).logsumexp(-1)
    sampled = log_likelihood(known.pair(exact), x, 20_000, seed=1)
    assert torch.allclose(sampled.values, evidence, atol=1e-9 if exact else 0.03)


@pytest.mark.slow
@pytest.mark.parametrize("exact", [True, False])
def test_labels_summed_out_of_importance_weights(exact):
    known, x = Known(), torch.tensor([[0.5], [-2.0], [3.0]])
    pair, evidence = known.pair(exact), known.log_joint(x).logsumexp(-1)
    for max_bytes in (2**14, 2**25):  # in several parts and in one
        summed = log_likelihood(pair, x, 2000, seed=1, sum_out=True, max_bytes=max_bytes)
        assert torch.allclose(summed.values, evidence, atol=1e-9 if exact else 0.05)
    sampled = log_likelihood(pair, x, 2000, seed=1)
    if not exact:
        assert (summed.ess > sampled.ess).all()
    with pytest.raises(ValueError, match="keep: draws of sites that are summed out cannot be kept"):
        log_likelihood(pair, x, 10, keep=True, sum_out=True)


def test_summed_out_weights_are_those_of_the_classes_by_hand(x):
    pair = build(sees_label=False)
    found = log_likelihood(pair, x[:1], 50, seed=2, sum_out=True)
    torch.manual_seed(2)
    q = pair.posterior(x[0])
    z = q.sample((50, 1))[:, 0]
    terms = []
    for c, log_prior in enumerate(torch.log_softmax(pair.label_prior.logits, -1)):
        label = torch.eye(CLASSES)[c].expand(50, CLASSES)
        terms.append(log_prior + pair.likelihood(z, label).log_prob(x[0]) + pair.prior().log_prob(z) - q.log_prob(z))
    assert found.values.item() == pytest.approx((torch.stack(terms).logsumexp((0, 1)) - math.log(50)).item())


def test_weights_of_the_semi_supervised_objective(x):
    pair, y = build(), torch.tensor([2, 0, 1])
    log_q = pair.classifier(x[:3]).log_prob(y).sum()

    def loss(objective, *data):
        pyro.set_rng_seed(7)
        return objective.differentiable_loss(pair.model, pair.guide, *data)

    pyro.set_rng_seed(7)
    labelled = ELBO(max_plate_nesting=1).differentiable_loss(pair.model, pair.guide, x[:3], y)
    unlabelled = ELBO(max_plate_nesting=1).differentiable_loss(pair.model, pair.guide, x[3:])
    options = {"max_plate_nesting": 1, "classifier_weight": 0.0}
    assert torch.allclose(loss(SemiSupervisedELBO(**options), x, y), labelled + unlabelled)
    weighted = 4 * (0.375 * labelled / 3 + 0.625 * unlabelled)
    assert torch.allclose(loss(SemiSupervisedELBO(0.375, **options), x, y), weighted)
    all_labelled = loss(SemiSupervisedELBO(0.375, classifier_weight=2.0), x[:3], y)
    assert torch.allclose(all_labelled, labelled - 2.0 * log_q)
    for data in ((x,), (x, y[:0])):
        torch.testing.assert_close(loss(SemiSupervisedELBO(0.375, 2.0), *data), loss(ELBO(), x))


def test_semi_supervised_objective_refuses_bad_input(x):
    pair = build()
    with pytest.raises(ValueError, match=r"labelled_weight must be finite and at least 0 and at most 1, got 1.5"):
        SemiSupervisedELBO(1.5)
    with pytest.raises(ValueError, match="classifier_weight must be finite and at least 0, got -1"):
        SemiSupervisedELBO(0.5, -1.0)
    with pytest.raises(ValueError, match="y: expected at most 4 labels, one a datum, got 5"):
        SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, x, torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="site: expected a sample site of the guide, got 'label'"):
        SemiSupervisedELBO(site="label").differentiable_loss(pair.model, pair.guide, x, torch.tensor([0]))


@pytest.mark.slow
def test_traced_step_on_partly_labelled_batches_equals_the_eager_one(x):
    y, found = torch.tensor([2, 0]), []
    for mode in ("eager", "traced"):
        pyro.set_rng_seed(0)
        pair = build()
        step = TrainStep(pair, SemiSupervisedELBO(0.375), torch.optim.Adam(pair.parameters(), lr=1e-2), compile=mode)
        found.append([*(step(x, y) for _ in range(5)), *pair.parameters()])
        assert step.mode == mode
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_classification_error(x):
    pair = build()
    with torch.no_grad():
        best = pair.classifier.net(x).argmax(-1)
    assert classification_error(pair, x, best, batch_size=3) == 0.0
    assert classification_error(pair, x, torch.cat([(best[:1] + 1) % CLASSES, best[1:]])) == 0.25
    with pytest.raises(ValueError, match=r"labels must be as many as the data, .*4, got 2"):
        classification_error(pair, x, best[:2])
    with pytest.raises(ValueError, match=r"site 'z' must have finitely many numbers as values, .* got Normal"):
        classification_error(pair, x, best, site="z")


def test_model_draws_classes_by_their_prior():
    pair = build()
    trace = poutine.trace(poutine.uncondition(pair.model)).get_trace(torch.zeros(60_000, D))
    share = torch.bincount(trace.nodes["y"]["value"]) / 60_000
    assert torch.allclose(share, torch.tensor([1.0, 2.0, 3.0]) / 6, atol=0.01)
