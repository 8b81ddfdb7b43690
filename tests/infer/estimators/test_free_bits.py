"""Divergences of which a share per datum is free, against the closed form."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import ELBO
from pyrodgm.models import Pair

X = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)


class Normals(Pair):
    """A likelihood that does not depend on z, so that all but the divergence is known."""

    def __init__(self, subsample=None):
        super().__init__()
        self.shift, self.subsample = nn.Parameter(torch.tensor(0.5)), subsample

    def plate(self, x):
        return pyro.plate("data", self.subsample or len(x), subsample_size=len(x) if self.subsample else None, dim=-1)

    @pyro_method
    def model(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    @pyro_method
    def guide(self, x):
        with self.plate(x):
            pyro.sample("z", dist.Normal(self.shift * x, 1.0))


@pytest.mark.parametrize("subsample", [None, 30])
@pytest.mark.parametrize("options", [{}, {"num_particles": 2, "vectorize_particles": True}])
@pytest.mark.parametrize("free", [0.1, 0.2, 0.3, 2.0])
def test_a_divergence_below_is_replaced_and_has_no_gradient(free, options, subsample):
    pair, scale = Normals(subsample), (subsample or 3) / 3
    kl = 0.125 * X.square()  # mean 0.231
    data = -dist.Normal(0.0, 1.0).log_prob(X).sum()
    loss = ELBO(kl_weight=0.5, free_bits=free, **options).differentiable_loss(pair.model, pair.guide, X)
    is_free = free > kl.mean()
    assert loss.item() == pytest.approx(scale * (data + 0.5 * (3 * free if is_free else kl.sum())).item())
    (gradient,) = torch.autograd.grad(loss, [pair.shift])
    assert gradient.item() == pytest.approx(0.0 if is_free else scale * 0.5 * 0.5 * X.square().sum().item())


def test_no_negative_number_is_free():
    with pytest.raises(ValueError, match=r"free_bits must be .* at least 0, got -1"):
        ELBO(free_bits=-1.0)
