"""Programs in a plate of several draws: those that count dimensions from the left are told."""

import types

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.nn.functional as F
from pairs import PAIRS, SYMBOLS, D
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.distributions import NoDensityError
from pyrodgm.infer import ELBO, IWELBO, log_likelihood
from pyrodgm.infer.estimators.side_by_side import NUDGE, require_side_by_side
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.rehearsal import rehearse
from pyrodgm.models import Pair


class Decoded(Pair):
    """z ~ N(0, 1) in two dimensions, x ~ N(decoded z, scale), under a guide that may use its first latent too."""

    def __init__(self, decode, encode=None, scale=0.3):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.decode, self.encode, self.scale = decode, encode, scale

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            if self.encode is not None:
                pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), self.scale).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            loc = torch.zeros(2)
            if self.encode is not None:
                loc = self.encode(pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1)))
            pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))


def swapped(z):
    return torch.stack([z[:, 1], z[:, 0]], 1)


WRONG = {
    "softmax": lambda z: F.softmax(3.0 * z, dim=1),
    "normalize": F.normalize,
    "first column": lambda z: z[:, :1].expand_as(z),
    "columns": swapped,
    "first draw": lambda z: z[0] + 0.0 * z,
    "last draw": lambda z: z[-1] + 0.0 * z,
    "flattened": lambda z: z.reshape(len(z), -1)[:, :2],
    "beside": lambda z: torch.cat([z, 2.0 * z], 1)[:, 1:3],
    "over the data": lambda z: z - z.sum(1, keepdim=True),
}
RIGHT = {
    "softmax": lambda z: F.softmax(3.0 * z, dim=-1),
    "normalize": lambda z: F.normalize(z, dim=-1),
    "columns": lambda z: torch.stack([z[..., 1], z[..., 0]], -1),
    "flattened": lambda z: z.unsqueeze(-1).flatten(-2),
    "steps": lambda z: z.round(),
}


def check(pair, x):
    with evaluating(pair):
        require_side_by_side(pair, (x,))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", WRONG)
def test_what_counts_from_the_left_is_refused_by_the_site_where_it_shows(name, count):
    with pytest.raises(ProgramError, match=r"site 'x' .*count dimensions from the right"):
        check(Decoded(WRONG[name]), torch.randn(count, 2))


@pytest.mark.parametrize("name", ["softmax", "normalize", "columns"])
def test_likewise_in_the_guide(name):
    with pytest.raises(ProgramError, match=r"site 'z' .*count dimensions from the right"):
        check(Decoded(nn.Identity(), WRONG[name]), torch.randn(3, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", RIGHT)
def test_what_counts_from_the_right_passes(name, count, dtype):
    before = torch.get_rng_state()
    torch.set_default_dtype(dtype)
    check(Decoded(RIGHT[name], RIGHT[name]), torch.zeros(count, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_rounding_passes_where_the_density_is_steep():
    """In float32 a scale of 1e-4 makes nats of what rounding does to a mean."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 300), nn.Tanh(), nn.Linear(300, 500))
    for seed in range(20):
        torch.manual_seed(seed)
        check(Decoded(net, scale=1e-4), net(torch.randn(3, 2)).detach())


def test_noise_besides_the_draws_passes():
    for seed in range(20):
        torch.manual_seed(seed)
        check(Decoded(lambda z: z + 0.1 * torch.randn_like(z)), torch.zeros(3, 2))


def test_draws_that_the_model_makes_alone_are_those_of_both_runs():
    class Alone(Decoded):
        def guide(self, x):
            pass

    check(Alone(nn.Identity()), torch.randn(3, 2))
    with pytest.raises(ProgramError, match="site 'x'"):
        check(Alone(F.normalize), torch.randn(3, 2))


class Computed(Decoded):
    """A guide whose latent is a point computed from an auxiliary draw."""

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(self.encode(a), event_dim=1))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), self.scale).to_event(1), obs=x)


def test_points_that_are_computed_are_compared_as_points():
    torch.set_default_dtype(torch.float32)
    net = nn.Sequential(nn.Linear(2, 300), nn.Tanh(), nn.Linear(300, 2))  # whose sums round otherwise side by side
    for seed in range(10):
        torch.manual_seed(seed)
        check(Computed(nn.Identity(), net), torch.randn(3, 2))
    with pytest.raises(ProgramError, match="site 'z'"):
        check(Computed(nn.Identity(), F.normalize), torch.randn(3, 2))


@pytest.mark.parametrize("subsampled", [False, True])
def test_plates_within_and_subsampled_data(subsampled):
    class Plates(Pair):
        def __init__(self, dim):
            super().__init__()
            self.dim = dim

        def data(self, x):
            return (
                pyro.plate("data", 50, subsample_size=len(x), dim=-2)
                if subsampled
                else pyro.plate("data", len(x), dim=-2)
            )

        def model(self, x):
            with self.data(x), pyro.plate("parts", x.shape[1], dim=-1):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(z.cumsum(self.dim), 1.0), obs=x)

        def guide(self, x):
            with self.data(x), pyro.plate("parts", x.shape[1], dim=-1):
                pyro.sample("z", dist.Normal(0.0, 1.0))

    check(Plates(-1), torch.randn(3, 4))
    with pytest.raises(ProgramError, match="site 'x'"):
        check(Plates(1), torch.randn(3, 4))


def test_missing_values_and_masks_pass():
    class Missing(Decoded):
        def model(self, x):
            seen = x[..., 0] > 0.0
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                w = pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x, obs_mask=seen)
                pyro.sample("y", dist.Normal(self.decode(w), 1.0).mask(seen.unsqueeze(-1)).to_event(1), obs=x)

    check(Missing(nn.Identity()), torch.tensor([[1.0, 2.0], [-1.0, 2.0]]))
    with pytest.raises(ProgramError, match="site 'y'"):
        check(Missing(F.normalize), torch.tensor([[1.0, 2.0], [-1.0, 2.0]]))


def test_data_beyond_all_densities_pass():
    check(Decoded(nn.Identity()), torch.tensor([[float("nan"), 0.0], [float("inf"), 0.0]]))


def test_rounding_is_far_below_what_is_refused():
    """A difference that a hundredth of a draw makes shows, whatever the size of the density."""
    for level in (0.0, 1e4):
        with pytest.raises(ProgramError):
            check(Decoded(lambda z, level=level: level + z + 100 * NUDGE * z.sum(1, keepdim=True)), torch.zeros(3, 2))


@pytest.mark.slow
@pytest.mark.parametrize("build", PAIRS, ids=lambda build: build.__name__)
def test_every_pair_of_the_library_passes(build):
    torch.set_default_dtype(torch.float32)
    for seed in range(3):
        torch.manual_seed(seed)
        check(
            build(), torch.tensor([[0.0, 1.0, 2.0] + 9 * [-1.0]] * 2) if build in SYMBOLS else torch.rand(3, D).round()
        )


FLOWS = [dist.transforms.planar, dist.transforms.radial, dist.transforms.Sylvester]
FLOWS += [dist.transforms.neural_autoregressive]


@pytest.mark.parametrize("make", FLOWS, ids=lambda make: make.__name__)
def test_flows_without_an_inverse_are_posteriors_and_their_models_are_looked_at(make):
    """Their density is known at their own draws, which is all that a bound or importance weights need."""
    torch.manual_seed(0)
    x = torch.randn(3, 2)
    for decode, fails in ((lambda z: 1.0 * z, False), (swapped, True)):
        pair = Decoded(decode, scale=1.0)
        pair.flow = make(2)
        pair.guide = types.MethodType(flowing, pair)
        if fails:
            with pytest.raises(ProgramError, match="site 'x'"):
                require_side_by_side(pair, (x,))
            continue
        evidence = dist.Normal(0.0, 2.0**0.5).log_prob(x).sum(-1)
        for objective in (ELBO(), IWELBO(5)):
            rehearse(pair, objective, (x,))
        found = log_likelihood(pair, x, 2000, seed=0, proposal="guide", compile="eager")
        assert torch.allclose(found.values, evidence, atol=0.15)
        with pytest.raises(NoDensityError, match="site 'z' has no density"):
            IWELBO(5, gradient="dreg").differentiable_loss(pair.model, pair.guide, x)


def flowing(pair, x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.TransformedDistribution(dist.Normal(x / 2.0, 0.8).to_event(1), [pair.flow]))
