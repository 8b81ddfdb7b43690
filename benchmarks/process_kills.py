"""One of two processes that train together is killed, again and again, and torchrun's engine restarts both.

    python benchmarks/process_kills.py --kills 50

Processes are forks, which begin at once; they are those that `torchrun --max-restarts` would start. Each kind of run is
killed at random moments, from before its first step to its last file, until it comes to its end. The weights, best
weights and metrics must then be those of a run that was left alone, in both processes, bit for bit.
"""

import argparse
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.utils.data import DataLoader, TensorDataset

from pyrodgm.infer import FitSettings, fit
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import RBM, VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import StandardNormal
from pyrodgm.processes import collectives

D = 12
BITS = torch.rand(40, D, generator=torch.Generator().manual_seed(1)).round()


def normalised() -> VAE:
    net = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], D)), GaussianPosterior(net))


def machine() -> RBM:
    return RBM(D, 5, num_chains=10, num_sweeps=2)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(BITS), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(4))


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "batch normalisation, a tensor": (normalised, lambda: BITS),
    "persistent chains of each process": (machine, lambda: BITS),
    "loader that shuffles": (normalised, loader),
}


def train(kind: str, folder: str, epochs: int) -> nn.Module:
    warnings.simplefilter("ignore")
    collectives.LEAST_SHARED = 0  # small as they are, these gradients too are summed in shared memory
    torch.manual_seed(0)
    build, data = KINDS[kind]
    pair, settings = build(), FitSettings(progress=False, compile="eager")
    fit(pair, data(), epochs=epochs, batch_size=8, run_dir=folder, settings=settings)
    return pair


def work(kind: str, folder: str, epochs: int) -> None:
    """What each process does: says that it begins, trains, and writes down what came of it."""
    rank, attempt = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    Path(folder, f"begun-{attempt}-{rank}").write_text(str(os.getpid()))
    pair = train(kind, f"{folder}/run", epochs)
    weights = b"".join(value.numpy().tobytes() for value in pair.state_dict().values())
    files = b"".join(Path(folder, "run", name).read_bytes() for name in ("best.safetensors", "metrics.csv"))
    Path(folder, f"outcome-{rank}").write_bytes(weights + files)


def launch(function: Callable[..., None], arguments: tuple[Any, ...], folder: str, restarts: int = 10_000) -> None:
    """Run a function in two processes to its end, and restart both each time that one dies."""
    logging.disable(logging.CRITICAL)  # of each death
    Path(folder, "logs").mkdir()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id=Path(folder).name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        monitor_interval=0.02,
        start_method="fork",
        logs_specs=DefaultLogsSpecs(log_dir=f"{folder}/logs", redirects=Std.ALL),
    )
    elastic_launch(config, _begin)(function, *arguments)


def _begin(function: Callable[..., None], *arguments: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a fork has that of the agent, which waits for operations to end
    function(*arguments)


def kill(folder: str, most: int, seconds: float, seed: int) -> None:
    """Kill one of the processes of each attempt after a random time of up to so many seconds, so many times at most."""
    chance = random.Random(seed)
    for attempt in range(most):
        begun = [Path(folder, f"begun-{attempt}-{rank}") for rank in range(2)]
        while not all(file.exists() and file.read_text() for file in begun):
            time.sleep(0.002)
        time.sleep(chance.uniform(0, seconds))
        rank = chance.randrange(2)
        if Path(folder, f"outcome-{rank}").exists():
            return
        try:
            os.kill(int(begun[rank].read_text()), signal.SIGKILL)
        except ProcessLookupError:
            return
        Path(folder, f"killed-{attempt}").touch()


def outcomes(kind: str, folder: str, epochs: int, most: int = 0, seconds: float = 0.0, seed: int = 0) -> list[bytes]:
    """What each process came to, with up to so many kills on the way."""
    fork = multiprocessing.get_context("fork")
    Path(folder).mkdir()
    killer = fork.Process(target=kill, args=(folder, most, seconds, seed))
    launcher = fork.Process(target=launch, args=(work, (kind, folder, epochs), folder))
    killer.start()
    launcher.start()
    launcher.join()
    killer.kill()
    killer.join()
    if launcher.exitcode:
        raise RuntimeError(f"the run in {folder} was not brought to its end; its logs are in {folder}/logs")
    return [Path(folder, f"outcome-{rank}").read_bytes() for rank in range(2)]


def drill(kind: str, kills: int, seed: int, epochs: int = 20) -> tuple[int, int, bool]:
    """Kill processes of runs of a kind so many times; the number of kills, of runs, and whether all ended alike."""
    killed, same, chance = 0, True, random.Random(seed)
    with tempfile.TemporaryDirectory() as root:
        train(kind, f"{root}/alone", 1)  # whatever is loaded once is not loaded in each process
        whole = outcomes(kind, f"{root}/whole", epochs)
        times = [Path(root, "whole", name).stat().st_mtime for name in ("begun-0-0", "outcome-0")]
        for runs in range(1, 1_000_000):
            folder = f"{root}/{runs}"
            ended = outcomes(kind, folder, epochs, kills - killed, 1.1 * (times[1] - times[0]), chance.getrandbits(32))
            killed += len(list(Path(folder).glob("killed-*")))
            same &= ended == whole
            if killed >= kills:
                break
    return killed, runs, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="number of kills in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of their moments")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    total, differ = 0, 0
    for i, kind in enumerate(KINDS):
        killed, runs, same = drill(kind, (arguments.kills - total) // (len(KINDS) - i), arguments.seed + i)
        total, differ = total + killed, differ + (not same)
        print(f"{kind:36} {killed:3} kills in {runs:3} runs, {'the same' if same else 'DIFFERENT'}", flush=True)
    print(f"{total} kills, {len(KINDS)} kinds, {differ} different")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
