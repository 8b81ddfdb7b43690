"""Odd and wrong values for each argument of the public functions and classes; ``argument_drill.py`` has the drill."""

import math
from pathlib import Path

import argument_drill
import numpy as np
import pytest
import torch
from argument_calls import LEFT_OUT

from pyrodgm.distributions import Kumaraswamy

SLOW = ("infer.annealed_log_likelihood", "infer.bidirectional", "infer.fit_text")
DOCS = Path(__file__).parents[1] / "docs" / "arguments.md"


def test_every_public_name_is_tried_or_says_why_not():
    known = argument_drill.public_names()
    missing = [name for name in known if name not in argument_drill.CALLS and not argument_drill.is_left_out(name)]
    assert missing == []
    stale = [name for name in LEFT_OUT if name not in known and name not in argument_drill.PACKAGES]
    assert stale == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in argument_drill.CALLS]
)
def test_wrong_values_are_refused_by_name_and_no_result_is_not_finite(name):
    assert argument_drill.try_all(name).faults == []


def test_the_table_in_the_docs_is_that_of_the_code():
    assert argument_drill.table() in DOCS.read_text(), "python benchmarks/odd_arguments.py --table writes it"


def test_the_drill_sees_faults(monkeypatch):
    def careless(size, rate=0.5):
        if size is None:
            raise ValueError("something is wrong")
        return torch.tensor(float(rate)).log()

    monkeypatch.setitem(argument_drill.CALLS, "careless", lambda: {"size": 3, "rate": 0.5})
    monkeypatch.setattr(argument_drill, "resolve", lambda name: careless)
    found = argument_drill.try_all("careless")
    assert any("size='None'" in fault and "something is wrong" in fault for fault in found.faults)
    assert any("rate='nan'" in fault and "not finite" in fault for fault in found.faults)
    assert found.not_finite >= 3
    assert found.values == found.named + found.unnamed + found.finite + found.not_finite


@pytest.mark.parametrize("number", [np.float64(2.0), np.float32(2.0), np.int64(2), torch.tensor(2.0)])
def test_numbers_of_numpy_are_fine_in_distributions(number):
    assert math.isfinite(float(Kumaraswamy(number, number).log_prob(torch.tensor(0.5))))
