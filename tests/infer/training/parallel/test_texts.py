"""Texts whose streams several processes divide."""

import pytest
import torch
from process_group import run_processes

from pyrodgm.datasets import Text
from pyrodgm.infer import FitSettings, fit_text
from pyrodgm.models import SequenceModel
from pyrodgm.nn.recurrent import BatchNormLSTM, StickBreakingRNN
from pyrodgm.processes import Share, alone, sharing, world
from pyrodgm.processes.collectives import batch_moments

TEXT = Text.from_strings("abcabdaacbd" * 11, "abcabd" * 3)
STREAMS = 5

NETWORKS = {
    "batch normalisation": lambda: BatchNormLSTM(3, 4, max_positions=4),
    "random numbers of inner steps": lambda: StickBreakingRNN(3, 4, max_steps=2),
}


def trained(run=None, epochs=2, **options):
    found = {}
    for name, network in NETWORKS.items():
        torch.manual_seed(0)
        pair = SequenceModel.of_symbols(network(), len(TEXT.symbols))
        settings = FitSettings(progress=False, compile="eager", steps_per_epoch=2, clip_grad_norm=1.0)
        folder = None if run is None else run / name
        result = fit_text(
            pair, TEXT, epochs=epochs, length=3, batch_size=STREAMS, run_dir=folder, settings=settings, **options
        )  # fmt: skip
        found[name] = {key: value.clone() for key, value in pair.state_dict().items()}, result.metrics
    return found


def assert_same(found, expected):
    for name, (weights, rows) in expected.items():
        for key, value in weights.items():
            torch.testing.assert_close(found[name][0][key], value, rtol=1e-10, atol=1e-12)
        for row, other in zip(rows, found[name][1], strict=True):
            assert row == pytest.approx(other, rel=1e-9)


@pytest.mark.slow
def test_the_weights_do_not_depend_on_the_number_of_processes(tmp_path):
    expected = trained()
    for found in run_processes(2, lambda rank: trained(), tmp_path):
        assert_same(found, expected)
    run_processes(2, lambda rank: trained(tmp_path / "run", 1), tmp_path)
    assert_same(trained(tmp_path / "run", 2, resume=True), expected)  # by one


ROWS = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 1e6


def moments(rank):
    with sharing(Share.of(5, world())) as share:
        x = ROWS[share.rows].clone().requires_grad_()
        variance, mean = batch_moments(x)
        ((variance * 3 + mean).sum() / world().size).backward()
    return variance.detach(), mean.detach(), x.grad, share.counts


def test_moments_of_a_batch_that_processes_share(tmp_path):
    with alone():
        variance, mean, gradient, _ = moments(0)
    torch.testing.assert_close(variance, ROWS.var(0, unbiased=False))
    for size in (2, 6):  # the latter with a row that does not count
        found = run_processes(size, moments, tmp_path)
        for own in found:
            torch.testing.assert_close(own[:2], (variance, mean), rtol=1e-9, atol=0.0)
        parts = torch.cat([grad for _, _, grad, counts in found if counts])
        torch.testing.assert_close(parts, gradient, rtol=1e-8, atol=1e-12)
        assert all(bool((grad == 0).all()) for _, _, grad, counts in found if not counts)
