"""What a rehearsal tells before training: programs that cannot take draws side by side where there will be some."""

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pyro.infer import SVI, Trace_ELBO
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.infer import ELBO, IWELBO, FitSettings, SemiSupervisedELBO, StratifiedELBO, fit
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.models import Pair


class Softmax(Pair):
    """x ~ Categorical(softmax(W z)) softmax over ``dim``, under a guide that is normal, a mixture or of labels."""

    def __init__(self, dim, guide="normal"):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.W, self.loc = nn.Parameter(torch.randn(3, 2, generator=generator)), nn.Parameter(torch.zeros(2))
        self.dim, self.kind = dim, guide
        self.dropout = nn.Dropout(0.5)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if self.kind == "label":
                y = pyro.sample("y", dist.OneHotCategorical(torch.ones(2)))
                logits = y @ self.W.T
            else:
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                logits = self.dropout(z @ self.W.T)
            pyro.sample("x", dist.Categorical(F.softmax(logits, dim=self.dim)), obs=x.long())

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if self.kind == "label":
                pyro.sample("y", dist.OneHotCategorical(logits=self.loc.expand(len(x), 2)))
            elif self.kind == "mixture":
                loc = torch.stack([self.loc, 1.0 - self.loc]).expand(len(x), 2, 2)
                pyro.sample("z", DiagNormalMixture(torch.zeros(len(x), 2), loc, torch.ones(len(x), 2, 2)))
            else:
                pyro.sample("z", dist.Normal(self.loc.expand(len(x), 2), 1.0).to_event(1))


BESIDE = {
    "importance-weighted": (IWELBO(3), "normal"),
    "particles": (ELBO(num_particles=3, vectorize_particles=True), "normal"),
    "Pyro's particles": (Trace_ELBO(num_particles=3, vectorize_particles=True), "normal"),
    "values of labels": (ELBO(), "label"),
    "components": (StratifiedELBO(), "mixture"),
}
ONE = {
    "one draw": ELBO(),
    "one weight": IWELBO(1),
    "one after another": ELBO(num_particles=3),
    "Pyro's one": Trace_ELBO(),
}


def train(pair, objective):
    data = torch.tensor([0, 1, 2, 0, 1, 1]).double()
    settings = FitSettings(progress=False, compile="eager")
    return fit(pair, data, epochs=1, batch_size=3, objective=objective, settings=settings).metrics[0]["train_bound"]


@pytest.mark.parametrize("name", BESIDE)
def test_draws_side_by_side_need_dimensions_from_the_right(name):
    objective, guide = BESIDE[name]
    with pytest.raises(ProgramError, match=r"site 'x' .*count dimensions from the right"):
        train(Softmax(1, guide), objective)
    assert -4.0 < train(Softmax(-1, guide), objective) < 0.0


@pytest.mark.parametrize("name", ONE)
def test_one_draw_at_a_time_does_not(name):
    bounds = []
    for dim in (1, -1):
        torch.manual_seed(0)
        bounds.append(train(Softmax(dim), ONE[name]))
    assert bounds[0] == bounds[1]


def test_what_the_objective_raises_is_explained_by_what_is_wrong_with_the_program():
    class Columns(Softmax):
        def model(self, x):
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(z[:, 1], 1.0), obs=x)

    with pytest.raises(ProgramError, match=r"site 'x' .*count dimensions from the right"):
        train(Columns(-1), IWELBO(3))


@pytest.mark.parametrize("dim", [1, -1])
def test_the_data_without_labels_are_those_whose_labels_are_summed_out(dim):
    class Labelled(Softmax):
        def model(self, x, y=None):
            with pyro.plate("data", len(x), dim=-1):
                y = pyro.sample("y", dist.OneHotCategorical(torch.ones(2)), obs=y)
                pyro.sample("x", dist.Normal(F.softmax(y @ self.W.T, dim=dim), 1.0).to_event(1), obs=x)

        def guide(self, x, y=None):
            if y is None:
                super().guide(x)

    pair, x, y = Labelled(dim, "label"), torch.randn(4, 3), torch.tensor([[0.0, 1.0]])
    if dim == -1:
        rehearse(pair, SemiSupervisedELBO(classifier_weight=0.0), (x, y))
    else:
        with pytest.raises(ProgramError, match=r"site 'x' .*count dimensions from the right"):
            rehearse(pair, SemiSupervisedELBO(classifier_weight=0.0), (x, y))


def test_nothing_is_left_behind():
    pair, objective = Softmax(-1), IWELBO(3)
    svi = SVI(pair.model, pair.guide, pyro.optim.Adam({"lr": 1e-3}), loss=objective)
    pair.dropout.eval()
    train(pair, objective)
    assert not pair.dropout.training
    svi.loss(pair.model, pair.guide, torch.zeros(3))
