"""Programs as users write them: without parameters, with other names, with subsampled plates."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.infer import annealed_log_likelihood, bidirectional, log_likelihood, refine
from pyrodgm.infer.estimators.reading import ProgramError

X = torch.tensor([1.0, 2.0, -0.5], dtype=torch.float64)
EVIDENCE = dist.Normal(0.0, 1.25**0.5).log_prob(X)


class Shift(nn.Module):
    """z ~ N(0, 1), x ~ N(z, 0.5), without a parameter; the site of x has any name, the data plate any size."""

    def __init__(self, site="x", size=None, wrong=False):
        super().__init__()
        self.site, self.size, self.wrong = site, size, wrong

    def plate(self, x):
        return pyro.plate("data", self.size or len(x), subsample_size=len(x), dim=-1)

    def model(self, x):
        with self.plate(x):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            pyro.sample(self.site, dist.Normal(z - z.mean(0) if self.wrong else z, 0.5), obs=x)

    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(x, 0.5))


def test_a_pair_without_parameters_is_refined_and_certified():
    guide = refine(Shift(), X, seed=0)
    assert torch.allclose(guide.mean["z"], 0.8 * X, atol=0.02)
    found = bidirectional(Shift(), 5, X, 1000, temperatures=100, seed=0)
    assert abs(found.gap) < 0.05


def test_the_site_of_the_data_may_have_any_name():
    found = bidirectional(Shift("pixels"), 5, X, 1000, temperatures=100, seed=0)
    assert found.lower.values.shape == (5,)
    assert abs(found.gap) < 0.05


def test_data_that_cannot_be_simulated_are_refused_by_what_is_observed():
    class Two(Shift):
        def model(self, x):
            super().model(x)
            with pyro.plate("other", len(x), dim=-1):
                pyro.sample("y", dist.Normal(torch.tensor(0.0), 1.0), obs=x + 1.0)

    class Changed(Shift):
        def model(self, x):
            super().model(2.0 * x)

    for pair, sites in ((Two(), "'x', 'y'"), (Changed(), "'x'")):
        with pytest.raises(
            ValueError, match=f"observes its data argument, unchanged, .* got the observed sites {sites}"
        ):
            bidirectional(pair, 5, X, 1000, seed=0)


def test_the_scale_of_a_subsampled_data_plate_is_taken_out():
    for proposal, name in (("auto", "refined"), ("guide", "guide")):
        found = log_likelihood(Shift(size=1000), X, 4000, proposal=proposal, seed=0)
        assert found.attributes["proposal"] == name
        assert (found.values - EVIDENCE).abs().max() < 0.03
    bounded = bidirectional(Shift(size=1000), 5, X, 1000, temperatures=100, seed=0)
    assert abs(bounded.gap) < 0.05
    assert (annealed_log_likelihood(Shift(size=1000), X, seed=0).values - EVIDENCE).abs().max() < 0.05
    with pytest.raises(ValueError, match="site 'z' is scaled, which its refined guide would not be"):
        refine(Shift(size=1000), X, seed=0)


def test_any_other_scale_is_refused():
    class Scaled(Shift):
        def model(self, x):
            with pyro.poutine.scale(scale=2.0):
                super().model(x)

    for size in (None, 1000):
        with pytest.raises(ProgramError, match="must have no scale but that of subsampled plates"):
            log_likelihood(Scaled(size=size), X, 1000, seed=0)


def test_every_evaluation_by_several_draws_refuses_dimensions_from_the_left():
    pair = Shift(wrong=True)
    for run in (
        lambda: log_likelihood(pair, X, 1000),
        lambda: log_likelihood(pair, X, 1000, proposal="guide"),
        lambda: refine(pair, X),
        lambda: bidirectional(pair, 3, X),
        lambda: annealed_log_likelihood(pair, X),
    ):
        with pytest.raises(ProgramError, match=r"site 'x' .*count dimensions from the right"):
            run()
