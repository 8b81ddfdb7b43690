"""Sites that programs write in unusual ways, each against its right value; one test for each kind."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoDiagonalNormal, AutoIAFNormal, AutoMultivariateNormal, AutoStructured
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    FitSettings,
    SemiSupervisedELBO,
    StratifiedELBO,
    StratifiedIWELBO,
    fit,
    log_likelihood,
)
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.likelihoods import BernoulliLikelihood, GaussianLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal
from pyrodgm.testing.check_estimators import BATCH
from pyrodgm.testing.exact_iwelbo import exact_iwelbo
from pyrodgm.testing.features import Features
from pyrodgm.testing.random_pair import RandomPair

X = torch.tensor([0.3, -1.2, 2.0, 0.9], dtype=torch.float64)
EVIDENCE = dist.Normal(0.0, math.sqrt(2.0)).log_prob(X)


QUIET = FitSettings(progress=False)
still = partial(torch.optim.SGD, lr=0.0)


class Pair(nn.Module):
    """Two functions as a pair with a parameter."""

    def __init__(self, model, guide):
        super().__init__()
        self.model, self.guide = model, guide
        self.parameter = nn.Parameter(torch.zeros((), dtype=torch.float64))


def exact_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)))


def model(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0), obs=x)


# A model latent that the guide lacks.


def with_unused(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("u", dist.Normal(0.0, 0.01))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize("gradient", ["reparam", "stl", "dreg"])
def test_model_latent_that_the_guide_lacks_cancels(gradient):
    loss = IWELBO(50, gradient=gradient).differentiable_loss(with_unused, exact_guide, X)
    assert loss.item() == pytest.approx(-EVIDENCE.sum().item(), rel=1e-6)
    assert StratifiedIWELBO(5).loss(with_unused, exact_guide, X) == pytest.approx(-EVIDENCE.sum().item(), rel=1e-6)
    result = log_likelihood(Pair(with_unused, exact_guide), X, 50)
    assert torch.allclose(result.values, EVIDENCE)


def test_discrete_model_latent_without_gradient_is_refused_where_it_matters():
    rate = torch.tensor(0.3, requires_grad=True)

    def program(x, rate=rate):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            k = pyro.sample("k", dist.Bernoulli(rate))
            pyro.sample("x", dist.Normal(z + k, 1.0), obs=x)

    for objective in (ELBO(), IWELBO(3), StratifiedELBO()):
        with pytest.raises(ProgramError, match="site 'k' is drawn by the model alone and is Bernoulli"):
            objective.differentiable_loss(program, exact_guide, X)
        assert math.isfinite(objective.loss(program, exact_guide, X))

    def fixed(x):
        program(x, torch.tensor(0.3))

    assert torch.isfinite(IWELBO(3).differentiable_loss(fixed, exact_guide, X))


def with_missing(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x.nan_to_num(), obs_mask=~x.isnan())


def test_missing_values_leave_their_datum_to_the_prior():
    x = torch.tensor([0.3, math.nan, 2.0], dtype=torch.float64)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            known = ~x.isnan()
            loc = torch.where(known, x.nan_to_num() / 2, 0.0)
            pyro.sample("z", dist.Normal(loc, torch.where(known, math.sqrt(0.5), 1.0)))

    right = torch.where(x.isnan(), 0.0, dist.Normal(0.0, math.sqrt(2.0)).log_prob(x.nan_to_num()))
    assert torch.allclose(log_likelihood(Pair(with_missing, guide), x, 20).values, right)
    assert IWELBO(5).loss(with_missing, guide, x) == pytest.approx(-right.sum().item())


# A guide site that the model lacks.


@pytest.mark.parametrize(
    "objective",
    [ELBO(), IWELBO(3), IWELBO(3, gradient="dreg"), StratifiedELBO(), StratifiedIWELBO(2), SemiSupervisedELBO()],
    ids=lambda o: type(o).__name__,
)
def test_guide_site_that_the_model_lacks_is_refused_by_name(objective):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)))
            pyro.sample("stray", dist.Normal(0.0, 1.0))

    with pytest.raises(ProgramError, match="site 'stray' is drawn in the guide but not in the model") as caught:
        objective.differentiable_loss(model, guide, X)
    assert caught.value.site == "stray"
    with pytest.raises(ProgramError, match="site 'stray'"):
        log_likelihood(Pair(model, guide), X, 10)


def test_factor_in_the_guide_is_refused():
    def guide(x):
        exact_guide(x)
        pyro.factor("f", torch.zeros(()), has_rsample=False)

    with pytest.raises(ProgramError, match="site 'f' is observed in the guide alone"):
        ELBO().loss(model, guide, X)


def test_site_observed_in_one_program_only_is_refused():
    def observing(x):
        poutine.condition(exact_guide, {"z": x})(x)

    def labelled(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0), obs=x)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ProgramError, match="site 'z' must be latent or observed in both programs, got latent"):
        ELBO().loss(labelled, exact_guide, X)
    with pytest.raises((ProgramError, RuntimeError), match="z"):
        ELBO().loss(model, observing, X)

    # observed in both: it is no latent, and the guide's density of it does not count
    def both(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(7.0, 1.0), obs=x)

    right = -(dist.Normal(0.0, 1.0).log_prob(X) + dist.Normal(X, 1.0).log_prob(X)).sum().item()
    for objective in (ELBO(), IWELBO(3)):
        assert objective.loss(labelled, both, X) == pytest.approx(right)


def test_a_map_guide_and_a_transported_draw_count_their_log_density():
    def point(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Delta(x / 2))

    joint = dist.Normal(0.0, 1.0).log_prob(X / 2) + dist.Normal(X / 2, 1.0).log_prob(X)
    assert ELBO().loss(model, point, X) == pytest.approx(-joint.sum().item())

    def transported(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
            k = torch.tensor(math.sqrt(0.5), dtype=x.dtype)
            pyro.sample("z", dist.Delta(x / 2 + k * (a - x), log_density=-k.log().expand(len(x))))

    for objective in (ELBO(), IWELBO(4)):
        assert objective.loss(model, transported, X) == pytest.approx(-EVIDENCE.sum().item(), rel=1e-6)
    with pytest.raises(ProgramError, match="site 'z' is a Delta"):
        IWELBO(4, gradient="dreg").differentiable_loss(model, lambda x: transported(x.clone().requires_grad_()), X)


def mixed(x):
    """z ~ N(x / 2 + shift of k): a mixture whose component is an auxiliary draw."""
    with pyro.plate("data", len(x), dim=-1):
        k = pyro.sample("k", dist.Bernoulli(torch.full_like(x, 0.5)), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(x / 2 + 0.2 * k, 1.0))


def noisy(x):
    with pyro.plate("data", len(x), dim=-1):
        a = pyro.sample("a", dist.Normal(x / 2, 0.3), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(a, 1.0))


def mixed_points(x):
    """A point for z, computed from a normal of two components: of the two auxiliary numbers one is no latent's."""
    with pyro.plate("data", len(x), dim=-1):
        k = pyro.sample("k", dist.Bernoulli(torch.full_like(x, 0.5)), infer={"is_auxiliary": True})
        a = pyro.sample("a", dist.Normal(x / 2 + 0.2 * k, 1.0), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Delta(a))


@pytest.mark.parametrize(("guide", "site"), [(mixed, "k"), (noisy, "a"), (mixed_points, "k")])
def test_an_auxiliary_draw_that_no_point_is_computed_from_is_refused(guide, site):
    """Counted, it makes estimates too high: by the logarithm of the number of components, or without bound."""
    refusal = f"site '{site}' is auxiliary but random in itself"
    for objective in (ELBO(), IWELBO(3)):
        with pytest.raises(ProgramError, match=refusal):
            objective.loss(model, guide, X)
    for options in ({}, {"proposal": "guide"}, {"sum_out": True}):
        with pytest.raises(ProgramError, match=refusal):
            log_likelihood(Pair(model, guide), X, 1000, seed=0, **options)


@pytest.mark.parametrize("kind", [AutoMultivariateNormal, AutoDiagonalNormal, AutoIAFNormal, AutoStructured, AutoDelta])
def test_the_automatic_guides_of_pyro_are_counted_as_pyro_does(kind):
    def several(x):
        rate = pyro.sample("rate", dist.Gamma(2.0, 2.0))
        weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
        z = pyro.sample("z", dist.Normal(torch.zeros(2), rate).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z.sum() + weights[0], 1.0), obs=x)

    pyro.clear_param_store()
    guide = kind(several)
    guide(X)
    losses = []
    for objective in (ELBO(), Trace_ELBO()):
        torch.manual_seed(0)
        losses.append(objective.differentiable_loss(several, guide, X).item())
    assert losses[0] == pytest.approx(losses[1])


# A prior that draws a site of its own.


class Scale(nn.Module):
    """z | tau ~ N(0, 1 / tau), tau ~ Gamma(3, 3)."""

    def forward(self):
        tau = pyro.sample("tau", dist.Gamma(3.0, 3.0))
        return dist.Normal(torch.zeros(1), tau.unsqueeze(-1).rsqrt()).to_event(1)


class ScalePosterior(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(1.2))

    def forward(self, x):
        pyro.sample("tau", dist.Gamma(self.a.exp(), self.a.exp()))
        return dist.Normal(0.5 * x, torch.full_like(x, 0.8)).to_event(1)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_prior_that_draws_a_site_of_its_own_is_drawn_each_time(mode):
    y = torch.linspace(-2.0, 2.0, 5).unsqueeze(-1)
    pair = VAE(Scale(), GaussianLikelihood(nn.Identity(), 1.0), ScalePosterior())
    # by quadrature over tau: x | tau ~ N(0, 1 + 1 / tau)
    tau = torch.linspace(1e-4, 30.0, 300_001)
    density = dist.Gamma(3.0, 3.0).log_prob(tau) + dist.Normal(0.0, (1 + 1 / tau).sqrt()).log_prob(y)
    right = torch.trapezoid(density.exp(), tau).log()
    result = log_likelihood(pair, y, 20_000, seed=0, compile=mode, max_bytes=2**22)
    error = (1 / result.ess - 1 / 20_000).sqrt()
    assert ((result.values - right).abs() < 4.5 * error).all()


@pytest.mark.slow
def test_validation_bound_of_a_prior_with_a_site_of_its_own():
    torch.manual_seed(0)
    big = torch.rand(1500, 1)
    pair = VAE(Scale(), GaussianLikelihood(nn.Identity(), 1.0), ScalePosterior())
    result = fit(pair, Dataset.from_tensors(big[:200], big), epochs=1, optimizer=still, settings=QUIET)
    bounds = torch.tensor([-ELBO().loss(pair.model, pair.guide, big) / len(big) for _ in range(40)])
    assert result.metrics[-1]["valid_bound"] == pytest.approx(bounds.mean().item(), abs=5 * bounds.std().item())


# Scale.


def subsampled(program, size):
    """The same program with its data plate a subsample of ``size``."""

    def run(x):
        with pyro.plate("data", size, subsample_size=len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0) if program == "model" else dist.Normal(x / 2, math.sqrt(0.5)))
            if program == "model":
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return run


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_scale_of_the_data_plate_is_taken_out_of_log_likelihoods(mode):
    pair = Pair(subsampled("model", 16), subsampled("guide", 16))
    assert torch.allclose(log_likelihood(pair, X, 20, compile=mode).values, EVIDENCE)
    assert IWELBO(3).loss(pair.model, pair.guide, X) == pytest.approx(-4 * EVIDENCE.sum().item())


def test_train_and_validation_bounds_are_on_one_scale():
    pair = Pair(lambda x: subsampled("model", 1000)(x.squeeze(-1)), None)
    pair.guide = lambda x: subsampled("guide", 1000)(x.squeeze(-1) + 0.0 * pair.parameter)
    x = torch.linspace(0.0, 1.0, 40).repeat(5).unsqueeze(-1)
    data = Dataset.from_tensors(x, x[:120])
    result = fit(pair, data, epochs=1, batch_size=20, optimizer=still, objective=IWELBO(2), settings=QUIET)
    evidence = dist.Normal(0.0, math.sqrt(2.0)).log_prob(x)
    assert result.metrics[-1]["train_bound"] == pytest.approx(evidence.mean().item(), abs=1e-6)
    assert result.metrics[-1]["valid_bound"] == pytest.approx(evidence[:120].mean().item(), abs=1e-6)


@pytest.mark.parametrize("scale", [0.5, torch.tensor(0.5)], ids=["number", "tensor"])
def test_any_other_scale_is_refused_by_name(scale):
    scaled = poutine.scale(model, scale=scale)
    for run in (
        lambda: log_likelihood(Pair(scaled, exact_guide), X, 10),
        lambda: IWELBO(3).loss(scaled, exact_guide, X),
        lambda: StratifiedIWELBO(3).loss(scaled, exact_guide, X),
    ):
        with pytest.raises(ProgramError, match=r"site '\w+' must have no scale but that of .*, 1, got"):
            run()


# Masks.


def masked(program, mask):
    return poutine.mask(program, mask=mask)


def test_masks_that_differ_make_the_divergence_sampled():
    mask = torch.tensor([True, False, True, False])
    many = {"num_particles": 200_000, "vectorize_particles": True}
    wide = lambda x: poutine.scale(exact_guide, scale=1.0)(x)  # noqa: E731
    half = masked(model, mask)
    assert ELBO().describe(half, wide, X) == {"z": "sampled"}
    # by hand: masked log p(x, z) in expectation, the entropy of all four
    q = dist.Normal(X / 2, math.sqrt(0.5))
    expected = dist.Normal(0.0, 1.0).log_prob(X / 2) + dist.Normal(X / 2, 1.0).log_prob(X) - 0.5
    right = -(expected[mask].sum() + q.entropy().sum()).item()
    assert ELBO(**many).loss(half, wide, X) == pytest.approx(right, abs=0.02)
    with pytest.raises(ProgramError, match="site 'z' must have the same mask in model and guide"):
        IWELBO(3).loss(half, wide, X)
    with pytest.raises(ProgramError, match="site 'z' must have the same mask"):
        log_likelihood(Pair(lambda x: masked(model, x > 0)(x), exact_guide), X, 10)


def test_masks_that_agree_keep_the_divergence_exact():
    programs = [lambda x, p=p: masked(p, x > 0.0)(x) for p in (model, exact_guide)]  # computed twice
    assert ELBO().describe(*programs, X) == {"z": "exact"}
    assert IWELBO(3).loss(*programs, X) == pytest.approx(-EVIDENCE[X > 0].sum().item())


def test_masks_of_distributions_are_masks_of_sites():
    mask = torch.tensor([True, False, True, False])

    def half(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0).mask(mask)), 1.0).mask(mask), obs=x)

    def other(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)).mask(~mask))

    def same(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)).mask(mask.clone()))

    assert ELBO().describe(half, other, X) == {"z": "sampled"}
    assert ELBO().describe(half, same, X) == {"z": "exact"}
    assert IWELBO(3).loss(half, same, X) == pytest.approx(-EVIDENCE[mask].sum().item())


# Importance-weighted bounds with a weight of the divergence.


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_doubly_reparametrised_gradient_is_unbiased_for_every_kl_weight(alpha, beta):
    """Against the plain gradient, over many data: the same mean, though the noise differs."""
    pair = RandomPair(Features(second_latent=True, seed=11))
    x = pair.batch(1)[0].expand(20_000)
    parameters = [pair.weights[name] for name in ("q_z1", "q_z1_of_x", "q_z1_scale", "q_z2", "q_z2_of_z1")]
    means, errors = [], []
    for gradient in ("reparam", "dreg"):
        draws = []
        for seed in range(12):
            torch.manual_seed(seed)
            objective = IWELBO(3, alpha=alpha, gradient=gradient, kl_weight=beta)
            loss = objective.differentiable_loss(pair.model, pair.guide, x) / len(x)
            draws.append(torch.stack(torch.autograd.grad(loss, parameters)))
        found = torch.stack(draws)
        means.append(found.mean(0))
        errors.append(found.var(0) / len(found))
    assert ((means[0] - means[1]).abs() < 4.5 * (errors[0] + errors[1]).sqrt()).all(), (means, errors)


def test_the_guide_goes_on_learning_at_a_small_kl_weight():
    """At weight 0 the bound is log E p(x | z), whose gradient does not vanish as 1 / K."""
    pair = RandomPair(Features(seed=2))
    batch = pair.batch(BATCH)
    noise = {"z1": torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    for gradient in ("reparam", "dreg"):
        _, slope = exact_iwelbo(pair, batch, noise, 0.0, 0.0, gradient)
        assert slope.norm() > 0.2


# Enumeration.


@pytest.mark.parametrize("dependent", [False, True])
def test_enumerated_sites_of_different_shapes(dependent):
    """The model's b depends on y, the guide's does not: as by enumeration, and as TraceEnum_ELBO."""
    logits = torch.tensor([0.2, -0.4, 0.1])

    def labels(x):
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Categorical(logits=logits))
            b = pyro.sample("b", dist.Bernoulli(0.3 + 0.1 * y))
            pyro.sample("x", dist.Normal(y + b, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample("y", dist.Categorical(logits=logits.flip(0)))
            pyro.sample("b", dist.Bernoulli(0.6 - 0.1 * y if dependent else torch.tensor(0.6)))

    right = 0.0
    for y in range(3):
        for b in (0.0, 1.0):
            rate = torch.tensor(0.6 - 0.1 * y if dependent else 0.6)
            log_q = logits.flip(0).log_softmax(0)[y] + dist.Bernoulli(rate).log_prob(torch.tensor(b))
            log_p = logits.log_softmax(0)[y] + dist.Bernoulli(0.3 + 0.1 * y).log_prob(torch.tensor(b))
            right = right - (log_q.exp() * (log_p + dist.Normal(y + b, 1.0).log_prob(X) - log_q)).sum().item()
    assert ELBO().loss(labels, guide, X) == pytest.approx(right)
    enumerated = TraceEnum_ELBO(max_plate_nesting=1).loss(labels, config_enumerate(guide), X)
    assert enumerated == pytest.approx(right, rel=1e-6)
    log_p = torch.stack(
        [
            logits.log_softmax(0)[y]
            + dist.Bernoulli(0.3 + 0.1 * y).log_prob(torch.tensor(b))
            + dist.Normal(y + b, 1.0).log_prob(X)
            for y in range(3)
            for b in (0.0, 1.0)
        ]
    )
    result = log_likelihood(Pair(labels, guide), X, 2, sum_out=True)
    assert torch.allclose(result.values, log_p.logsumexp(0).double(), atol=1e-6)


def test_an_enumerated_site_outside_the_data_plate():
    def global_label(x):
        y = pyro.sample("y", dist.Bernoulli(torch.tensor(0.4)))
        with pyro.plate("data", len(x), dim=-1):
            b = pyro.sample("b", dist.Bernoulli(0.2 + 0.5 * y))
            pyro.sample("x", dist.Normal(b + y, 1.0), obs=x)

    def guide(x):
        pyro.sample("y", dist.Bernoulli(torch.tensor(0.7)))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("b", dist.Bernoulli(torch.tensor(0.5)))

    right = 0.0
    for y in (0.0, 1.0):
        q_y, p_y = (abs(1 - y - p) for p in (0.7, 0.4))
        rows = torch.zeros(())
        for b in (0.0, 1.0):
            p_b = abs(1 - b - (0.2 + 0.5 * y))
            rows = rows + 0.5 * (math.log(p_b / 0.5) + dist.Normal(b + y, 1.0).log_prob(X)).sum()
        right -= q_y * (math.log(p_y / q_y) + rows.item())
    assert ELBO().loss(global_label, guide, X) == pytest.approx(right)


# Few samples, dtypes.


@pytest.mark.parametrize("count", [1, 5, 20, 21, 24, 25, 26])
def test_tail_of_few_samples_has_no_shape(count):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    result = log_likelihood(Pair(model, guide), X, count, seed=0)
    assert torch.isinf(result.k_hat).all() == (count < 25)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_images_of_every_dtype_have_one_log_likelihood(dtype):
    torch.manual_seed(0)
    pair = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), GaussianPosterior(mlp(9, [8], 4)))
    x = torch.rand(5, 9).round()
    right = log_likelihood(pair, x, 30, seed=1).values
    assert torch.allclose(log_likelihood(pair, x.to(dtype), 30, seed=1).values, right)
