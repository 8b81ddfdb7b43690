"""The programs of the how-tos run as they stand in docs/howto."""

import importlib.util
import re
import sys
import types

import pytest
import torch
from fresh_process import ROOT, run_python

PAGES = sorted(page for page in (ROOT / "docs" / "howto").glob("*.md") if page.stem not in ("index", "lightning"))
QUICK = ("covariates", "run_folder", "schedules")


def program(page):
    return "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[] if page.stem in QUICK else pytest.mark.slow) for page in PAGES],
)
def test_program_runs(page, capsys, monkeypatch):
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    module = types.ModuleType(f"howto_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # its classes can be imported
    exec(compile(program(page), str(page), "exec"), module.__dict__)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="needs the package lightning")
def test_lightning_trains_a_pair():
    assert "at the last" in run_python("-c", program(ROOT / "docs" / "howto" / "lightning.md")).stdout
