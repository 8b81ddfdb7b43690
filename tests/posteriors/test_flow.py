import importlib.util
from functools import partial

import missing
import pyro.distributions as dist
import pytest
import torch
from fresh_process import run_python
from torch import nn

from pyrodgm.infer import ELBO, FitSettings, active_units, fit, posterior_means
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import FlowPosterior, GaussianPosterior
from pyrodgm.priors import StandardNormal

# Not by importorskip: an import of zuko itself switches all validation off.
if importlib.util.find_spec("zuko") is None:
    pytest.skip(missing.ZUKO, allow_module_level=True)


def posterior(features=3, passes=2, size=1.0):
    q = FlowPosterior.autoregressive(mlp(5, [6], 2 * features + 2), features, context=2, hidden=[6], passes=passes)
    for layer in q.transform.transforms:  # far from the identity
        nn.init.normal_(layer.hyper[-1].weight, std=size)
    return q


@pytest.mark.parametrize("passes", [2, None])
def test_density_is_that_of_the_change_of_variables(passes):
    q, x = posterior(passes=passes), torch.randn(5)
    output = q.net(x)
    loc, scale = output[:3], (0.5 * output[3:6]).exp()
    f = q.transform(output[6:])
    noise = loc + scale * torch.randn(3)
    jacobian = torch.autograd.functional.jacobian(f, noise)
    expected = torch.distributions.Normal(loc, scale).log_prob(noise).sum() - jacobian.slogdet().logabsdet
    assert jacobian.slogdet().logabsdet.abs() > 0.01
    assert torch.allclose(q(x).log_prob(f(noise)), expected)


@pytest.mark.parametrize("passes", [2, None])
def test_a_draw_comes_with_its_density(passes):
    x = torch.randn(4, 5)
    p = posterior(passes=passes)(x).expand([7, 4])
    z = p()
    assert z.shape == (7, 4, 3)
    assert torch.allclose(p.log_prob(z), p.log_prob(z.clone()))
    assert p.log_prob(z).shape == (7, 4)


@pytest.mark.slow
def test_density_integrates_to_one():
    p = posterior(features=2, size=0.7)(torch.zeros(5))
    grid = torch.linspace(-25, 25, 1001)
    z = torch.cartesian_prod(grid, grid)
    with torch.no_grad():
        mass = p.log_prob(z).exp().sum() * (grid[1] - grid[0]) ** 2
    assert mass.item() == pytest.approx(1.0, abs=1e-3)


def test_mean_is_that_of_the_draws():
    p = posterior(size=0.5)(torch.randn(2, 5))
    with torch.no_grad():
        draws = p.sample((200_000,))
        off = (p.mean - draws.mean(0)) / draws.std(0)
        assert off.square().mean().sqrt() < 128**-0.5  # better than as many independent draws
        state = torch.get_rng_state()
        assert torch.equal(p.mean, p.mean)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.allclose(p.expand([4, len(p.mean)]).mean, p.mean)


def test_it_begins_close_to_the_gaussian():
    net = mlp(5, [6], 8)
    x = torch.randn(9, 5)
    q = FlowPosterior.autoregressive(net, 3, context=2)
    gaussian = GaussianPosterior(nn.Sequential(net, Without(context=2)))(x)
    z = gaussian.sample()
    assert (q(x).log_prob(z) - gaussian.log_prob(z)).abs().max() < 1.0
    assert (q(x).mean - gaussian.mean).abs().max() < 0.3


class Without(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.context = context

    def forward(self, output):
        return output[..., : -self.context]


class Ridge(nn.Module):
    """x ~ Normal(z1^2 + z2, 0.1), whose posterior is a parabola."""

    def forward(self, z):
        return dist.Normal((z[..., :1] ** 2 + z[..., 1:]) / 4, 0.05).to_event(1)


@pytest.mark.slow
def test_it_fits_a_bent_posterior_better_than_a_gaussian():
    x = torch.full((100, 1), 0.5)
    bounds = []
    for q in (
        GaussianPosterior(mlp(1, [8], 4)),
        FlowPosterior.autoregressive(mlp(1, [8], 6), 2, context=2, transforms=4, hidden=[16]),
    ):
        pair = VAE(StandardNormal(2), Ridge(), q)
        adam = partial(torch.optim.Adam, lr=2e-2)
        fit(pair, x, epochs=100, batch_size=25, optimizer=adam, settings=FitSettings(progress=False))
        with torch.no_grad():
            bounds.append(-ELBO(num_particles=100, vectorize_particles=True).loss(pair.model, pair.guide, x) / len(x))
    grid = torch.linspace(-6, 6, 601)
    z = torch.cartesian_prod(grid, grid)
    log_joint = StandardNormal(2)().log_prob(z) + Ridge()(z).log_prob(torch.full((1,), 0.5))
    exact = (log_joint.logsumexp(0) + 2 * (grid[1] - grid[0]).log()).item()
    assert bounds[0] < bounds[1] < exact + 0.02
    assert exact - bounds[1] < 0.5 * (exact - bounds[0])


def test_divergence_is_sampled_and_units_are_counted():
    pair = VAE(StandardNormal(3), Ridge(), posterior())
    x = torch.randn(20, 5)
    assert ELBO().describe(lambda v: pair.model(v[:, :1]), pair.guide, x) == {"z": "sampled"}
    assert posterior_means(pair, x)["z"].shape == (20, 3)
    assert 0 <= active_units(pair, x)["z"] <= 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 1}, "features must be at least 2, got 1"),
        ({"context": 0}, "context must be at least 1, got 0"),
        ({"transforms": 0}, "transforms must be at least 1, got 0"),
    ],
    ids=["features", "context", "transforms"],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        FlowPosterior.autoregressive(nn.Identity(), **{"features": 3, "context": 2, **arguments})


def test_bad_net_and_range_are_named():
    transform = posterior().transform
    with pytest.raises(ValueError, match="log_variance_range must be increasing"):
        FlowPosterior(nn.Identity(), 3, transform, (2.0, -6.0))
    with pytest.raises(ValueError, match="more than 6 values, for a context; got 6"):
        FlowPosterior(nn.Identity(), 3, transform)(torch.zeros(6))


@pytest.mark.slow
def test_zuko_is_imported_where_it_is_used_and_changes_nothing():
    program = """
import sys, torch
from torch.distributions import Normal
from pyrodgm.posteriors import FlowPosterior
assert "zuko" not in sys.modules
sys.modules["zuko"] = None
try:
    FlowPosterior.autoregressive(torch.nn.Identity(), 2, 1)
except ImportError as error:
    assert "pyrodgm[flows]" in str(error)
else:
    raise SystemExit("no error")
del sys.modules["zuko"]
FlowPosterior.autoregressive(torch.nn.Identity(), 2, 1)(torch.zeros(5))
assert "zuko" in sys.modules
try:
    Normal(torch.tensor(0.0), torch.tensor(-1.0))
except ValueError:
    pass
else:
    raise SystemExit("distributions are not validated any more")
"""
    run_python("-c", program)
