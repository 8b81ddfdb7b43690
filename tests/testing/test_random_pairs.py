"""Every estimator on programs that nobody chose, against exact values; and Pyro's own estimators on the same."""

import copy
import warnings
from collections import Counter

import pyro.poutine as poutine
import pytest
import torch
from hypothesis import given, settings
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.importance import vectorized_importance_weights

from pyrodgm.infer import ELBO, log_likelihood
from pyrodgm.testing.check_estimators import BATCH, check_estimators
from pyrodgm.testing.check_gradients import check_gradients, has_gradients
from pyrodgm.testing.evidence import log_evidence
from pyrodgm.testing.exact import drawn_sites, exact_elbo, exact_rule
from pyrodgm.testing.exact_iwelbo import exact_iwelbo
from pyrodgm.testing.features import Features
from pyrodgm.testing.noise import FixedNoise, hermite
from pyrodgm.testing.programs import programs, random_programs
from pyrodgm.testing.random_pair import RandomPair

PROGRAMS = list(random_programs(120))
GROUPS = 8
AVERAGED = [features for features in random_programs(80, seed=7) if has_gradients(features)]
KINDS = ("reparam", "dreg", "stl")


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_estimators_on_random_programs(group):
    for features in PROGRAMS[group::GROUPS]:
        check_estimators(features)


@pytest.mark.slow
@pytest.mark.parametrize("features", list(random_programs(4, seed=5)), ids=lambda f: str(f.seed))
def test_estimators_in_every_mode(features):
    check_estimators(features, thorough=True)


@pytest.mark.slow
@pytest.mark.parametrize("features", AVERAGED[::4], ids=lambda f: str(f.seed))
def test_gradients_of_random_programs_on_average(features):
    check_gradients(features)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
@given(programs())
def test_estimators_on_programs_that_shrink(features):
    torch.set_default_dtype(torch.float64)
    check_estimators(features)


def test_every_feature_is_there_often_enough():
    counts = Counter(name for features in PROGRAMS for name in features.names())
    everything = {name for features in random_programs(2000) for name in features.names()}
    assert len(everything) == 37
    rare = {name for name in everything if name.startswith("fault")}
    assert min(counts[name] for name in everything - rare) >= 5, counts
    assert min(counts[name] for name in rare) >= 1, counts


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["eager", "traced", "compiled"])
def test_evidence_of_one_program_in_each_mode(mode):
    pair = RandomPair(Features(label=True, own_site="model", model_only=True, missing=True, subsampled=True, seed=3))
    (x,) = pair.batch(4)
    for sum_out in (True,) if mode == "compiled" else (False, True):
        result = log_likelihood(pair, x, 3000, seed=1, compile=mode, sum_out=sum_out)
        error = (1.0 / result.ess - 1.0 / 3000).sqrt()
        assert ((result.values - log_evidence(pair, (x,))).abs() < 4.5 * error).all()


GRIDS = [
    Features(seed=1),
    Features(seed=2, deterministic=True, tied=True, count="poisson"),
    Features(seed=3, missing=True, subsampled=True, inner="left"),
    Features(seed=4, mask="both", frozen=True, argument=True, count="bernoulli"),
    Features(seed=5, second_latent=True, reversed_guide=True),
    Features(seed=6, own_site="paired", inner="right"),
    Features(seed=7, model_only=True, count="bernoulli"),
]


@pytest.mark.parametrize("features", GRIDS, ids=lambda f: str(f.seed))
def test_doubly_reparametrised_gradients_are_on_average_those_of_the_bound(features):
    """Averages over the noise of two particles by quadrature, each of its points a datum."""
    pair = RandomPair(features)
    names = drawn_sites(pair)
    nodes, weights = hermite(11)
    if len(names) == 1:  # a dense sum, for weights that vary much
        nodes = torch.linspace(-7.0, 7.0, 85)
        weights = (-0.5 * nodes**2).softmax(0)
    axes = torch.cartesian_prod(*[torch.arange(len(nodes))] * (2 * len(names)))
    noise = {name: nodes[axes[:, 2 * i : 2 * i + 2]].T for i, name in enumerate(names)}
    batch = tuple(part.expand(len(axes)) for part in pair.batch(1))
    for alpha, beta in ((0.0, 1.0), (0.4, 1.0), (0.0, 0.3), (0.6, 1.5)):
        found = [exact_iwelbo(pair, batch, noise, alpha, beta, g, weights[axes].prod(-1))[1] for g in KINDS]
        error, bias = ((found[0] - other).abs().max() / found[0].abs().max() for other in found[1:])
        assert error < (1e-3 if len(names) == 1 else 5e-2), (alpha, beta)  # that of the quadrature
        assert bias > 2.0 * error  # of sticking the landing


def exact_by_pyro(features):
    """Whether Pyro's estimators have the same value: they count sites of the model alone."""
    alone = (
        features.model_only
        or "model" in (features.own_site, features.global_latent, features.vector)
        or features.missing
    )
    return not alone and features.fault == "none" and features.rate == "none"  # which they sample


PYRO = [f for f in random_programs(400, seed=2) if exact_by_pyro(f)][:16]


@pytest.mark.parametrize("features", PYRO, ids=lambda f: str(f.seed))
def test_pyro_agrees_where_it_counts_the_same(features):
    pair = RandomPair(features)
    batch = pair.batch(BATCH)
    rule = exact_rule(pair)
    exact = -exact_elbo(pair, batch, rule)
    options = {"num_particles": rule.size, "vectorize_particles": True, "max_plate_nesting": 2}
    objectives = [TraceEnum_ELBO(**options) if features.label else Trace_ELBO(**options)]
    mean_field = features.mask in ("none", "both") and features.scale != "model" and not features.auxiliary
    mean_field = mean_field and not features.deterministic  # those of the guide fail an assertion
    if mean_field and not features.label and not features.reversed_guide:
        objectives.append(TraceMeanField_ELBO(**options))
    guide = config_enumerate(pair.guide) if features.label else pair.guide
    for objective in objectives:
        with FixedNoise(rule), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found non-auxiliary vars in guide")  # deterministic ones
            # TraceEnum puts the particles left of the plates that it is told of
            objective.max_plate_nesting = 3
            loss = objective.differentiable_loss(pair.model, guide, *batch)
        assert loss.item() == pytest.approx(exact.item(), rel=1e-9), type(objective).__name__


def test_weights_of_pyro_count_sites_of_the_model_alone_and_ours_do_not():
    """Pyro multiplies each weight by the prior density of the draw, though it was drawn from that prior."""
    pair = RandomPair(Features(model_only=True, seed=4))
    (x,) = pair.batch(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs, model, _ = vectorized_importance_weights(
            pair.model, pair.guide, x, num_samples=20_000, max_plate_nesting=1
        )
    model.compute_log_prob()
    counted = model.nodes["u"]["log_prob"].squeeze(-1)
    evidence = log_evidence(pair, (x,)).item()
    right = theirs - counted
    assert right.logsumexp(0).item() - torch.tensor(20_000.0).log().item() == pytest.approx(evidence, abs=0.05)
    assert abs(theirs.logsumexp(0).item() - torch.tensor(20_000.0).log().item() - evidence) > 0.3
    assert log_likelihood(pair, x, 20_000, seed=0).mean == pytest.approx(evidence, abs=0.05)


def test_a_site_of_the_model_alone_is_described():
    pair = RandomPair(Features(model_only=True, mask="model", second_latent=True, seed=1))
    found = ELBO().describe(pair.model, pair.guide, *pair.batch(6))
    assert found == {"z1": "sampled", "z2": "exact", "u": "drawn from the model"}
    both = RandomPair(Features(mask="both", seed=1))
    assert ELBO().describe(both.model, both.guide, *both.batch(6)) == {"z1": "exact"}


def test_programs_are_the_same_each_time():
    assert list(random_programs(5)) == PROGRAMS[:5]
    first, second = (RandomPair(PROGRAMS[0]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    copied = copy.deepcopy(first)
    with torch.no_grad():
        trace = poutine.trace(copied.guide).get_trace(*copied.batch(2))
    assert "z1" in trace.nodes
