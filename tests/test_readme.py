"""What a reader copies from README runs, as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from fresh_process import run_python

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
FRESH = "# in another process\n"
FIRST = [number for number, block in enumerate(BLOCKS) if not block.startswith(FRESH)]


def check(printed):
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", printed)]
    assert numbers
    assert all(abs(n) < 100 for n in numbers)


@pytest.mark.slow
@pytest.mark.parametrize("number", FIRST, ids=lambda number: BLOCKS[number].split("\n")[0])
def test_block_runs_and_prints_finite_nats(number, capsys, tmp_path, monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], str(README), "exec"), {"__name__": "__main__"})
    check(capsys.readouterr().out)
    if BLOCKS[number + 1 : number + 2] and BLOCKS[number + 1].startswith(FRESH):  # goes on where this one has ended
        check(run_python("-c", BLOCKS[number + 1], cwd=tmp_path).stdout)


def test_the_programs_seed_before_they_build():
    """The seed of ``fit`` covers training alone."""
    for number in FIRST:
        lines = BLOCKS[number].splitlines()
        seeded = [i for i, line in enumerate(lines) if line in ("pyro.set_rng_seed(0)", "torch.manual_seed(0)")]
        built = [i for i, line in enumerate(lines) if line.startswith(("vae = ", "pair = ", "posterior = "))]
        assert len(seeded) == 1
        assert seeded[0] < built[0]


def test_the_programs_are_short():
    code = [sum(1 for line in block.splitlines() if line.strip()) for block in BLOCKS]
    assert len(code) == 8
    assert max(code[:2]) <= 15
    assert BLOCKS[2].split("\n\n\n")[1].count("\n") <= 10
    assert max(code) <= 35
