"""The checks that others may import, on every distribution of the library; and what they notice."""

import copy
import importlib.util
import inspect
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from distribution_cases import CASES, ELSEWHERE
from torch.distributions import Distribution

from pyrodgm import distributions
from pyrodgm.distributions import Hierarchical, RecurrentSticks
from pyrodgm.nn import mlp
from pyrodgm.nn.recurrent import StickBreakingRNN
from pyrodgm.posteriors import FlowPosterior
from pyrodgm.testing import check_distribution

gamma_under_vmap = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.mark.slow
@gamma_under_vmap
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_checks_of_a_row(case):
    check_distribution(
        case.distribution(),
        case.moments,
        build=case.build,
        parameters=case.params,
        smooth=not case.discrete,
        single_error=case.float32_error,
    )


def conditional(loc, mix, earlier):
    return dist.Normal(earlier[0] @ mix if earlier else loc, 0.4).to_event(1)


def hierarchical(loc, mix):
    return Hierarchical(partial(conditional, loc, mix), [2, 3])


def of_network(network, make):
    """A distribution of the data alone, with the network in their dtype."""
    both = {torch.float64: network, torch.float32: copy.deepcopy(network).float()}
    return lambda x: make(both[x.dtype], x)


def flow():
    network = FlowPosterior.autoregressive(mlp(5, [6], 8), 3, context=2, hidden=[6], passes=2)
    return of_network(network, lambda q, x: q(x)), {"x": torch.randn(4, 5)}


OTHERS = {
    "Hierarchical": lambda: (hierarchical, {"loc": torch.randn(4, 2), "mix": torch.randn(2, 3)}),
    "RecurrentSticks": lambda: (
        of_network(StickBreakingRNN(2, 3, max_steps=3), RecurrentSticks),
        {"x": torch.randn(2, 4, 2)},
    ),
    "FlowDistribution": flow,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OTHERS))
def test_checks_of_distributions_made_of_functions_and_networks(name):
    if name == "FlowDistribution" and importlib.util.find_spec("zuko") is None:
        pytest.skip("needs zuko")
    build, parameters = OTHERS[name]()
    with torch.no_grad():
        d = build(**parameters)
    # a run of recurrent sticks is one operator, of which torch knows the backward pass alone
    check_distribution(
        d, False, build=build, parameters=parameters, single_error=1e-4, transforms=name != "RecurrentSticks"
    )


def test_no_distribution_goes_unchecked():
    without_density = {"Implicit"}  # of which these checks can say nothing
    assert OTHERS.keys() | without_density == ELSEWHERE.keys()
    named = {name for name in distributions.__all__ if inspect.isclass(getattr(distributions, name))}
    named = {name for name in named if issubclass(getattr(distributions, name), Distribution)}
    assert named == OTHERS.keys() | without_density | {type(case.distribution()).__name__ for case in CASES}


class Remembers(dist.Normal):
    """Has a density of its last draw that is not that of other values."""

    def sample(self, sample_shape=()):
        value = super().sample(sample_shape)
        self.last = id(value)
        return value

    def log_prob(self, value):
        shift = 1.0 if id(value) == getattr(self, "last", None) else 0.0
        return super().log_prob(value) + shift


class Upright(dist.Normal):
    """Takes values of its own shape alone."""

    def log_prob(self, value):
        assert value.shape[value.dim() - self.loc.dim() :] == self.loc.shape, "log_prob of a value must"
        return super().log_prob(value)


class Unrecorded(dist.Normal):
    """A density with a number that a trace cannot see."""

    def log_prob(self, value):
        return super().log_prob(value) + sum(self.loc.flatten()[:1].tolist())


@pytest.mark.parametrize(
    ("family", "match"),
    [
        (Remembers, "must keep its log_prob"),
        (Upright, "log_prob of a value"),
        (Unrecorded, "a trace by make_fx"),
    ],
)
def test_faults_that_the_checks_name(family, match):
    parameters = {"loc": torch.randn(3), "scale": torch.rand(3) + 0.5}
    with pytest.raises((AssertionError, RuntimeError), match=match):
        check_distribution(family(**parameters), build=family, parameters=parameters)
