"""Divergences of transformed distributions: exact where the transformation is one to one, sampled elsewhere."""

import pyro
import pyro.distributions as dist
import pytest
import torch
import torch.distributions.transforms as T
from scipy.integrate import quad

from pyrodgm.distributions import LogitOf, NoDensityError
from pyrodgm.infer import ELBO
from pyrodgm.infer.estimators.adversarial.vae_gan import _divergence
from pyrodgm.infer.estimators.one_to_one import is_one_to_one

N = dist.Normal


def programs(q, p, count=2):
    def model():
        with pyro.plate("data", count, dim=-1):
            pyro.sample("z", p())

    def guide():
        with pyro.plate("data", count, dim=-1):
            pyro.sample("z", q())

    return model, guide


def folded(loc, scale):
    return dist.FoldedDistribution(N(torch.tensor(loc), torch.tensor(scale)))


def through(*transforms, base=None):
    return dist.TransformedDistribution(N(0.5, 1.0) if base is None else base, list(transforms))


WRAPPED = {
    "alone": lambda fn: fn,
    "of an event": lambda fn: fn.expand([3]).to_event(1),
    "expanded": lambda fn: fn.expand([2]),
    "masked": lambda fn: fn.mask(torch.tensor([True, True])),
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_folded_sites_of_one_law_are_no_distance_apart(wrap):
    model, guide = programs(*(lambda loc=loc: WRAPPED[wrap](folded(loc, 1.0)) for loc in (1.0, -1.0)))
    assert ELBO().describe(model, guide) == {"z": "sampled"}
    assert ELBO().loss(model, guide) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("q", "p"),
    [
        (lambda: folded(1.0, 1.0), lambda: folded(-0.5, 2.0)),
        (lambda: dist.HalfNormal(torch.tensor(1.5)), lambda: folded(1.0, 1.0)),
        (lambda: folded(1.0, 1.0), lambda: dist.HalfNormal(torch.tensor(1.5))),
        (lambda: dist.HalfNormal(torch.tensor(1.0)), lambda: dist.HalfNormal(torch.tensor(2.0))),
        (lambda: dist.HalfCauchy(torch.tensor(1.0)), lambda: dist.HalfCauchy(torch.tensor(2.0))),
        (lambda: through(T.ExpTransform()), lambda: through(T.ExpTransform(), base=N(0.0, 2.0))),
        (lambda: dist.Gumbel(0.1, 0.6), lambda: dist.Gumbel(0.5, 2.0)),
        (lambda: dist.Weibull(1.0, 2.0), lambda: dist.Weibull(1.0, 2.0)),
    ],
)
def test_divergences_are_those_of_the_images(q, p):
    low = 0.0 if float(q().sample([1000]).min()) > 0 else -40.0

    def density(z):
        z = torch.tensor(z)
        log_q, log_p = q().log_prob(z), p().log_prob(z)
        return float(log_q.exp() * (log_q - log_p)) if log_q > -600 else 0.0

    truth = quad(density, low + 1e-12, 1.0, limit=400)[0] + quad(density, 1.0, torch.inf, limit=400)[0]
    model, guide = programs(q, p, count=40_000)
    kind = ELBO().describe(model, guide)["z"]
    assert kind == ("sampled" if "Folded" in f"{q()}{p()}" else "exact")
    found = ELBO().loss(model, guide) / 40_000
    assert found == pytest.approx(truth, rel=1e-4 if kind == "exact" else 0.05, abs=1e-5)


ONE_TO_ONE = [
    through(T.AffineTransform(1.0, -2.0), T.ExpTransform()),
    through(T.ComposeTransform([T.TanhTransform(), T.AffineTransform(0.0, 2.0)])),
    through(T.PowerTransform(2.0), base=dist.Exponential(1.0)),
    through(T.CatTransform([T.ExpTransform(), T.identity_transform]), base=N(torch.zeros(2), 1.0)),
    through(T.IndependentTransform(T.SigmoidTransform(), 1), base=N(torch.zeros(2), 1.0)),
    through(T.StickBreakingTransform(), base=N(torch.zeros(2), 1.0).to_event(1)),
    dist.Gumbel(0.0, 1.0),
    dist.Kumaraswamy(torch.tensor(2.0), torch.tensor(3.0)),
    dist.InverseGamma(2.0, 1.0),
    LogitOf(dist.Beta(2.0, 3.0)),
    dist.LogNormal(torch.zeros(3), 1.0).to_event(1),
]
MANY_TO_ONE = [
    through(T.AbsTransform()),
    through(T.ExpTransform(), T.ComposeTransform([T.AffineTransform(-1.0, 1.0), T.AbsTransform()])),
    through(T.SoftmaxTransform(), base=N(torch.zeros(3), 1.0).to_event(1)),
    through(T.LowerCholeskyTransform(), base=N(torch.zeros(2, 2), 1.0).to_event(2)),
    through(T.PowerTransform(2.0)),
    through(T.AffineTransform(1.0, 2.0), T.PowerTransform(2.0)),
    through(T.CatTransform([T.AbsTransform(), T.identity_transform]), base=N(torch.zeros(2), 1.0)),
    through(T.ExpTransform(), base=folded(1.0, 1.0)),
    LogitOf(through(T.AffineTransform(0.0, 0.1), T.AbsTransform(), base=dist.Uniform(-1.0, 1.0))),
]


@pytest.mark.parametrize("fn", ONE_TO_ONE)
def test_bijections_are_known(fn):
    assert is_one_to_one(fn)


@pytest.mark.parametrize("fn", MANY_TO_ONE)
def test_all_others_are_known_too(fn):
    for wrapped in (fn, fn.expand([4, *fn.batch_shape]).to_event(1)):
        assert not is_one_to_one(wrapped)


def test_an_image_without_a_density_is_refused_by_name():
    base = N(torch.zeros(3), 1.0).to_event(1)
    model, guide = programs(*[lambda: through(T.SoftmaxTransform(), base=base)] * 2)
    for validated in (True, False):
        with pyro.validation_enabled(validated), pytest.raises(NoDensityError, match="site 'z' has no density"):
            ELBO().loss(model, guide)


def test_the_objective_with_a_discriminator_keeps_to_the_same_rule():
    value = folded(1.0, 1.0).sample([5])
    q, p = ({"name": "z", "fn": folded(loc, 1.0), "value": value, "scale": 1.0, "mask": None} for loc in (1.0, -1.0))
    q, p = ({**site, "args": (), "kwargs": {}, "is_observed": False, "infer": {}} for site in (q, p))
    assert _divergence(q, p).item() == pytest.approx(0.0, abs=1e-12)
