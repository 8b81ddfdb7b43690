"""Later stages of many flagged data: as graphs, in batches, within the bound on the memory."""

import pytest
import torch
from live_bytes import LiveBytes
from toy_pairs import ProbabilisticPCA, small_mixture, small_sticks

from pyrodgm.infer import log_likelihood
from pyrodgm.infer.evaluation.diagnostics import LEAST_ESS
from pyrodgm.infer.evaluation.refined import sampler as module
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.modes import SIDE_BY_SIDE
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.infer.evaluation.refined.student import Mixture
from pyrodgm.infer.tracing.contexts import evaluating
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal

COUNT = 7


@pytest.fixture
def all_flagged(monkeypatch):
    monkeypatch.setattr(module, "TEMPERATURES", (3, 5))
    monkeypatch.setattr(module, "is_flagged", lambda ess, k_hat: torch.ones_like(ess, dtype=torch.bool))


def later(pair, x, mode, blocks):
    """What the later stages find for all data, in an order of their own, in so many blocks."""
    coordinates = Coordinates(pair, x[:1])
    plan = coordinates.plan(400)
    sampler = RefinedSampler(coordinates, x[:1], len(x), plan, 2**30, mode)
    sampler.block = sampler.fitting.block = -(-len(x) // blocks)
    sampler.batch = 2
    found = {key: torch.zeros(len(x)).double() for key in ("values", "ess", "stage", "evaluations")}

    def put(rows, result):
        for key, value in found.items():
            value[rows] = result[key].double() + (value[rows] if key == "evaluations" else 0.0)

    torch.manual_seed(1)
    with evaluating(pair):
        none = torch.full((len(x), plan.modes, coordinates.size), torch.nan)
        sampler.weigh_again(torch.randperm(len(x)), lambda rows: (x[rows], none[rows]), put)
    return found, sampler


@pytest.mark.slow
@pytest.mark.usefixtures("all_flagged")
@pytest.mark.parametrize("make", [small_mixture, small_sticks])
def test_graphs_and_pyro_find_the_same(make):
    torch.manual_seed(0)
    pair, x = make().eval(), torch.rand(COUNT, 5).round()
    traced, sampler = later(pair, x, "traced", 3)
    eager, _ = later(pair, x, "eager", 3)
    assert torch.allclose(traced["values"], eager["values"], atol=1e-6)
    assert (traced["stage"] == 3).all()
    assert torch.equal(traced["evaluations"], eager["evaluations"])
    shapes = [key for key in sampler.fitting.graphs.made if key[0] not in {"guide", "prior"}]
    assert {name for name, _ in shapes} >= {"moments", "second moments", "joint"}
    climbs = 3 * SIDE_BY_SIDE  # whole blocks and climbs of a block alone
    assert {shape[1] for name, shape in shapes if name != "second moments"} <= {3, climbs}
    assert {shape[1] for name, shape in sampler.annealing.made} == {1, 2}
    few = later(pair, x, "traced", 2)[1]
    assert not few.fitting.graphs.made
    assert few.annealing.made


@pytest.mark.slow
@pytest.mark.usefixtures("all_flagged")
def test_each_datum_is_annealed_from_its_own_fit():
    torch.manual_seed(0)
    pair, x = ProbabilisticPCA(stretch=1.5), torch.randn(COUNT, 6)
    found, _ = later(pair, x, "eager", 3)
    assert ((found["values"] - pair.evidence(x)).abs() < 4.5 * found["ess"].rsqrt()).all()
    assert found["ess"].min() > 10


@pytest.mark.slow
def test_second_fits_that_pass_narrowly_are_annealed(monkeypatch):
    monkeypatch.setattr(module, "TEMPERATURES", (3,))
    torch.manual_seed(0)
    pair, x = ProbabilisticPCA(stretch=1.5), torch.randn(COUNT, 6)
    ess = later(pair, x, "eager", 1)[0]["ess"]
    assert ess.min() > module.DOUBT * LEAST_ESS
    monkeypatch.setattr(module, "DOUBT", float(ess.median()) / LEAST_ESS)
    found = later(pair, x, "eager", 1)[0]
    assert torch.equal(found["stage"] == module.ANNEALED, ess < ess.median())


def test_batches_join_and_cut_pieces_in_order():
    def piece(*rows):
        index = torch.tensor(rows, dtype=torch.long)
        return index, Mixture((Gaussian(index.double().unsqueeze(-1), index.double()[:, None, None]),))

    pieces = [piece(), piece(0, 1, 2), piece(), piece(3), piece(*range(4, 13)), piece()]
    found = list(module._batches(iter(pieces), 4))
    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12]]
    for rows, mixture in found:
        (fitted,) = mixture.gaussians
        assert torch.equal(fitted.mean.squeeze(-1), rows.double())
        assert torch.equal(fitted.factor.flatten(), rows.double())
    assert not list(module._batches(iter([piece(), piece()]), 4))
    assert not list(module._batches(iter([]), 4))


@pytest.mark.slow
def test_annealing_keeps_to_the_bound_on_the_memory(all_flagged, monkeypatch):
    monkeypatch.setattr("pyrodgm.infer.evaluation.importance.is_flagged", module.is_flagged)
    vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [50], 784)), GaussianPosterior(mlp(784, [50], 4)))
    with LiveBytes() as live:
        found = log_likelihood(vae, torch.rand(8, 784).round(), 400, max_bytes=2**22)
    assert (found.stage == 3).all()
    assert live.peak < 2**22
