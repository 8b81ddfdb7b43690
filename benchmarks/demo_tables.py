"""The table of `make demo-distributed` beside that of `make demo`: every digit but the seconds must be the same.

python benchmarks/demo_tables.py
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def table(text: str) -> str:
    """The results among the lines that the demonstration prints, without seconds an epoch and folders."""
    lines = [line for line in text.splitlines() if re.search(r"test log p\(x\)|±", line)]
    return "\n".join(re.sub(r"\s+(s/epoch|[\d.]+(e-\d+)?)$", "", line) for line in lines)


def run(launch: list[str], flags: list[str]) -> tuple[str, float]:
    """The table that a way to launch the demonstration prints, and its seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *launch, str(DEMO), *(["--"] if launch else []), "--run", f"{folder}/run", *flags]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return table(done.stdout), time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flags", nargs="*", help="flags of the demonstration, after --")
    flags = parser.parse_args().flags
    one, alone = run([], flags)
    two, together = run(LAUNCH, flags)
    print(f"one process, {alone:.0f} s\n{one}\n\ntwo processes, {together:.0f} s\n{two}\n")
    print("the same" if one == two else "DIFFERENT")
    sys.exit(one != two)


if __name__ == "__main__":
    main()
