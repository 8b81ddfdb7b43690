"""Results and figures of a run, written into its folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset
from pyrodgm.experiment.boltzmann import prior_figures
from pyrodgm.experiment.latent_figures import latent_figures
from pyrodgm.experiment.mixture_figures import mixture_figures
from pyrodgm.experiment.results import Results, evaluate, has_bits, knn_summary, spread, table
from pyrodgm.experiment.run import Run
from pyrodgm.infer import LogLikelihood, reconstruct, sample, unit_variances
from pyrodgm.infer.estimators.sites import samples
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng
from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.infer.training.loggers import write_csv
from pyrodgm.likelihoods import PixelCNNLikelihood
from pyrodgm.models import DVAE
from pyrodgm.priors import ExemplarPrior, VampPrior

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Report(NamedTuple):
    """Results of a pair on the test images, and the log-likelihood of each of these."""

    results: Results
    likelihood: LogLikelihood


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
) -> Report:
    """Evaluate the pair of a run, write ``results.json``, ``log_likelihood.csv`` and, if wanted, ``figures/``.

    A :class:`pyrodgm.models.DVAE` is evaluated with its bits, as published. Arguments and what is returned are those of
    :func:`evaluate`.
    """
    results, likelihood = evaluate(
        evaluated_pair(pair),
        data,
        num_samples=num_samples,
        num_images=num_images,
        seed=seed,
        seconds=run.seconds,
        progress=progress,
    )
    text = json.dumps(asdict(results), indent=2, allow_nan=False)
    write_atomically(run.path / "results.json", lambda file: file.write_text(text + "\n"))
    rows = spread(len(data.test), results.num_images)
    columns = {"image": rows, "log_likelihood": likelihood.values, "ess": likelihood.ess, "k_hat": likelihood.k_hat}
    lists = [values.tolist() for values in columns.values()]
    write_csv(
        run.path / "log_likelihood.csv", [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    )
    if figures:
        write_figures(pair, data, run, likelihood, seed)
    return Report(results, likelihood)


def text_report(pair: nn.Module, data: Dataset, run: Run, **options: Any) -> str:
    """:func:`report` with its results as text: a row of the table and the errors of classifications."""
    results = report(pair, data, run, **options).results
    text = table({run.path.name: results}) + knn_summary(results)
    if results.classification_error is not None:
        text += f"\n{100 * results.classification_error:.2f} % of all test images are classified wrongly"
    return text


def write_figures(pair: nn.Module, data: Dataset, run: Run, likelihood: LogLikelihood, seed: int = 0) -> list[Path]:
    """Write all figures of a run into its folder ``figures/`` as PNG files.

    Args:
        pair: The trained pair.
        data: The data it was trained on.
        run: Its run.
        likelihood: Log-likelihoods of test images.
        seed: Seed of the samples that are shown.

    Returns:
        The files: ``real``, ``reconstructions``, ``samples``, ``log_likelihood``, ``training``, ``active_units``; for a
        VampPrior ``pseudo_inputs``, for an exemplar prior ``exemplars``, with ``grown_samples`` for both; for a DVAE
        ``gibbs_samples`` and ``annealed_samples``; and those of :func:`latent_figures` and :func:`mixture_figures`.
    """
    whole, pair = pair, evaluated_pair(pair)
    first = next(pair.parameters())
    shape, name = data.image_shape, data.name
    real = data.test.images[spread(len(data.test), min(100, len(data.test)))].to(first.device, first.dtype)
    few = real[spread(len(real), min(50, len(real)))]
    many = data.test.images[spread(len(data.test), min(1000, len(data.test)))]
    kind = _kind(pair)
    with fork_rng(first.device):
        torch.manual_seed(seed)
        figures = {
            "real": plots.image_grid(real, shape, title=f"{name}: test images"),
            "reconstructions": plots.reconstructions(
                few, reconstruct(pair, few), shape, title=f"{name}: test images, each with its reconstruction"
            ),
            "samples": plots.image_grid(sample(pair, real), shape, title=f"{name}: samples from the model{kind}"),
            "log_likelihood": plots.log_likelihood_histogram(
                likelihood.values,
                dimensions=real.shape[1] if has_bits(pair, data) else None,
                title=f"{name}: log-likelihoods of test images",
            ),
            "training": plots.training_curves(run.metrics, title=f"{name}: training"),
            "active_units": plots.unit_activities(
                unit_variances(pair, many), title=f"{name}: what latent dimensions say about {len(many)} test images"
            ),
        }
        for prior in pair.modules():
            if isinstance(prior, VampPrior):
                figures |= _seeds(pair, prior, prior.pseudo_inputs.detach(), data, "pseudo-inputs")
            elif isinstance(prior, ExemplarPrior):
                figures |= _seeds(pair, prior, prior.exemplars, data, "exemplars")
        figures |= latent_figures(pair, data, seed) | mixture_figures(pair, data)
        if isinstance(whole, DVAE):
            figures |= prior_figures(whole, data)
    folder = run.path / "figures"
    folder.mkdir(exist_ok=True)
    for stem, figure in figures.items():
        figure.savefig(folder / f"{stem}.png")
    return [folder / f"{stem}.png" for stem in figures]


def evaluated_pair(pair: nn.Module) -> Any:
    """The pair that the results of a trained pair are of: itself, or a :class:`pyrodgm.models.DVAE` with its bits."""
    return pair.discrete() if isinstance(pair, DVAE) else pair


def _seeds(
    pair: Any, prior: VampPrior | ExemplarPrior, images: Tensor, data: Dataset, what: str
) -> dict[str, "Figure"]:
    """Figures of the images that make a prior's components, and of samples from some of these components."""
    shown, chosen = (images[spread(len(images), min(count, len(images)))] for count in (100, 8))
    like = chosen.repeat_interleave(12, 0)
    with evaluating(pair):
        # The program with its data given has the same latents, and draws no image.
        top = samples(poutine.trace(pair.model).get_trace(like[:1]))[0]["name"]
        z = prior.component(like).sample()
    grown = sample(pair, like, {top: z}).unflatten(0, (len(chosen), 12))
    title = f"{data.name}: {what} (left) and samples grown from each{_kind(pair)}"
    return {
        what.replace("-", "_"): plots.image_grid(shown, data.image_shape, title=f"{data.name}: {what}"),
        "grown_samples": plots.grown_samples(chosen, grown, data.image_shape, title=title),
    }


def _kind(pair: nn.Module) -> str:
    """What the images of a pair's predictions show; pixels that depend on each other have no mean."""
    return "" if any(isinstance(module, PixelCNNLikelihood) for module in pair.modules()) else " (means)"
