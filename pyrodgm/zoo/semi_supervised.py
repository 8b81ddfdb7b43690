"""Semi-supervised VAE (Kingma's M2) with Gaussian or stick-breaking latents: classes learned from a few labels.

Nalisnick and Smyth (2017), "Stick-Breaking Variational Autoencoders", arXiv 1605.06197, section 6.2; Kingma et al.
(2014), arXiv 1406.5298.
"""

import math
import statistics
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pyrodgm import datasets, experiment
from pyrodgm.datasets import Dataset, Split
from pyrodgm.infer import SemiSupervisedELBO, classification_error, knn_error
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import BernoulliLikelihood, GaussianLikelihood, GreyBernoulliLikelihood
from pyrodgm.models import SemiSupervisedVAE
from pyrodgm.nn import ResidualDense, StickWeights, joint_mlp, mlp
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, StandardNormal

LIKELIHOODS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "binary": BernoulliLikelihood,
    "grey": GreyBernoulliLikelihood,
    "real": partial(GaussianLikelihood, learn_scale=True),
}


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a semi-supervised VAE, print its test error and that of nearest neighbours."""

    RENAMED: ClassVar[dict[str, str]] = {"latent": "truncation"}

    data: str = "grey_mnist"
    patience: int | None = 30
    num_samples: int = 100
    num_images: int | None = 1000
    num_train: int | None = None
    """Training images, drawn anew for each seed from those of the data set; by default 45,000 of MNIST, else all."""
    num_valid: int | None = None
    """Validation images, drawn likewise from the training images; by default 5,000 of MNIST, else those there are."""
    label_fraction: float = 0.1
    """Share of the training images whose labels are known."""
    stratified: bool = False
    """Choose them class by class."""
    latents: Literal["gaussian", "kumaraswamy", "beta", "gamma", "logit_normal"] = "kumaraswamy"
    """Gaussian latents, or the family of the stick fractions."""
    truncation: int = 50
    """Number of sticks, or of Gaussian dimensions."""
    concentration: float = 5.0
    """Concentration of the stick-breaking prior."""
    hidden: tuple[int, ...] = (500,)
    """Sizes of the ReLU layers of encoder and, in reverse, decoder; with identity skips where two sizes agree."""
    posterior_sees_label: bool = False
    """Let q(z | x, y) see the label, as Kingma et al. have it, not q(z | x)."""
    labelled_batch_size: int | None = 50
    """Labelled images per step, besides the unlabelled ones, or as many as there are; None: each comes about once an
    epoch."""
    labelled_weight: float | None = 0.375
    """Weight of the mean over labelled images, 1 minus that of the mean over unlabelled ones; None: by their number."""
    classifier_weight: float = 5.0
    """Weight of log q(y | x) of labelled images."""
    beta1: float = 0.95
    """Decay rate of Adam's mean gradient."""
    select: Literal["error", "bound"] = "error"
    """What decides which weights are best: the classification error or the bound of the validation images."""
    num_seeds: int = 1
    """Number of runs, with this seed and the next ones, each in its own folder; with --resume, finished ones count."""

    @property
    def title(self) -> str:
        """Data set, latents and share of labels."""
        return f"{self.data} {self.latents} {self.label_fraction:g}"


def load_data(config: Config, root: str | None = None) -> Dataset:
    """The data of one seed: its split, and its choice of labels."""

    def split(name: str, folder: str | None) -> Dataset:
        data = datasets.load(name, folder)
        num_train, num_valid = config.num_train, config.num_valid
        if name in ("mnist", "grey_mnist"):
            num_train, num_valid = num_train or 45_000, num_valid or 5000
        if num_train or num_valid:
            data = datasets.resplit(data, num_train or len(data.train) - (num_valid or 0), num_valid, config.seed)
        return data

    # Cut first: the labels that are left are a share of those of the images that are left.
    data = experiment.load_data(config, root, split)
    return datasets.hide_labels(data, config.label_fraction, config.seed, config.stratified)


def build(config: Config, data: Dataset) -> SemiSupervisedVAE:
    """The untrained pair."""
    pixels = data.train.images.shape[1]
    # Of a class there may be no label left among the training images.
    classes = 1 + max(int(part.labels.max()) for part in (data.train, data.valid, data.test) if part.labels is not None)
    width = config.hidden[-1]
    # The encoder ends with its last hidden layer; classifier and posterior are linear in that.
    encoder = mlp(pixels, config.hidden[:-1], width, layer=ResidualDense)
    inner = config.hidden[-2] if len(config.hidden) > 1 else pixels
    encoder[-1] = ResidualDense(inner, width)
    size = config.truncation
    parameters = 2 * size if config.latents == "gaussian" else 2 * (size - 1)
    head = (
        joint_mlp([width, classes], [width], parameters) if config.posterior_sees_label else mlp(width, [], parameters)
    )
    decoder = joint_mlp([size, classes], config.hidden[::-1], pixels, layer=ResidualDense)
    prior: nn.Module = StandardNormal(size)
    posterior: nn.Module = GaussianPosterior(head)
    if config.latents != "gaussian":
        prior = GEMPrior(size, config.concentration)
        decoder.branches[0] = StickWeights()
        posterior = StickBreakingPosterior(head, config.latents, config.concentration)
    return SemiSupervisedVAE(
        prior=prior,
        likelihood=LIKELIHOODS[data.values](decoder),
        classifier=CategoricalPosterior(mlp(width, [], classes)),
        posterior=posterior,
        num_classes=classes,
        encoder=encoder,
        posterior_sees_label=config.posterior_sees_label,
    )


def labels_of(split: Split) -> Tensor:
    """The labels of a split, ``[N]``.

    Raises:
        ValueError: If it has none.
    """
    if split.labels is None:
        raise ValueError("data must have labels, got none")
    return split.labels


def labelled_images(config: Config, data: Dataset) -> int:
    """Labelled images per step."""
    known = int((labels_of(data.train) >= 0).sum())
    if config.labelled_batch_size is not None:
        return min(config.labelled_batch_size, known)
    steps = math.ceil((len(data.train) - known) / config.batch_size)
    return max(1, round(known / steps)) if steps else min(config.batch_size, known)


def negative_error(pair: nn.Module, data: Dataset) -> float:
    """The score of validation images that decides which weights are best."""
    return -classification_error(pair, data.valid.images, labels_of(data.valid))


def neighbours_error(data: Dataset) -> float:
    """Error of the five nearest labelled training images, by pixels."""
    labels, truth = labels_of(data.train), labels_of(data.test)
    known, seen = labels >= 0, truth >= 0
    k = min(5, int(known.sum()))
    return knn_error(data.train.images[known], labels[known], data.test.images[seen], truth[seen], k)


def objective(config: Config) -> SemiSupervisedELBO:
    """The weighted bounds of labelled and unlabelled images."""
    return SemiSupervisedELBO(config.labelled_weight, config.classifier_weight)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, betas=(config.beta1, 0.999), fused=True)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """Labelled images per step, and the score that chooses the weights."""
    return {
        "labelled_batch_size": labelled_images(config, data),
        "valid_score": negative_error if config.select == "error" else None,
    }


def train(config: Config) -> Generator[str, None, tuple[float, float]]:
    """Train one seed and yield its results; returns its error and that of nearest neighbours, in per cent."""
    trained = experiment.train(SYSTEM, config, experiment.report)
    results = trained.report.results
    assert results.classification_error is not None  # the test images have labels
    error, neighbours = 100 * results.classification_error, 100 * neighbours_error(trained.data)
    yield experiment.summary(config, results)
    yield f"test error {error:.2f} %, of 5 nearest neighbours {neighbours:.2f} %"
    return error, neighbours


def main(config: Config) -> Iterator[str]:
    """Train all seeds and yield the results of each and their mean."""
    runs = []
    for seed in range(config.seed, config.seed + config.num_seeds):
        folder = config.run and f"{config.run}-{seed}" if config.num_seeds > 1 else config.run
        runs.append((yield from train(replace(config, seed=seed, run=folder, num_seeds=1))))
    if config.num_seeds > 1:
        errors, neighbours = zip(*runs, strict=True)
        seeds = f"{config.title}, {config.num_seeds} seeds"
        yield f"{seeds}: test error {_mean(errors)} %, 5 nearest neighbours {_mean(neighbours)} %"


def _mean(values: tuple[float, ...]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


SYSTEM = experiment.ImageSystem(
    "semi_supervised",
    Config,
    build,
    objective,
    optimizer,
    main,
    settings,
    load_data=load_data,
    values=tuple(LIKELIHOODS),
    own_seeds=True,
)
