"""Alternating timings of several ways to do the same, in one process."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch


def alternate(ways: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call of each way, the ways taking turns, so that a slower machine slows them all."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            synchronize(device)
            began = time.perf_counter()
            way()
            synchronize(device)
            times[name].append(time.perf_counter() - began)
    return times


class Worker:
    """A process of another checkout or of this one, which times a turn whenever it is asked to.

    Args:
        command: What follows the interpreter: a program that answers each line of its input with seconds.
        paths: Folders that it imports from first; it runs in the first of them.
    """

    def __init__(self, command: list[str], paths: list[Path]) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(path.resolve()) for path in paths)}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            cwd=paths[0],  # which Python puts before all paths
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def turn(self) -> float:
        """Seconds of a call in one turn."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def synchronize(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def first_call(way: Callable[[], object], device: str) -> float:
    """Seconds of one call, with whatever tracing and compiling it brings."""
    return alternate({"first": way}, 1, device)["first"][0]


def report(
    title: str, times: dict[str, list[float]], first: dict[str, float], ours: str, limits: dict[str, float]
) -> dict:
    """Print a table of medians, quartiles and ratios of ``ours`` to the others; returns it for JSON."""
    print(
        f"\n{title}\n| way | median ms | quartiles | first call s | ours / this | at most |\n|---|---|---|---|---|---|"
    )
    rows = {}
    for name, seconds in times.items():
        low, middle, high = (1e3 * q for q in statistics.quantiles(seconds, n=4))
        pairs = [a / b for a, b in zip(times[ours], seconds, strict=True)]
        ratio = statistics.median(pairs)
        limit = f"{limits[name]:.2f}" if name in limits else ""
        rows[name] = {"median_ms": middle, "quartiles_ms": [low, high], "first_s": first[name], "ratio": ratio}
        print(f"| {name} | {middle:.2f} | {low:.2f} - {high:.2f} | {first[name]:.1f} | {ratio:.2f} | {limit} |")
    return rows


def describe_machine(device: str) -> str:
    """One line on hardware and versions."""
    if device.startswith("cuda"):
        where = torch.cuda.get_device_name()
    else:
        where = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def write_json(path: str | None, results: dict) -> None:
    """Write the results to ``path``, if there is one."""
    if path is not None:
        Path(path).write_text(json.dumps(results, indent=2) + "\n")
