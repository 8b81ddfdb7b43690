"""Results and figures of a run, written into its folder."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset
from pyrodgm.experiment.boltzmann import prior_figures
from pyrodgm.experiment.results import Results, evaluate, spread
from pyrodgm.experiment.run import Run
from pyrodgm.infer import LogLikelihood, reconstruct, sample
from pyrodgm.infer.checkpoint import write_atomically
from pyrodgm.infer.contexts import fork_rng
from pyrodgm.infer.records import write_csv
from pyrodgm.models import DVAE
from pyrodgm.priors import VampPrior


def report(
    pair: nn.Module,
    data: Dataset,
    run: Run,
    *,
    num_samples: int = 5000,
    num_images: int | None = None,
    seed: int = 0,
    figures: bool = True,
    progress: bool | None = None,
) -> tuple[Results, LogLikelihood]:
    """Evaluate the pair of a run; write ``results.json``, ``images.csv`` and, if wanted, figures into ``figures/``.

    A :class:`pyrodgm.models.DVAE` is evaluated with its bits, as published. Arguments and what is returned are those of
    :func:`evaluate`.
    """
    results, likelihood = evaluate(
        _evaluated(pair),
        data,
        num_samples=num_samples,
        num_images=num_images,
        seed=seed,
        seconds=run.seconds,
        progress=progress,
    )
    text = json.dumps(asdict(results), indent=2, allow_nan=False)
    write_atomically(run.path / "results.json", lambda file: file.write_text(text + "\n"))
    rows = spread(len(data.test), len(likelihood.values)).tolist()
    columns = {"log_likelihood": likelihood.values, "ess": likelihood.ess, "k_hat": likelihood.k_hat}
    each = zip(rows, *(column.tolist() for column in columns.values()), strict=True)
    write_csv(run.path / "images.csv", [dict(zip(["image", *columns], row, strict=True)) for row in each])
    if figures:
        write_figures(pair, data, run, likelihood, seed)
    return results, likelihood


def write_figures(pair: nn.Module, data: Dataset, run: Run, likelihood: LogLikelihood, seed: int = 0) -> list[Path]:
    """Write all figures of a run into its folder ``figures/`` as PNG files.

    Args:
        pair: The trained pair.
        data: The data it was trained on.
        run: Its run.
        likelihood: Log-likelihoods of test images.
        seed: Seed of the samples that are shown.

    Returns:
        The files: ``real``, ``reconstructions``, ``samples``, ``log_likelihood``, ``training``; for a VampPrior also
        ``pseudo_inputs`` and ``grown_samples``, for a DVAE ``gibbs_samples`` and ``annealed_samples``.
    """
    whole, pair = pair, _evaluated(pair)
    first = next(pair.parameters())
    shape, name = data.image_shape, data.name
    real = data.test.images[spread(len(data.test), min(100, len(data.test)))].to(first.device, first.dtype)
    few = real[spread(len(real), min(50, len(real)))]
    with fork_rng(first.device):
        torch.manual_seed(seed)
        figures = {
            "real": plots.image_grid(real, shape, title=f"{name}: test images"),
            "reconstructions": plots.reconstructions(
                few, reconstruct(pair, few), shape, title=f"{name}: test images, each with its reconstruction"
            ),
            "samples": plots.image_grid(sample(pair, real), shape, title=f"{name}: samples from the model (means)"),
            "log_likelihood": plots.log_likelihood_histogram(
                likelihood.values,
                dimensions=real.shape[1] if data.num_bins else None,
                title=f"{name}: log-likelihoods of test images",
            ),
            "training": plots.training_curves(run.metrics, title=f"{name}: training"),
        }
        vamp = next((module for module in pair.modules() if isinstance(module, VampPrior)), None)
        if vamp is not None:
            u = vamp.pseudo_inputs.detach()
            chosen = u[spread(len(u), min(8, len(u)))]
            grown = reconstruct(pair, chosen.repeat_interleave(12, 0)).unflatten(0, (len(chosen), 12))
            shown = u[spread(len(u), min(100, len(u)))]
            figures["pseudo_inputs"] = plots.image_grid(shown, shape, title=f"{name}: pseudo-inputs")
            figures["grown_samples"] = plots.grown_samples(
                chosen, grown, shape, title=f"{name}: pseudo-inputs (left) and samples grown from each (means)"
            )
        if isinstance(whole, DVAE):
            figures |= prior_figures(whole, data)
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    for stem, figure in figures.items():
        figure.savefig(folder / f"{stem}.png")
    return [folder / f"{stem}.png" for stem in figures]


def _evaluated(pair: nn.Module) -> nn.Module:
    """The pair that the results are of."""
    return pair.discrete() if isinstance(pair, DVAE) else pair
