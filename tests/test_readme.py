"""What a reader copies from README runs, as it stands there."""

import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0])
def test_block_runs_and_prints_finite_nats(block, capsys):
    torch.set_default_dtype(torch.float32)
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", capsys.readouterr().out)]
    assert numbers
    assert all(abs(n) < 100 for n in numbers)


def test_the_programs_are_short():
    code = [sum(1 for line in block.splitlines() if line.strip()) for block in BLOCKS]
    assert len(code) == 4
    assert max(code[:2]) <= 15
    assert BLOCKS[2].split("\n\n\n")[1].count("\n") <= 10
