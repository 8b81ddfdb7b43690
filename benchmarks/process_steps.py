"""Steps of several processes that share a batch: what they send, and how long they take beside those of one.

    python benchmarks/process_steps.py volume
    python benchmarks/process_steps.py time --sizes 1 2 4

`volume` counts the bytes that go into collective operations in a step of each family of models, beside those of its
gradient. `time` has, for the published VAE of static MNIST's size, steps of N processes with 100 rows each, steps
of one of them by itself with 100 rows, steps of all at once without a word to each other, and the sum of a gradient by
itself, in shared memory and by messages, in turns, one thread each; and the memory of a process.
"""

import argparse
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn

from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import ELBO, IWELBO, FitSettings
from pyrodgm.infer.tracing._compat import TorchDispatchMode, tree_leaves
from pyrodgm.infer.training.fit import begin, feed_of
from pyrodgm.infer.training.loop import Training
from pyrodgm.infer.training.settings import Plan
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import NormalizedDense, StickWeights, mlp
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import ExemplarPrior, GEMPrior, StandardNormal, VampPrior
from pyrodgm.processes import alone, collectives, world
from pyrodgm.processes.collectives import step_sums
from pyrodgm.processes.shared_sums import SharedSums
from pyrodgm.zoo.pairs import discrete_vae

PIXELS, LATENT, HIDDEN, ROWS = 784, 40, [300, 300], 100
IMAGES = torch.rand(2000, PIXELS, generator=torch.Generator().manual_seed(1)).round()
DATA = Dataset("made", Split(IMAGES), Split(IMAGES[:0]), Split(IMAGES[:0]), (1, 28, 28), "binary", "none")


def vae(prior: Callable[[nn.Module], nn.Module] = lambda posterior: StandardNormal(LATENT), **options: Any) -> VAE:
    posterior = GaussianPosterior(mlp(PIXELS, HIDDEN, 2 * LATENT, **options))
    return VAE(prior(posterior), BernoulliLikelihood(mlp(LATENT, HIDDEN, PIXELS, **options)), posterior)


def sticks() -> VAE:
    posterior = StickBreakingPosterior(mlp(PIXELS, HIDDEN, 2 * LATENT), "gamma", concentration=3.0)
    decoder = nn.Sequential(StickWeights(), *mlp(LATENT + 1, HIDDEN, PIXELS))
    return VAE(GEMPrior(LATENT + 1, 3.0), BernoulliLikelihood(decoder), posterior)


def machine() -> nn.Module:
    return discrete_vae("dvaes_power", "1-layer-nonlin", IMAGES.mean(0), 10.0, num_chains=100, num_sweeps=1)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "VAE, gated layers": vae,
    "VampPrior, 500 pseudo-inputs": lambda: vae(lambda q: VampPrior.around_mean(q, 500, IMAGES.mean(0))),
    "exemplar prior, 10 neighbours": lambda: vae(lambda q: ExemplarPrior(q, IMAGES, num_neighbours=10)),
    "batch normalisation": lambda: vae(layer=NormalizedDense),
    "stick-breaking, Gamma fractions": sticks,
    "DVAE#, 100 x 100 machine and BN": machine,
}


ADD_UP = SharedSums.__call__


class Sent(TorchDispatchMode):
    """Counts the bytes of tensors that go into collective operations and into sums in shared memory."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.messages = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, found = self.messages, func(*args, **(kwargs or {}))
        sums = func is torch.ops.pyrodgm.all_sum.default  # within a traced step
        if (func.namespace == "c10d" or sums) and self.messages == before:
            self.count(tree_leaves(args[0]))
        return found

    def count(self, tensors: Iterable[Any]) -> None:
        self.messages += 1
        self.bytes += sum(x.nbytes for x in tensors if isinstance(x, torch.Tensor))

    def shared(self, sums: SharedSums, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        self.count(tensors)
        return ADD_UP(sums, tensors)


def training_of(make: Callable[[], nn.Module], rows: int, stack: ExitStack) -> Training:
    """A run of the processes that work together, or of one that is alone, with so many rows in a batch."""
    torch.manual_seed(0)
    pair, settings = make(), FitSettings(progress=False, compile="traced")
    objective = IWELBO(2) if make is machine else ELBO()
    plan = Plan.of(objective, None, epochs=10**6, batch_size=rows, settings=settings)
    training, _ = begin(pair, lambda: (feed_of(DATA, pair, plan), None), plan, None, False, dict, stack)
    return training


def volume(name: str) -> tuple[int, int, int]:
    """Bytes of the gradient, bytes that a step sends, and in how many messages."""
    with ExitStack() as stack:
        training = training_of(FAMILIES[name], ROWS, stack)
        training.one_step(0)
        with Sent() as sent, patch.object(SharedSums, "__call__", lambda *args: sent.shared(*args)):
            training.one_step(0)
        gradient = sum(p.grad.nbytes for p in training.pair.parameters() if p.grad is not None)
    return gradient, sent.bytes, sent.messages


def times(rounds: int, steps: int = 10) -> tuple[list[list[tuple[float, float]]], float]:
    """Seconds in turns, of the clock and of this process on a core, and the megabytes of this process.

    They are those of a step of all processes together, of the first alone, of all at once, each by itself, and those of
    the sum of a gradient, in shared memory and by messages.
    """
    with ExitStack() as stack:
        together = training_of(vae, ROWS * world().size, stack)
        with alone():
            single = training_of(vae, ROWS, stack)
        flat = torch.zeros(sum(p.numel() for p in single.pair.parameters()))
        acts: list[Callable[[int], Any]] = [together.one_step, single.one_step, single.one_step]
        if dist.is_initialized():
            acts += [lambda i: step_sums([flat]), lambda i: dist.all_reduce(flat)]
        found: list[list[tuple[float, float]]] = [[] for _ in range(5)]
        for turn in range(-1, rounds):
            for act, kept in zip(acts, found, strict=False):
                if dist.is_initialized():
                    dist.barrier()
                if kept is found[1] and world().rank:
                    continue
                began, on_core = time.perf_counter(), time.process_time()
                for i in range(steps):
                    act(i)
                if turn >= 0:
                    kept.append(((time.perf_counter() - began) / steps, (time.process_time() - on_core) / steps))
        file = Path("/proc/self/smaps_rollup")
        memory = int(re.search(r"Pss:\s+(\d+)", file.read_text())[1]) / 1024 if file.exists() else float("nan")  # type: ignore[index]
    return found, memory


def run(size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function gives in each of so many processes, which are a group on the loopback interface."""
    fork = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as folder:
        processes = [fork.Process(target=_run, args=(rank, size, folder, function, arguments)) for rank in range(size)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return [torch.load(f"{folder}/{rank}.pt") for rank in range(size)]


def _run(rank: int, size: int, folder: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=size)
    torch.save(function(*arguments), f"{folder}/{rank}.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["volume", "time"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2], help="numbers of processes")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of ten steps each")
    parser.add_argument("--messages", action="store_true", help="sum gradients by messages, as on several machines")
    arguments = parser.parse_args()
    if arguments.messages:
        collectives.LEAST_SHARED = 2**62
    if arguments.what == "volume":
        titles = ("parameters", "gradient, B", "sent, B", "more, B", "messages")
        print(f"{'a step of two processes':32}" + "".join(f"{title:>14}" for title in titles))
        for name in FAMILIES:
            gradient, sent, count = run(2, volume, name)[0]
            numbers = (gradient // 4, gradient, sent, sent - gradient, count)
            print(f"{name:32}" + "".join(f"{number:>14,}" for number in numbers))
        return
    for size in arguments.sizes:
        (together, single, apart, *sums), memory = run(size, times, arguments.rounds)[0]
        ratios, cores = (sorted(a[i] / b[i] for a, b in zip(together, single, strict=True)) for i in range(2))
        low, middle, high = ratios[len(ratios) // 10], statistics.median(ratios), ratios[-1 - len(ratios) // 10]
        steps, added = (
            [f"{1e3 * statistics.median(seconds for seconds, _ in turns):.2f} ms" for turns in kinds if turns]
            for kinds in ((together, single, apart), sums)
        )
        print(
            f"{size} processes of {ROWS} rows each: {steps[0]} a step, one alone {steps[1]}, ratio {middle:.3f} "
            f"(80 % of the rounds: {low:.3f} to {high:.3f}), of time on a core {statistics.median(cores):.3f}; all at "
            f"once, each by itself, {steps[2]}; the sum, shared and sent: {', '.join(added) or 'none'}; "
            f"{memory:.0f} MB a process"
        )


if __name__ == "__main__":
    main()
