"""Evaluation by several real processes: the result of one, for the same seed."""

from functools import partial

import pytest
import torch
from process_group import run_processes
from toy_pairs import small_vae

from pyrodgm.datasets import Dataset, Split
from pyrodgm.experiment.results import evaluate
from pyrodgm.infer import log_likelihood, unit_variances
from pyrodgm.infer.training.parallel.log_partitions import estimate_log_partitions
from pyrodgm.priors import BoltzmannPrior

IMAGES = torch.rand(23, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).round()


def pair():
    torch.manual_seed(3)
    return small_vae(12, 2, 5, pseudo_inputs=3)


def likelihood(vae, **options):
    return log_likelihood(vae, IMAGES, 200, seed=1, progress=False, **options)


def everything(rank=0):
    vae = pair()
    split = Split(IMAGES, torch.arange(23) % 3)
    results, _ = evaluate(vae, Dataset("made", split, split, split, (1, 12), "binary", "none"), num_samples=200)
    blocks = likelihood(vae, proposal="guide", max_bytes=60_000, keep=True)
    torch.manual_seed(9)
    unseeded = log_likelihood(vae, IMAGES, 20, proposal="guide", progress=False)
    return results, blocks, unit_variances(vae, IMAGES), unseeded.values


@pytest.mark.slow
def test_the_results_do_not_depend_on_the_number_of_processes(tmp_path):
    results, blocks, variances, unseeded = everything()
    for size in (2, 3):
        for found, parts, others, values in run_processes(size, everything, tmp_path):
            assert found.knn_error == results.knn_error
            assert found.active_units == results.active_units
            assert (found.log_likelihood, found.elbo) == pytest.approx((results.log_likelihood, results.elbo))
            for name in ("values", "ess", "k_hat", "stage", "log_weights", "pointwise"):
                torch.testing.assert_close(getattr(parts, name), getattr(blocks, name), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(parts.draws["z"], blocks.draws["z"])
            torch.testing.assert_close(others["z"], variances["z"])
            torch.testing.assert_close(values, unseeded)


def machine():
    torch.manual_seed(3)
    prior = BoltzmannPrior(17, 18, num_chains=2).eval()
    with torch.no_grad():
        prior.weights.copy_(torch.randn(17, 18) / 3)
    return prior


def log_partitions(rank=0):
    prior = machine()
    few, many = (prior.estimate_log_partition(15, count, seed=4) for count in (300, 800))
    with torch.no_grad():
        prior.left_bias.add_(1.0)
    prior.estimate_log_partition = partial(prior.estimate_log_partition, 10, 600)
    if rank == 0:  # another one has not called the prior, and does not know log Z yet
        prior()
    estimate_log_partitions(prior)
    return few, many, prior.log_partition, prior().log_partition


def test_processes_share_the_chains_of_log_partitions(tmp_path):
    few, many, _, later = log_partitions()
    assert few.value != many.value
    alone = machine().machine()
    torch.manual_seed(4)
    assert torch.equal(alone.estimate_log_partition(15, 300).value, few.value)
    for found in run_processes(3, log_partitions, tmp_path):
        for one, other in zip(found[:2], (few, many), strict=True):
            for name in ("value", "standard_error", "ess"):
                torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=1e-12, atol=1e-12)
        assert found[2] == found[3] == later


@pytest.mark.slow
def test_blocks_of_data_have_seeds_of_their_own():
    """The same datum in two blocks gets other draws, and the first block those of the seed itself."""
    vae = pair()
    twice = torch.cat([IMAGES[:1]] * 8)
    parts = log_likelihood(vae, twice, 50, proposal="guide", max_bytes=1, seed=4, progress=False, keep=True)
    draws = parts.draws["z"]
    assert not any(torch.equal(draws[:, 0], draws[:, i]) for i in range(1, 8))
    whole = log_likelihood(vae, twice[:1], 50, proposal="guide", seed=4, progress=False, keep=True)
    assert torch.equal(whole.draws["z"][:, 0], draws[:, 0])
