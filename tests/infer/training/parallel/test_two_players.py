"""Two players whose batches several processes share."""

from functools import partial

import pytest
import torch
from adversarial_pairs import CASES, data
from process_group import run_processes

from pyrodgm.infer import FitSettings, fit

SHARED = {"gan-Wasserstein": "traced", "aae-vampprior": "eager", "avb-contrast": "eager", "vae_gan-sticks": "eager"}


def trained(case, mode):
    build, objective = CASES[case]
    torch.manual_seed(0)
    pair = build()
    settings = FitSettings(compile=mode, progress=False, critic_steps=2, clip_grad_norm=1.0, steps_per_epoch=2)
    optimizer = partial(torch.optim.SGD, lr=0.1)
    result = fit(pair, data(), epochs=1, batch_size=9, objective=objective, optimizer=optimizer, settings=settings)
    return {name: value.clone() for name, value in pair.state_dict().items()}, result.metrics


@pytest.mark.slow
def test_the_weights_do_not_depend_on_the_number_of_processes(tmp_path):
    expected = {case: trained(case, mode) for case, mode in SHARED.items()}
    for found in run_processes(2, lambda rank: {case: trained(case, mode) for case, mode in SHARED.items()}, tmp_path):
        for case, (weights, rows) in expected.items():
            for name, value in weights.items():
                torch.testing.assert_close(found[case][0][name], value, rtol=1e-10, atol=1e-12, msg=f"{case} {name}")
            for row, other in zip(rows, found[case][1], strict=True):
                assert other == pytest.approx(row, rel=1e-9, nan_ok=True), case
