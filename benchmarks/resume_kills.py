"""Runs of every kind of data and system, killed at random moments and resumed: do they end the same, bit for bit?

    python benchmarks/resume_kills.py --kills 200 --seed 0

Each run is trained once without interruption. Then it is trained again in child processes, each of which is sent
SIGKILL after a random share of the time that the whole run took, until one comes to its end. Its weights, metrics and
best weights must be those of the first run. Prints a line for each kind with the number of kills and of files left half
written, and exits 1 if a run differs.
"""

import argparse
import importlib
import importlib.util
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pyrodgm.datasets import Dataset, Split, Text
from pyrodgm.distributions import GaussianSmoothing, RelaxedBoltzmann
from pyrodgm.infer import ELBO, IWELBO, FitSettings, SemiSupervisedELBO, fit, fit_text
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE, DensityNetwork, SemiSupervisedVAE, SequenceModel
from pyrodgm.nn import StickWeights, joint_mlp, mlp
from pyrodgm.nn.recurrent import RecurrentNetwork, StickBreakingRNN
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import BoltzmannPrior, ExemplarPrior, GEMPrior, MixtureOfGaussians, StandardNormal, VampPrior
from pyrodgm.zoo.pairs import Structure, dense_dlgmm, dense_hvae, discrete_vae

D, Z, N = 12, 3, 40
IMAGES = torch.rand(N, D, generator=torch.Generator().manual_seed(1))
BITS = IMAGES.round()
TEXT = Text.from_strings("the cat sat on the mat. " * 20, "the mat sat on the cat. " * 4)


def posterior() -> GaussianPosterior:
    return GaussianPosterior(mlp(D, [8], 2 * Z))


def decoder() -> BernoulliLikelihood:
    return BernoulliLikelihood(mlp(Z, [8], D))


def vamp() -> VAE:
    q = posterior()
    return VAE(VampPrior(q, IMAGES[:4]), decoder(), q)


def normalised() -> VAE:
    net = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2 * Z))
    return VAE(StandardNormal(Z), decoder(), GaussianPosterior(net))


def tied() -> VAE:
    first = nn.Linear(D, Z)
    encoder = nn.Sequential(first, nn.Tanh(), nn.Linear(Z, 2 * Z))
    decoding = nn.Linear(Z, D)
    decoding.weight = nn.Parameter(first.weight.detach().T.contiguous())
    encoder[0].bias = nn.Parameter(torch.zeros(Z))
    shared = nn.Linear(Z, Z)
    return VAE(
        StandardNormal(Z), BernoulliLikelihood(nn.Sequential(shared, shared, decoding)), GaussianPosterior(encoder)
    )


def exemplar() -> nn.Module:
    return dense_hvae(lambda q: ExemplarPrior(q, IMAGES, num_neighbours=3), D, (2, Z), 8)


def chains() -> VAE:
    relaxation = partial(RelaxedBoltzmann, smoothing=GaussianSmoothing(4.0), num_iterations=5)
    return VAE(BoltzmannPrior(1, 2, relaxation, "pcd", 20, 1), decoder(), posterior())


def dvae() -> nn.Module:
    return discrete_vae("dvaes_power", Structure(2, 2, (8,)), IMAGES.mean(0), 3.0, num_chains=10, num_sweeps=2)


def sticks() -> VAE:
    q = StickBreakingPosterior(mlp(D, [8], 2 * Z), concentration=3.0)
    decoding = nn.Sequential(StickWeights(), *mlp(Z + 1, [8], D))
    return VAE(GEMPrior(Z + 1, 3.0, learn=True), BernoulliLikelihood(decoding), q)


def semi_supervised() -> SemiSupervisedVAE:
    head, decoding = joint_mlp([D, 3], [8], 2 * Z), joint_mlp([Z, 3], [8], D)
    parts = StandardNormal(Z), BernoulliLikelihood(decoding), CategoricalPosterior(mlp(D, [8], 3))
    return SemiSupervisedVAE(*parts, GaussianPosterior(head), num_classes=3)


class Endless(IterableDataset):  # type: ignore[type-arg]
    """A stream of unknown length."""

    def __iter__(self) -> Iterator[Tensor]:
        source = torch.Generator().manual_seed(2)
        while True:
            yield torch.rand(D, generator=source).round()


def grey() -> Dataset:
    return Dataset.from_tensors(IMAGES, valid=IMAGES[:10], binarization="dynamic")


def labelled() -> Dataset:
    labels = torch.arange(N) % 4 - 1  # -1 where a label is missing
    return Dataset.from_tensors(Split(BITS, labels), valid=Split(BITS[:10], labels[:10]))


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(BITS), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(4))


def run(build: Callable[[], nn.Module], data: Callable[[], Any], folder: str, resume: bool, **options: Any) -> Any:
    torch.manual_seed(0)
    pair = build()
    settings = FitSettings(**{"progress": False, "compile": "eager", **options.pop("settings", {})})
    fit(pair, data(), **{"epochs": 4, "batch_size": 8, **options}, run_dir=folder, resume=resume, settings=settings)
    return pair


def run_text(kind: Callable[[], nn.Module], folder: str, resume: bool) -> Any:
    torch.manual_seed(0)
    pair = SequenceModel.of_symbols(kind(), len(TEXT.symbols))
    settings = FitSettings(progress=False, compile="eager", steps_per_epoch=5)
    fit_text(pair, TEXT, epochs=4, batch_size=4, length=10, run_dir=folder, resume=resume, settings=settings)
    return pair


plateau = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, mode="max", patience=0)

KINDS: dict[str, Callable[[str, bool], Any]] = {
    "VampPrior, images binarised anew": partial(run, vamp, grey, objective=ELBO(), kl_warmup=2.0, patience=3),
    "batch normalisation, traced": partial(run, normalised, grey, settings={"compile": "traced"}),
    "tied layers, a tensor": partial(run, tied, lambda: BITS),
    "exemplars of all images": partial(run, exemplar, grey),
    "Boltzmann machine, persistent chains": partial(run, chains, grey, objective=IWELBO(2)),
    "discrete VAE": partial(run, dvae, grey, objective=IWELBO(2)),
    "stick-breaking, plateau": partial(run, sticks, grey, settings={"lr_scheduler": plateau}),
    "partly labelled": partial(
        run, semi_supervised, labelled, objective=SemiSupervisedELBO(), settings={"labelled_batch_size": 4}
    ),
    "latent mixture, accumulated": partial(
        run, lambda: dense_dlgmm(D, num_components=3, latent=Z, hidden=(8,)), grey, settings={"accumulate": 2}
    ),
    "density network, arrays": partial(
        run, lambda: DensityNetwork(MixtureOfGaussians(Z, 3), decoder()), BITS.numpy, objective=IWELBO(5)
    ),
    "loader that shuffles": partial(run, vamp, loader),
    "endless stream": partial(run, vamp, Endless, settings={"steps_per_epoch": 5}),
    "steps across passes": partial(run, vamp, grey, epochs=None, settings={"max_steps": 17, "steps_per_epoch": 3}),
    "text, LSTM": partial(run_text, lambda: RecurrentNetwork(4, 8)),
    "text, adaptive steps": partial(run_text, lambda: StickBreakingRNN(4, 8, max_steps=2)),
}


def outcome(folder: str, pair: nn.Module) -> bytes:
    """What must not differ: the weights that training returns, the best ones and the metrics on disk."""
    weights = b"".join(value.numpy().tobytes() for value in pair.state_dict().values())
    return weights + b"".join(Path(folder, name).read_bytes() for name in ("best.safetensors", "metrics.csv"))


def in_child(work: Callable[[], None], patience: float | None = None) -> bool:
    """Run in a forked process; kill it after so many seconds. Whether it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if patience is not None:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("a resumed run failed, see above")
    return os.WIFEXITED(status)


def kill_and_resume(name: str, kills: int, chance: random.Random) -> tuple[int, int, bool]:
    """Kill runs of a kind so many times; the number of kills, of torn files, and whether all ended alike."""
    train, killed, torn, same = KINDS[name], 0, 0, True
    with tempfile.TemporaryDirectory() as root:
        whole = f"{root}/whole"

        def finish(folder: str) -> None:
            Path(folder, "outcome").write_bytes(outcome(folder, train(folder, True)))

        began = time.perf_counter()
        in_child(partial(finish, whole))
        seconds = time.perf_counter() - began
        for i in range(1_000_000):
            if killed >= kills:
                break
            folder = f"{root}/{i}"
            while killed < kills and not in_child(partial(finish, folder), chance.uniform(0, 1.1 * seconds)):
                killed += 1
                torn += len(list(Path(folder).glob("*.part")))
            in_child(partial(finish, folder))
            same &= Path(folder, "outcome").read_bytes() == Path(whole, "outcome").read_bytes()
    return killed, torn, same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="number of kills in all")
    parser.add_argument("--seed", type=int, default=0, help="seed of their moments")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for module in ("safetensors.torch", "tqdm.auto", "torch.utils.tensorboard"):  # once, not in each child
        if module != "torch.utils.tensorboard" or importlib.util.find_spec("tensorboard"):
            importlib.import_module(module)
    warnings.simplefilter("ignore")
    chance, total, differ = random.Random(arguments.seed), 0, 0
    for i, name in enumerate(KINDS):
        share = (arguments.kills - total) // (len(KINDS) - i)
        killed, torn, same = kill_and_resume(name, share, chance)
        total, differ = total + killed, differ + (not same)
        print(f"{name:40} {killed:4} kills, {torn:3} torn files, {'the same' if same else 'DIFFERENT'}", flush=True)
    print(f"{total} kills, {len(KINDS)} kinds, {differ} different")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
