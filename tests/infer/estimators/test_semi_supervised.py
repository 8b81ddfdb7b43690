"""Which pairs and arguments the objective of partly labelled data takes, against enumeration by hand."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrodgm.infer import FitSettings, SemiSupervisedELBO, TrainStep, fit
from pyrodgm.infer.tracing.program_error import ProgramError

CLASSES = 3
X = torch.linspace(-1.0, 1.5, 12, dtype=torch.float64).reshape(6, 2)
Y = torch.tensor([2, 0, 1, 1, 0, 2])


class Classified(nn.Module):
    """x | y ~ N(row y of a table, 1), under a linear classifier; with a plate of ``full`` data or a site outside it."""

    def __init__(self, full=None, outside=False, inner=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(CLASSES, 2, generator=generator))
        self.weight = nn.Parameter(torch.randn(2, CLASSES, generator=generator))
        self.full, self.outside, self.inner = full, outside, inner

    def plate(self, x):
        return pyro.plate("data", self.full or len(x), subsample_size=len(x), dim=-1)

    def model(self, x, y=None):
        if self.outside:
            pyro.sample("w", dist.Normal(0.0, 1.0))
        with self.plate(x):
            y = pyro.sample("y", dist.Categorical(torch.ones(CLASSES)), obs=y)
            fn = dist.Normal(self.table[y], 1.0)
            if not self.inner:
                pyro.sample("x", fn.to_event(1), obs=x)
                return
            for i in pyro.plate("features", 4, subsample=torch.arange(2)):  # as many as the labels
                pyro.sample(f"x{i}", dist.Normal(fn.loc[..., i], 1.0), obs=x[..., i])

    def guide(self, x, y=None):
        if self.outside:
            pyro.sample("w", dist.Normal(0.0, 0.5))
        with self.plate(x):
            if y is None:
                pyro.sample("y", dist.Categorical(logits=x @ self.weight))

    def bounds(self, x, features=1.0):
        """log p(x, y) ``[N, 3]`` and log q(y | x)."""
        log_x = dist.Normal(self.table, 1.0).log_prob(x.unsqueeze(1)).sum(-1)
        return features * log_x - torch.tensor(3.0).log(), torch.log_softmax(x @ self.weight, -1)


def by_hand(pair, known, features=1.0):
    """The loss of each datum alike, of which some are labelled, with a classifier's weight of 1."""
    joint, log_q = pair.bounds(X, features)
    labelled = (joint + log_q)[range(known), Y[:known]].sum()
    return -labelled - (log_q.exp() * (joint - log_q))[known:].sum()


@pytest.mark.parametrize("known", [2, 6])
@pytest.mark.parametrize("inner", [False, True])
def test_loss_is_that_of_enumeration_by_hand(known, inner):
    pair = Classified(inner=inner)
    loss = SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, X, Y[:known])
    assert loss.item() == pytest.approx(by_hand(pair, known, 2.0 if inner else 1.0).item())


def test_subsampled_plate_scales_parts_differently_and_is_refused_where_there_are_two():
    pair, loss = Classified(full=60), SemiSupervisedELBO().differentiable_loss
    assert loss(pair.model, pair.guide, X, Y).item() == pytest.approx(10 * by_hand(pair, 6).item())
    with pytest.raises(ProgramError, match="site 'y' must lie in a plate of the 2 data that are a part of the 6"):
        loss(pair.model, pair.guide, X, Y[:2])
    step = TrainStep(pair, SemiSupervisedELBO(), torch.optim.SGD(pair.parameters(), lr=0.0), compile="eager")
    assert step(X, Y).item() == pytest.approx(by_hand(pair, 6).item() / 6)
    with pytest.raises(ProgramError, match="none that is subsampled"):
        step(X, Y[:2])


def test_site_outside_the_data_would_count_in_both_parts_and_is_refused():
    pair, loss = Classified(outside=True), SemiSupervisedELBO().differentiable_loss
    with pytest.raises(ProgramError, match="site 'w' must lie in a plate of the 2 data"):
        loss(pair.model, pair.guide, X, Y[:2])
    divergence = math.log(2.0) - 0.5 + 0.125  # counts once
    assert loss(pair.model, pair.guide, X, Y).item() == pytest.approx(by_hand(pair, 6).item() + divergence)


@pytest.mark.parametrize("data", [{"x": X, "y": Y}, (X, Y, X)], ids=["names", "three"])
def test_arguments_that_cannot_be_parted_are_refused(data):
    with pytest.raises(TypeError, match=r"SemiSupervisedELBO must be called with .*\(x, y\).* got [03] positional"):
        fit(Taking(), data, epochs=1, objective=SemiSupervisedELBO(), settings=FitSettings(progress=False))


def test_labels_by_name_would_go_without_the_classifier_and_are_refused():
    pair = Classified()
    with pytest.raises(TypeError, match="got 1 positional arguments and y by name"):
        SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, X, y=Y)


class Taking(Classified):
    """Takes a covariate, too."""

    def model(self, x, y=None, c=None):
        super().model(x, y)

    def guide(self, x, y=None, c=None):
        super().guide(x, y)
