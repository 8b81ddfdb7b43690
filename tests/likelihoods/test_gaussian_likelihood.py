import math

import pytest
import torch
from scipy import stats

from pyrodgm.likelihoods import GaussianLikelihood, GreyBernoulliLikelihood
from pyrodgm.nn import mlp


@pytest.mark.parametrize("scale", [0.5, 1.0, None])
def test_density(scale):
    net = mlp(3, [4], 5 if scale else 10)
    z, x = torch.randn(6, 3), torch.randn(6, 5)
    out = net(z).detach()
    loc, deviation = (out, scale) if scale else (out[:, :5], (0.5 * out[:, 5:].clamp(-6, 2)).exp())
    expected = stats.norm(loc.numpy(), deviation if scale else deviation.numpy()).logpdf(x.numpy()).sum(-1)
    found = GaussianLikelihood(net, scale)(z).log_prob(x)
    assert torch.allclose(found, torch.from_numpy(expected))


def test_learned_scale_finds_that_of_the_data():
    likelihood = GaussianLikelihood(torch.nn.Identity(), scale=1.0, learn_scale=True)
    x = 0.3 * torch.randn(20_000, 2)
    optimizer = torch.optim.LBFGS(likelihood.parameters(), line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = -likelihood(torch.zeros_like(x)).log_prob(x).mean()
        value.backward()
        return value

    optimizer.step(loss)
    assert likelihood.log_scale.exp().item() == pytest.approx(x.square().mean().sqrt().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"scale": 0.0}, "scale must be finite and greater than 0, got 0"),
        ({"scale": math.inf}, "scale must be finite and greater than 0, got inf"),
        ({"scale": None, "learn_scale": True}, "learn_scale needs a scale to start from"),
        ({"log_variance_range": (1.0, 1.0)}, "log_variance_range must be increasing"),
    ],
)
def test_bad_input_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GaussianLikelihood(mlp(3, [], 5), **kwargs)


def test_grey_values_have_their_cross_entropy():
    likelihood = GreyBernoulliLikelihood(mlp(3, [4], 5))
    z, x = torch.randn(6, 3), torch.rand(6, 5)
    p = torch.sigmoid(likelihood.net(z))
    expected = (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)
    assert torch.allclose(likelihood(z).log_prob(x), expected)
    assert set(likelihood(z).sample().unique().tolist()) == {0.0, 1.0}
