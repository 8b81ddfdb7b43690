"""Labels as numbers and as one-hot vectors, against sites of every family that takes them."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, SemiSupervisedELBO, classification_error, fit, log_likelihood
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.models import Pair

K = 4
FAMILIES = {
    "numbers": lambda logits: dist.Categorical(logits=logits),
    "one-hot": lambda logits: dist.OneHotCategorical(logits=logits),
    "straight through": lambda logits: dist.OneHotCategoricalStraightThrough(logits=logits),
    "relaxed": lambda logits: dist.RelaxedOneHotCategorical(torch.tensor(0.3), logits=logits),
    "relaxed, straight through": lambda logits: dist.RelaxedOneHotCategoricalStraightThrough(
        torch.tensor(0.3), logits=logits
    ),
    "masked": lambda logits: dist.OneHotCategorical(logits=logits).mask(torch.tensor(False)),
    "events of no batch": lambda logits: dist.OneHotCategorical(logits=logits).expand_by([]).to_event(0),
}


class Labels(Pair):
    """y | x, one of four classes, has logits ``sharpness * x``, and x | y ~ N(y, 1) as one-hot vectors."""

    def __init__(self, family, name="y"):
        super().__init__()
        self.sharpness, self.family, self.name = nn.Parameter(torch.tensor(2.0)), family, name

    @pyro_method
    def model(self, x, y=None):
        with pyro.plate("data", len(x), dim=-1):
            y = pyro.sample(self.name, self.family(torch.zeros(K)), obs=y)
            vector = y if y.shape[-1:] == (K,) else (y.unsqueeze(-1) == torch.arange(K)).to(x.dtype)
            pyro.sample("x", dist.Normal(vector, 1.0).to_event(1), obs=x)

    @pyro_method
    def guide(self, x, y=None):
        with pyro.plate("data", len(x), dim=-1):
            if y is None:
                pyro.sample(self.name, self.family(self.sharpness * x))


TRUE = torch.tensor([0, 1, 2, 3, 2, 3])
X = torch.eye(K)[TRUE] + 0.1 * torch.arange(K)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("one_hot", [False, True])
def test_error_of_every_family_with_labels_of_both_kinds(family, one_hot):
    labels = torch.tensor([0, 1, 2, 3, 0, 1])  # the last two are wrong
    for given, error in ((TRUE, 0.0), (labels, 1 / 3)):
        given = F.one_hot(given, K).to(torch.float64) if one_hot else given
        assert classification_error(Labels(FAMILIES[family]), X, given, batch_size=4) == pytest.approx(error)


@pytest.mark.parametrize("family", ["numbers", "one-hot", "relaxed"])
def test_missing_labels_do_not_count(family):
    labels = torch.tensor([-1, 1, -1, 0, -1, 3])  # of those that are there one is wrong
    pair = Labels(FAMILIES[family])
    assert classification_error(pair, X, labels, batch_size=4) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="labels must hold at least one that is not missing, got -1 for all 6 data"):
        classification_error(pair, X, torch.full((6,), -1))


def test_minus_one_may_be_a_value():
    class Signs(dist.Bernoulli):
        def enumerate_support(self, expand=True):
            return 2.0 * super().enumerate_support(expand) - 1.0

        def log_prob(self, value):
            return super().log_prob((value + 1.0) / 2.0)

    pair, x = Labels(lambda logits: Signs(logits=logits[..., 0] - 1.0)), torch.tensor([[5.0], [-5.0], [-5.0]])
    assert classification_error(pair, x, torch.tensor([1, -1, 1])) == pytest.approx(1 / 3)


def test_values_that_are_no_numbers_from_0_are_compared_as_values():
    pair = Labels(lambda logits: dist.Bernoulli(logits=logits[..., 0] - 1.0))
    x = torch.tensor([[5.0, 0.0, 0.0, 0.0], [-5.0, 0.0, 0.0, 0.0]])
    for labels in (torch.tensor([1, 0]), torch.tensor([True, False]), torch.tensor([[0, 1], [1, 0]])):
        assert classification_error(pair, x, labels) == 0.0


def test_sites_and_labels_of_other_shapes_are_refused_by_name():
    numbers = Labels(FAMILIES["numbers"])
    for labels in (F.one_hot(TRUE, 5), torch.ones(6, K), TRUE[:, None]):
        with pytest.raises(ValueError, match=r"labels must be \[N\], or one-hot \[N, 4\] with one 1 a row, got shape"):
            classification_error(numbers, X, labels)
    with pytest.raises(ValueError, match=r"labels must be \[N\], or one-hot \[N, K\], got shape \[\]"):
        classification_error(numbers, X, torch.tensor(1))
    with pytest.raises(ValueError, match="site must be a sample site of the guide, got 'w'"):
        classification_error(numbers, X, TRUE, "w")
    families = {
        "Normal": lambda logits: dist.Normal(logits[..., 0], 1.0),
        r"Bernoulli of event shape \[4\]": lambda logits: dist.Bernoulli(logits=logits).to_event(1),
        r"OneHotCategorical of event shape \[2, 4\]": lambda logits: dist.OneHotCategorical(
            logits=torch.stack([logits, logits], -2)
        ).to_event(1),
    }
    for text, family in families.items():
        with pytest.raises(ProgramError, match=f"site 'y' must have finitely many numbers .*, got {text}"):
            classification_error(Labels(family), X, TRUE)

    class Twice(Labels):
        @pyro_method
        def guide(self, x, y=None):
            with pyro.plate("times", len(x), dim=-2):
                super().guide(x)

    with pytest.raises(ProgramError, match=r"site 'y' must have one value a datum, \[6\], got \[6, 6\]"):
        classification_error(Twice(FAMILIES["numbers"]), X, TRUE)


def exact(pair, labels):
    """-(L + U) J of all labelled data, with a weight of 1 for the classifier."""
    log_q = (pair.sharpness * X[: len(labels)]).log_softmax(-1)[torch.arange(len(labels)), labels]
    joint = -math.log(K) + dist.Normal(F.one_hot(labels, K), 1.0).log_prob(X[: len(labels)]).sum(-1)
    return -(joint + log_q).sum()


@pytest.mark.parametrize("family", ["numbers", "one-hot", "straight through"])
def test_semi_supervised_bounds_of_every_family(family):
    pair = Labels(FAMILIES[family])
    labels = TRUE if family == "numbers" else F.one_hot(TRUE, K).to(X.dtype)
    loss = SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, X, labels)
    assert loss.item() == pytest.approx(exact(pair, TRUE).item(), rel=1e-6)
    # two labelled, four not, each datum with the same weight
    loss = SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, X, labels[:2])
    rest = ELBO().differentiable_loss(pair.model, pair.guide, X[2:])
    assert loss.item() == pytest.approx((exact(pair, TRUE[:2]) + rest).item(), rel=1e-6)


class Converting(Labels):
    """A program that takes labels as numbers and makes them one-hot itself, or the other way round."""

    @pyro_method
    def model(self, x, y=None):
        taken = self.family(torch.zeros(K)).event_shape
        if y is not None:
            y = F.one_hot(y, K).to(x.dtype) if taken else y.argmax(-1)
        super().model(x, y)


@pytest.mark.parametrize("family", ["numbers", "one-hot"])
def test_programs_that_convert_labels_train(family):
    pair = Converting(FAMILIES[family])
    labels = F.one_hot(TRUE, K) if family == "numbers" else TRUE
    loss = SemiSupervisedELBO().differentiable_loss(pair.model, pair.guide, X, labels)
    assert loss.item() == pytest.approx(exact(pair, TRUE).item(), rel=1e-6)
    before = pair.sharpness.item()
    settings = FitSettings(progress=False)
    fit(pair, (X, labels), epochs=2, objective=SemiSupervisedELBO(), batch_size=6, settings=settings)
    assert pair.sharpness.item() != before


def test_one_hot_sites_are_summed_out_like_numbers():
    values = [log_likelihood(Labels(FAMILIES[f]), X, 5, sum_out=True).values for f in ("numbers", "one-hot")]
    joint = dist.Normal(torch.eye(K), 1.0).log_prob(X[:, None]).sum(-1)
    for found in values:
        assert torch.allclose(found, joint.logsumexp(-1) - math.log(K), atol=1e-5)
