"""Coordinates of latents that are normal given others: densities, and evidence of narrow and funnel-shaped priors."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.importance import vectorized_importance_weights
from pyro.nn import pyro_method
from torch.func import jvp

from pyrodgm.distributions import NormalLogit
from pyrodgm.infer import bidirectional, log_likelihood, refine
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.refined.centring import IDENTITY, NormalPrior, PartlyCentred, centredness, evenly
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.models import Pair


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-4, 0.7, 50.0])
@pytest.mark.parametrize("centred", [0.0, 0.3, 1.0])
def test_density_in_coordinates_is_that_of_the_values_times_the_jacobian(centred, scale, dtype):
    loc, scale = torch.tensor([0.3, -2.0], dtype=dtype), torch.full((2,), scale, dtype=dtype)
    coordinates = PartlyCentred(dist.Normal(loc, scale), torch.full((2,), centred, dtype=dtype), 1, IDENTITY)
    u = centred * loc + scale**centred * torch.randn(20, 2, dtype=dtype)
    z, slope = jvp(coordinates.place, (u,), (torch.ones_like(u),))
    exact = torch.distributions.Normal(loc.double(), scale.double())
    # In double precision from the rounded u: the values themselves are rounded to a share of their size, not of scale.
    value = exact.loc + exact.scale ** (1.0 - centred) * (u.double() - centred * exact.loc)
    tolerance = 1e-11 if dtype is torch.float64 else 2e-3 if centred == 1.0 else 1e-4
    density = (exact.log_prob(value) + slope.double().log()).sum(-1)
    assert torch.allclose(coordinates.log_density(u, z).double(), density, rtol=tolerance, atol=tolerance)
    size = 1.0 + value.abs() / slope
    assert ((coordinates.standardise(z) - u).abs() / size).max() < 20 * torch.finfo(dtype).eps
    residual = (u - centred * loc) / scale**centred
    assert torch.allclose(coordinates.features(u, z)[0].squeeze(-1), residual)


def test_with_full_centredness_the_values_are_the_coordinates():
    fn, u = dist.Normal(torch.tensor([0.3, -2.0]), torch.tensor([0.1, 3.0])), torch.randn(5, 2)
    coordinates = PartlyCentred(fn, torch.ones(2), 1, IDENTITY)
    assert torch.allclose(coordinates.place(u), u)
    assert torch.allclose(coordinates.log_density(u, u), fn.log_prob(u).sum(-1))
    single = PartlyCentred(dist.Normal(torch.tensor(0.3), torch.tensor(0.1)), torch.tensor(1.0), 0, IDENTITY)
    assert torch.allclose(single.log_density(u, u), single.fn.log_prob(u))


class TwoLevels(Pair):
    """z2 ~ N(0, 1), z1 ~ N(mu(z2), sigma(z2)), x ~ N(z1, noise), by a guide that knows nothing of z2."""

    def __init__(self, loc, scale, noise, family=dist.Normal):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))
        self.loc, self.scale, self.noise, self.family = loc, scale, noise, family

    def simulate(self, count):
        blank = torch.zeros(count, 3)
        return pyro.poutine.trace(pyro.poutine.uncondition(self.model)).get_trace(blank).nodes["x"]["value"]

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(self.anchor.expand(1), 1.0).to_event(1))
            z1 = pyro.sample("z1", self.family(self.loc(z2), self.scale(z2)).to_event(1))
            pyro.sample("x", dist.Normal(z1, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z2 = pyro.sample("z2", dist.Normal(self.anchor.expand(1), 1.0).to_event(1))
            precision = self.scale(z2) ** -2 + self.noise**-2
            mean = (self.loc(z2) * self.scale(z2) ** -2 + x * self.noise**-2) / precision
            pyro.sample("z1", dist.Normal(mean, precision.rsqrt()).to_event(1))

    def evidence(self, x):
        axis = torch.linspace(-9.0, 9.0, 20_001)
        z2 = axis[:, None, None]
        given = dist.Normal(self.loc(z2), (self.scale(z2) ** 2 + self.noise**2).sqrt()).log_prob(x).sum(-1)
        return (dist.Normal(0.0, 1.0).log_prob(z2[..., 0]) + given).logsumexp(0) + math.log(axis[1] - axis[0])


def curved(z2):
    return torch.cat([z2, 0.3 * z2.square(), z2.tanh()], -1)


def thin(z2):
    return torch.full((3,), 0.003).expand(*z2.shape[:-1], 3)


def flat(z2):
    return torch.zeros(3).expand(*z2.shape[:-1], 3)


def funnel(z2):
    return (0.7 * z2).exp().expand(*z2.shape[:-1], 3)


PAIRS = {
    "thin and curved, weak data": (curved, thin, 2.0),
    "thin and curved, strong data": (curved, thin, 0.001),
    "funnel, weak data": (flat, funnel, 3.0),
    "funnel, strong data": (flat, funnel, 0.01),
    "both": (curved, funnel, 1.0),
    "logits": (curved, thin, 2.0, NormalLogit),
}


@pytest.mark.parametrize("case", PAIRS)
def test_evidence_of_two_levels_by_quadrature(case):
    torch.manual_seed(0)
    pair = TwoLevels(*PAIRS[case])
    x = pair.simulate(12)
    found = log_likelihood(pair, x, 3000, proposal="refined", seed=0)
    assert ((found.values - pair.evidence(x)).abs() < 4.5 * (1 / found.ess).sqrt()).all()
    assert found.untrusted_share == 0.0


def test_what_the_prior_decides_is_not_centred_and_what_the_data_decide_is():
    torch.manual_seed(0)
    found = {}
    for case in ("thin and curved, weak data", "funnel, strong data"):
        pair = TwoLevels(*PAIRS[case])
        x = pair.simulate(8)
        coordinates = Coordinates(pair, x[:1])
        assert coordinates.is_hierarchical
        assert coordinates.places["z2"].centredness is None  # it depends on no other
        assert coordinates.places["z1"].centredness.tolist() == [0.5] * 3
        RefinedSampler(coordinates, x, 8, coordinates.plan(None), 2**27, "eager")
        found[case] = coordinates.places["z1"].centredness
    assert (found["thin and curved, weak data"] < 0.2).all()
    assert (found["funnel, strong data"] > 0.8).all()


def test_centredness_is_that_of_the_variance_of_residuals():
    torch.manual_seed(0)
    loc, spread = torch.randn(50_000, 1, 3), torch.tensor([0.01, 0.5, 3.0]).sqrt()
    prior = NormalPrior(dist.Normal(loc, 0.2), IDENTITY)
    draws = [(prior, shift + loc + 0.2 * spread * torch.randn(50_000, 1, 3)) for shift in (0.0, 4.0)]
    assert torch.allclose(centredness(draws), torch.tensor([0.9999, 0.75, 0.0]), atol=0.01)
    nowhere = [(prior, torch.full_like(loc, torch.nan))]
    assert centredness(nowhere).tolist() == [1.0] * 3


def test_coordinates_are_the_same_each_time_and_leave_the_random_state():
    torch.manual_seed(0)
    pair = TwoLevels(*PAIRS["both"])
    x, found = pair.simulate(40), []
    for _ in range(2):
        coordinates, state = Coordinates(pair, x[:1]), torch.get_rng_state()
        RefinedSampler(coordinates, evenly(x), 40, coordinates.plan(None), 2**27, "eager")
        assert torch.equal(torch.get_rng_state(), state)
        found.append(coordinates.places["z1"].centredness)
        torch.randn(3)
    assert torch.equal(*found)
    assert len(evenly(x)) == 8
    assert torch.equal(evenly(x)[[0, -1]], x[[0, -1]])
    assert torch.equal(evenly(x[:3]), x[:3])


def test_a_prior_that_depends_on_the_data_alone_is_left_as_it_is():
    pair = TwoLevels(lambda z2: torch.ones(3).expand(*z2.shape[:-1], 3), thin, 0.1)
    assert not Coordinates(pair, torch.zeros(1, 3)).is_hierarchical


def test_thin_priors_need_it(monkeypatch):
    torch.manual_seed(0)
    pair = TwoLevels(*PAIRS["thin and curved, weak data"])
    x = pair.simulate(12)
    found = log_likelihood(pair, x, 3000, proposal="refined", keep=True, seed=0)
    assert (found.draws["z1"] - curved(found.draws["z2"])).abs().max() < 0.03
    monkeypatch.setattr("pyrodgm.infer.evaluation.refined.coordinates.is_conditional", lambda fn: False)
    centred = log_likelihood(pair, x, 3000, proposal="refined", keep=True, seed=0)
    assert found.untrusted_share < 0.2
    assert centred.untrusted_share > 0.8


def test_the_refined_guide_has_the_density_of_the_values():
    torch.manual_seed(0)
    pair, x = TwoLevels(*PAIRS["both"]), 0.7 * torch.randn(1, 3)
    guide = refine(pair, x, seed=0)
    with torch.no_grad():
        weights, _, _ = vectorized_importance_weights(pair.model, guide, x, num_samples=4000, max_plate_nesting=1)
    found = summarise(weights.unsqueeze(-1))
    assert abs(found["values"] - pair.evidence(x)) < 4.5 / found["ess"].sqrt()
    assert guide.mean["z1"].shape == (1, 3)
    assert not guide.mean["z1"].requires_grad


def test_exact_draws_go_to_coordinates_and_back():
    pair, x = TwoLevels(*PAIRS["both"]), torch.randn(2, 3)
    coordinates = Coordinates(pair, x[:1])
    u = torch.randn(4, 2, coordinates.size)
    values = coordinates.values(x, u)
    assert values["z1"].shape == (4, 2, 3)
    trace = pyro.poutine.trace(pyro.condition(pair.model, {name: value[0] for name, value in values.items()}))
    assert torch.allclose(coordinates.from_trace(trace.get_trace(x), 2), u[0], atol=1e-10)


@pytest.mark.slow
def test_bounds_from_both_sides_meet_on_a_thin_curved_prior():
    certificate = bidirectional(TwoLevels(*PAIRS["thin and curved, weak data"]), 20, torch.zeros(1, 3), 2000, seed=0)
    assert abs(certificate.gap) < 3 * certificate.standard_error + 0.02
    assert certificate.lower.untrusted_share == 0.0


class Chain(Pair):
    """A random walk of six steps, seen at each with noise, whose guide knows nothing of the data."""

    def __init__(self, step, noise):
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(()))
        self.step, self.noise = step, noise

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z, seen = self.anchor, []
            for t in range(6):
                z = pyro.sample(f"z{t}", dist.Normal(z, self.step))
                seen.append(z)
            pyro.sample(
                "x", dist.Normal(torch.stack(torch.broadcast_tensors(*seen), -1), self.noise).to_event(1), obs=x
            )

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = self.anchor
            for t in range(6):
                z = pyro.sample(f"z{t}", dist.Normal(z, self.step))

    def evidence(self, x):
        walk = torch.tril(torch.full((6, 6), self.step))
        return dist.MultivariateNormal(torch.zeros(6), walk @ walk.T + self.noise**2 * torch.eye(6)).log_prob(x)


@pytest.mark.parametrize(("step", "noise"), [(0.01, 1.0), (0.5, 0.5), (2.0, 0.05)])
def test_evidence_of_a_chain_of_numbers_in_closed_form(step, noise):
    torch.manual_seed(0)
    pair = Chain(step, noise)
    x = dist.MultivariateNormal(torch.zeros(6), torch.eye(6)).sample((4,)) * (step + noise)
    found = log_likelihood(pair, x, 3000, proposal="refined", seed=0)
    assert ((found.values - pair.evidence(x)).abs() < 4.5 / found.ess.sqrt()).all()
    assert (found.stage > 0).all()
    assert (found.ess > 1000).all()


class Bent(Pair):
    """A latent b that is multivariate normal given a, around a parabola."""

    def __init__(self, width, noise):
        super().__init__()
        self.covariance = width * torch.tensor([[1.0, 0.5], [0.5, 0.6]], dtype=torch.float64)
        self.noise = torch.nn.Parameter(torch.tensor(noise, dtype=torch.float64))

    def prior(self, a):
        return dist.MultivariateNormal(torch.cat([a, a**2], -1), self.covariance)

    @pyro_method
    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            b = pyro.sample("b", self.prior(a))
            pyro.sample("x", dist.Normal(b, self.noise).to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("b", self.prior(a))

    def evidence(self, x):
        a = torch.linspace(-8, 8, 8001, dtype=torch.float64).unsqueeze(-1)
        covariance = self.covariance + self.noise.detach() ** 2 * torch.eye(2, dtype=torch.float64)
        given = dist.MultivariateNormal(torch.cat([a, a**2], -1), covariance).log_prob(x.unsqueeze(1))
        return (given + dist.Normal(0.0, 1.0).log_prob(a[:, 0])).logsumexp(-1) + math.log(a[1] - a[0])


@pytest.mark.parametrize(("width", "noise", "whitened"), [(0.01, 1.0, True), (1.0, 0.05, False)])
def test_a_multivariate_normal_given_another_latent_is_whitened_where_data_say_little(width, noise, whitened):
    pair, x = Bent(width, noise), torch.tensor([[0.3, 1.0], [2.0, 3.0], [-1.0, -1.0]]).double()
    for seed in range(2):
        found = log_likelihood(pair, x, seed=seed, proposal="refined")
        assert (found.values - pair.evidence(x)).abs().max() < 0.08
        assert found.untrusted_share == 0.0
    with torch.no_grad():
        coordinates = Coordinates(pair, x[:1])
        RefinedSampler(coordinates, x, 3, coordinates.plan(None), 2**27, "eager")
    assert bool(coordinates.places["b"].centredness.mean() <= 0.5) == whitened


@pytest.mark.parametrize("inside", [False, True])
def test_a_transformed_normal_may_have_its_event_inside_or_outside(inside):
    base, exp = (
        dist.Normal(torch.tensor([0.2, -0.5, 0.0]), torch.tensor([0.5, 1.0, 0.3])),
        dist.transforms.ExpTransform(),
    )

    class LogNormals(Pair):
        def __init__(self):
            super().__init__()
            self.noise = torch.nn.Parameter(torch.tensor(0.5))

        @pyro_method
        def model(self, x):
            inner = dist.TransformedDistribution(base.to_event(1), [exp])
            outer = dist.TransformedDistribution(base, [exp]).to_event(1)
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", inner if inside else outer)
                pyro.sample("x", dist.Normal(z.log(), self.noise).to_event(1), obs=x)

        @pyro_method
        def guide(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.LogNormal(base.loc, base.scale).to_event(1))

    x = torch.tensor([[0.1, 0.2, 0.3], [1.0, -1.0, 0.0]])
    exact = dist.Normal(base.loc, (base.scale**2 + 0.25).sqrt()).log_prob(x).sum(-1)
    for num_samples in (None, 4000):
        found = [log_likelihood(LogNormals(), x, num_samples, seed=s, proposal="refined").values for s in range(3)]
        assert (torch.stack(found).mean(0) - exact).abs().max() < 0.03
