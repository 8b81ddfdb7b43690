"""``one_hot`` in a traced program."""

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO, TrainStep
from pyrodgm.infer.tracing.one_hot import TraceableOneHot
from pyrodgm.models import Pair


class Conditional(Pair):
    """x | y ~ N(w_y, 1)."""

    def __init__(self, classes):
        super().__init__()
        self.net, self.classes = nn.Linear(3, 1), classes

    @pyro_method
    def model(self, x, y):
        with pyro.plate("data", len(x)):
            mean = self.net(F.one_hot(y, *self.classes).to(x.dtype)).squeeze(-1)
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    @pyro_method
    def guide(self, x, y):
        pass


def run(classes, mode):
    torch.manual_seed(0)
    pair, x, y = Conditional(classes), torch.arange(4.0), torch.tensor([0, 2, 1, 0])
    step = TrainStep(pair, ELBO(), torch.optim.SGD(pair.parameters(), lr=0.1), compile=mode)
    return [step(x.to(torch.get_default_dtype()), y).item() for _ in range(3)], step.mode


def test_classes_in_a_model_are_traced():
    (eager, _), (traced, mode) = run((3,), "eager"), run((3,), "traced")
    assert mode == "traced"
    assert traced == eager


def test_the_warning_says_what_to_write():
    with pytest.warns(UserWarning, match=r"runs eagerly: .*write F\.one_hot\(x, num_classes\)"):
        losses, mode = run((), "traced")
    assert mode == "eager"
    assert losses == run((3,), "eager")[0]


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_it_is_one_hot(shape):
    x = torch.randint(4, shape)
    with TraceableOneHot():
        found = F.one_hot(x, num_classes=4)
        plain = torch.tanh(torch.ones(2))
    assert torch.equal(found, F.one_hot(x, 4))
    assert found.dtype == torch.int64
    assert plain.shape == (2,)
