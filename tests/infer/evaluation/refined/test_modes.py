"""Proposals of several modes, draws of the prior among them, and stages that make an estimate worse."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.importance import vectorized_importance_weights
from pyro.nn import pyro_method
from torch import nn

from pyrodgm.infer import log_likelihood, refine
from pyrodgm.infer.evaluation import importance
from pyrodgm.infer.evaluation.refined.gauss_newton import Plan, climb
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.modes import Draws, Modes, climb_from, distinct, search
from pyrodgm.infer.evaluation.refined.student import Mixture
from pyrodgm.models import Pair


class Independents(Pair):
    """Latents of any prior, each seen through a function of it; the guide is the prior or a normal."""

    def __init__(self, prior, function=lambda z: z, noise=0.2, size=1, guide=None):
        super().__init__()
        self.prior, self.function, self.other, self.size = prior, function, guide, size
        self.noise = nn.Parameter(torch.tensor(noise))

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior.expand([self.size]).to_event(1))
            pyro.sample("x", dist.Normal(self.function(z), self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", (self.other or self.prior).expand([self.size]).to_event(1))

    def evidence(self, x):
        """By the trapezoidal rule in z = sinh(t), float64."""
        t = torch.linspace(-25.0, 25.0, 400_001, dtype=torch.float64)
        z = t.sinh()
        inside = self.prior.support.check(z)
        log_prior = self.prior.log_prob(torch.where(inside, z, 1.0)).masked_fill(~inside, -math.inf)
        joint = log_prior + t.cosh().log() + math.log(t[1] - t[0])
        given = dist.Normal(self.function(z), self.noise.detach().double())
        rows = [(joint + given.log_prob(value.double())).logsumexp(0) for value in x.flatten()]
        return torch.stack(rows).reshape(x.shape).sum(-1)


def double(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


NORMAL = dist.Normal(*double(0.0, 1.0))
BLIND = dist.Normal(torch.tensor(0.7), 0.3)


@pytest.mark.parametrize(
    ("function", "guide", "at_most"),
    [(torch.square, BLIND, 0), (torch.square, None, 0), (torch.abs, None, 0), (lambda z: (3.0 * z).sin(), BLIND, 0.4)],
    ids=["square, blind guide", "square, wide guide", "modulus, wide guide", "sine, blind guide"],
)
def test_every_mode_of_one_latent_is_found(function, guide, at_most):
    pair, x = Independents(NORMAL, function, guide=guide).double(), torch.tensor([[0.2], [0.6], [0.9]]).double()
    for seed in range(2):
        found = log_likelihood(pair, x, seed=seed)
        assert (found.values - pair.evidence(x)).abs().max() < 0.08
        assert found.untrusted_share <= at_most


def test_a_turning_point_hides_no_other_mode():
    pair = Independents(NORMAL, lambda z: (3.0 * z).sin(), guide=BLIND).double()
    x = torch.tensor([[-1.17], [0.944], [1.1]]).double()  # where the Jacobian at the nearest mode is close to zero
    for seed in range(3):
        found = log_likelihood(pair, x, seed=seed)
        assert (found.values - pair.evidence(x)).abs().max() < 0.08  # by climbs alone 0.27 to 0.33 too low, not flagged


def test_the_refined_guide_has_every_mode():
    pair, x = Independents(NORMAL, torch.square, guide=BLIND).double(), torch.tensor([[0.6], [0.9]]).double()
    guide = refine(pair, x, seed=0)
    with torch.no_grad():
        draws = pyro.infer.Predictive(pair.model, guide=guide, num_samples=500, parallel=True)(x)["z"]
        assert ((draws > 0).double().mean(0) - 0.5).abs().max() < 0.12
        for datum in x.split(1):
            weights = vectorized_importance_weights(
                pair.model, refine(pair, datum, seed=0), datum, num_samples=4000, max_plate_nesting=1
            )[0]
            assert (weights.logsumexp(0) - math.log(4000) - pair.evidence(datum)).abs() < 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prior", "size", "noise"),
    [
        (dist.StudentT(*double(1.5, 0.0, 1.0)), 8, 100.0),
        (dist.StudentT(*double(3.0, 0.0, 1.0)), 12, 10.0),
        (dist.Cauchy(*double(0.0, 1.0)), 2, 30.0),
    ],
    ids=["t of 1.5 degrees", "t of 3 degrees", "Cauchy"],
)
def test_data_that_say_little_of_latents_with_heavy_tails(prior, size, noise):
    torch.manual_seed(1)
    pair = Independents(prior, noise=noise, size=size).double()
    x = torch.tensor([[0.5], [2.0], [10.0]]).double() * torch.randn(3, size).double()
    found = [log_likelihood(pair, x, seed=seed) for seed in range(3)]
    errors = torch.stack([each.values for each in found]) - pair.evidence(x)
    assert errors.mean(0).abs().max() < 0.05  # without draws of the prior 0.1 to 0.3 too low, and not flagged
    assert all((each.stage == 1).all() for each in found)  # bounded weights need no later stage


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    "prior",
    [
        dist.HalfNormal(*double(1.0)),
        dist.Exponential(*double(2.0)),
        dist.HalfCauchy(*double(0.5)),
        dist.Uniform(*double(0.0, 2.0)),
    ],
    ids=["half-normal", "exponential", "half-Cauchy", "uniform"],
)
def test_latents_that_the_data_hold_at_the_end_of_their_range(prior, size):
    pair = Independents(prior, noise=0.1, size=size).double()
    x = torch.tensor([[-0.3], [-0.05], [0.4]]).double().expand(3, size)
    for seed in range(2):
        found = log_likelihood(pair, x, seed=seed)
        assert (found.values - pair.evidence(x)).abs().max() < 0.1
        assert found.untrusted_share == 0.0


def at(mean, scale, integral):
    """One Gaussian in one dimension, of a given integral."""
    gaussian = Gaussian(torch.tensor([[mean]]).double(), torch.tensor([[[1.0 / scale]]]).double())
    return Modes(gaussian, torch.tensor([integral]).double())


def test_modes_are_told_apart_by_what_draws_around_one_reach():
    found = [at(0.0, 1.0, -1.0), at(0.1, 1.0, -1.1), at(20.0, 1.0, -0.5), at(-30.0, 1.0, -20.0), at(3.0, 1.0, -1.5)]
    modes, count = distinct(found, 2000)
    assert [float(mode.mean) for mode in modes] == [20.0, 0.0]  # 3.0 is within reach of 0.0, -30.0 negligible
    assert count.tolist() == [2]
    alone, count = distinct(found[:2], 2000)
    assert [float(mode.mean) for mode in alone] == [0.0]
    assert count.tolist() == [1]


def test_a_datum_with_fewer_modes_repeats_its_first():
    gaussian = Gaussian(torch.tensor([[0.0], [5.0]]).double(), torch.ones(2, 1, 1).double())
    other = Gaussian(torch.tensor([[40.0], [40.0]]).double(), torch.ones(2, 1, 1).double())
    nowhere = torch.tensor([0.0, -math.inf]).double()
    modes, count = distinct([Modes(gaussian, torch.zeros(2).double()), Modes(other, nowhere)], 2000)
    assert count.tolist() == [2, 1]
    assert [mode.mean.flatten().tolist() for mode in modes] == [[0.0, 5.0], [40.0, 5.0]]
    mixture = Mixture.cat([Mixture(tuple(modes)), Mixture((gaussian[:1],))])
    assert [each.mean.flatten().tolist() for each in mixture.gaussians] == [[0.0, 5.0, 0.0], [40.0, 5.0, 0.0]]
    torch.manual_seed(0)
    u, log_q = mixture.draw(999)
    assert u.shape == (999, 3, 1)
    assert (u[:, 0] > 20).sum() == 499
    grid = torch.linspace(-60, 100, 40_001).double()
    area = mixture.log_density(grid.reshape(-1, 1, 1).expand(-1, 3, 1)).exp().sum(0) * (grid[1] - grid[0])
    assert torch.allclose(area, torch.ones(3).double(), atol=1e-3)
    assert torch.allclose(log_q, mixture.log_density(u))


def test_draws_that_are_not_finite_lead_nowhere():
    proposal = Mixture((at(0.0, 1.0, 0.0).gaussian,))
    u = torch.tensor([0.0, math.nan, math.inf, 50.0]).reshape(-1, 1, 1)
    joint = torch.tensor([[-1.0], [0.0], [0.0], [math.nan]])
    weights = Draws(u, joint, 100).weights(proposal, torch.zeros(1).double())
    assert weights.isinf().flatten().tolist() == [False, True, True, True]


def normals(centres, precisions):
    """Moments of one normal density a datum, not normalised."""

    def moments(u):
        gap = u.double() - centres
        slope = -torch.einsum("bij,mbj->mbi", precisions, gap)
        return slope.mean(0), precisions, 0.5 * (slope * gap).sum(-1).mean(0)

    return moments


PRECISIONS = torch.tensor([[[2.0, 0.5], [0.5, 1.0]], [[9.0, 0.0], [0.0, 4.0]], [[1.0, 0.3], [0.3, 1.0]]]).double()
CENTRES = torch.tensor([[0.3, -0.2], [40.0, 30.0], [0.0, 0.0]]).double()


def test_a_climb_ends_where_all_that_are_wanted_have_arrived():
    moments, first = normals(CENTRES, PRECISIONS), torch.zeros(3, 2)
    near, _, few = climb(first, torch.tensor([True, False, True]), moments, torch.float64)
    assert few == 2  # a normal density takes one step
    assert torch.allclose(near.mean[[0, 2]], CENTRES[[0, 2]])
    found, integral, points = climb(first, torch.ones(3, dtype=torch.bool), moments, torch.float64)
    assert few < points < 17
    assert torch.allclose(found.mean, CENTRES)
    assert torch.allclose(integral, math.log(2 * math.pi) - 0.5 * PRECISIONS.logdet())
    assert climb(CENTRES, torch.ones(3, dtype=torch.bool), moments, torch.float64)[2] == 1


def test_a_datum_without_a_start_has_no_mode_and_holds_no_climb_up():
    begin = torch.tensor([[0.0, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
    modes = climb_from(begin, torch.zeros(3, 1), lambda x: normals(CENTRES, PRECISIONS))
    assert modes.integral.isfinite().tolist() == [True, False, False]
    assert modes.points == 2


def test_draws_in_the_tail_of_a_known_mode_are_followed_once():
    known = [climb_from(torch.zeros(3, 2), torch.zeros(3, 1), lambda x: normals(CENTRES, PRECISIONS))]
    u = torch.tensor([[3.0, 3.0]]).expand(5, 3, 2) + torch.arange(5.0).reshape(-1, 1, 1)
    unexplained = torch.full((5, 3), 50.0)
    found = search(
        torch.zeros(3, 1), known, 0, u[:0], Draws(u, unexplained, 2000), lambda x: normals(CENTRES, PRECISIONS)
    )
    assert len(found) == 2
    assert torch.allclose(found[1].gaussian.mean, found[0].gaussian.mean, atol=1e-6)


def test_many_latents_have_no_climbs_from_the_prior():
    plans = [Plan.of_budget(None, size) for size in (1, 2, 5, 8, 17, 18, 37, 38)]
    assert [plan.climbs for plan in plans] == [16, 16, 10, 6, 4, 2, 2, 0]
    assert [plan.modes for plan in plans] == [8, 8, 8, 8, 8, 6, 6, 4]
    assert [Plan.of_budget(budget, 16).search_cost for budget in (2296, 2295, 760, 759)] == [768, 0, 0, 0]
    assert [Plan.of_budget(budget, 16).is_quick for budget in (2296, 2295, 760, 759)] == [False] * 3 + [True]


def test_a_later_stage_far_below_an_earlier_one_is_not_taken():
    joined = {
        "values": torch.tensor([-5.0, -5.0, -5.0]).double(),
        "ess": torch.ones(3).double(),
        "k_hat": torch.full((3,), 0.9).double(),
        "stage": torch.ones(3, dtype=torch.long),
        "evaluations": torch.full((3,), 10.0).double(),
        "modes": torch.zeros(3, 4, 1),
    }

    class Stages:
        def weigh_again(self, rows, take, put):
            assert [part.shape for part in take(rows)] == [(3, 2), (3, 4, 1)]
            values = torch.tensor([-700.0, -8.5, math.nan]).double()
            same = {"ess": torch.full((3,), 99.0).double(), "k_hat": torch.zeros(3).double()}
            stage = {"stage": torch.full((3,), 2), "evaluations": torch.full((3,), 7.0).double()}
            put(rows, {"values": values, **same, **stage})

    importance._weigh_flagged_again(Stages(), torch.zeros(3, 2), joined, torch.zeros(1))
    assert joined["values"].tolist() == [-5.0, -8.5, -5.0]
    assert joined["stage"].tolist() == [1, 2, 1]
    assert joined["k_hat"].tolist() == [0.9, 0.0, 0.9]
    assert joined["evaluations"].tolist() == [17.0] * 3
