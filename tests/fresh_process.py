"""Programs that tests run in a Python process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
PATIENCE = 1500  # seconds; a busy machine may be twenty times slower than a quiet one


def run_python(*command, cwd=ROOT, **environment):
    """Run ``python *command`` with the threads of this process, and return it when it is done; fails if it does.

    The number of threads decides how matrix products are split, and so their last digits.
    """
    threads = str(torch.get_num_threads())
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": path, **environment}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done
