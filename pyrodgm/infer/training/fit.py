"""Training any model/guide pair, with early stopping, checkpoints and exact resumption."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyro.infer
import torch
from torch import nn

from pyrodgm import plots
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.inference_mode import with_gradients
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.feeds.identity import describe_data
from pyrodgm.infer.training.feeds.make import make_feed, on_device
from pyrodgm.infer.training.fingerprint import fingerprint
from pyrodgm.infer.training.loop import Training
from pyrodgm.infer.training.parallel.refusals import share_feed
from pyrodgm.infer.training.records import Records
from pyrodgm.infer.training.refusals import refuse_what_cannot_train
from pyrodgm.infer.training.resumable import Row
from pyrodgm.infer.training.settings import FitSettings, OptimizerMaker, Plan, refuse_moved, require
from pyrodgm.processes import first, world

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class FitResult:
    """What training came to.

    Attributes:
        metrics: One row per epoch: epoch, step, kl_weight, learning_rate, train_bound, valid_bound (nats per datum)
            and, where there is one, valid_score; the last two are NaN after epochs without validation. For an objective
            of two players, which need be no bound, these are minus the loss of the pair without its discriminator, and
            critic_loss is that of the latter.
        seconds: Seconds that each epoch took in this process, validation included.
        best_epoch: The epoch, from 1, whose weights the pair now has: for an objective of two players without a
            ``valid_score``, the last one.
        best_bound: Its validation bound in nats per datum, or its training bound where there are no validation data;
            its score if it was chosen by ``valid_score``.
        run_dir: The run folder, if any.
    """

    metrics: list[Row]
    seconds: list[float]
    best_epoch: int
    best_bound: float
    run_dir: Path | None

    def plot(self, title: str | None = None) -> "Figure":
        """Bounds on training and validation data by epoch, with the best epoch, and the weight of the KL term."""
        return plots.training_curves(self.metrics, title=title)


def fit(  # noqa: PLR0913 - what everybody uses, by keyword
    pair: nn.Module,
    data: Any,
    *,
    epochs: int | None = None,
    objective: pyro.infer.ELBO | None = None,
    optimizer: OptimizerMaker | None = None,
    batch_size: int = 100,
    kl_warmup: float = 0.0,
    patience: int | None = None,
    seed: int = 0,
    run_dir: Path | str | None = None,
    resume: bool = False,
    settings: FitSettings = FitSettings(),
    **moved: Any,
) -> FitResult:
    """Train a model/guide pair on the bound of an estimator; the pair ends with its best weights, in evaluation mode.

    Args:
        pair: A module with the methods ``model`` and ``guide``. Parts of it that are in evaluation mode while the whole
            is in training mode stay so; frozen parameters are not trained.
        data: The training data, one of these:

            - a :class:`~pyrodgm.datasets.Dataset`, whose validation images choose the weights;
            - a tensor or NumPy array, the one argument of ``model`` and ``guide``, or a tuple of them for several, or a
              dict for keyword arguments (covariates, masks, lengths), each with the data along its first dimension;
            - a torch ``Dataset`` or ``IterableDataset`` whose items are such, or a ``DataLoader`` of them.

            Floating-point numbers get the dtype of the pair, whole numbers int64; in the first argument, bytes and
            truth values become floating-point numbers, and so do whole numbers on which the programs do not run. NaN is
            left to the masks of the model. All but the last kind lie on the device whole and are indexed there.
        epochs: Passes over the training data; may be left out where the settings have ``max_steps``.
        objective: Any :class:`pyro.infer.ELBO` whose loss is a tensor (docs/howto/svi.md); :class:`pyrodgm.infer.ELBO`
            by default.
        optimizer: Makes a torch optimiser from the parameters; fused Adam with learning rate 1e-3 by default.
        batch_size: Data per step; the last batch of a pass may be smaller, and joins the one before it if it is a
            single datum. A ``DataLoader`` has its own.
        kl_warmup: Epochs over which the objective's ``kl_weight`` rises linearly from 0 to its value.
        patience: Epochs without a better validation bound or score, counted after the warm-up, before training stops,
            which it does at a validation.
        seed: Seed of everything random in training; the caller's random state is left as it was. It does not cover the
            initial weights, which are drawn when the pair is built, nor random numbers of NumPy and Python in a user's
            data set.
        run_dir: Folder for ``config.json``, ``pair.json``, ``metrics.csv``, ``times.csv``, ``best.safetensors`` and
            ``state.pt``, for one process at a time; :func:`pyrodgm.load` loads the pair from it.
        resume: Go on from ``state.pt`` if it is there. On the CPU, with as many threads, the result is that of an
            uninterrupted run, bit for bit, however the earlier process ended. Processes that ``torchrun`` restarts
            (``--max-restarts``) go on with their run anyway.
        settings: The rarer options: schedules, validation, labels, clipping, compilation, device, progress.
        moved: No further arguments are taken; those that :class:`FitSettings` holds are named in the error.

    Under ``torchrun`` all processes train this one model: each batch is that of one process, of which each takes rows,
    as docs/scaling.md has it.

    Raises:
        NonFiniteError: If a loss, gradient or parameter stops being finite; it names step and sites. Likewise if the
            validation bound or score is not finite. The pair and the run folder keep the last good state.
        ProgramError: For ``pyro.param`` statements of no parameter of the pair, which an optimiser does not have, and
            for an autoguide with parameters of each datum.
        FileExistsError: If the run folder holds a run, or parts of one, and ``resume`` is false.
        FileNotFoundError: If the run to be resumed has lost its ``state.pt``.
        FolderInUseError: If another run, of this process or another, writes to the folder.
        OSError: If a file cannot be written, on a full disk say; the run can be resumed once there is room.
        TypeError: If an argument is unknown or of the wrong kind, or belongs in ``settings``; says what to pass.
        ValueError: If an argument is out of range, data lie outside the support of their likelihood, or a run is
            resumed with other settings, data or another architecture; names them with both values.
        DamagedFileError: If a file of the run is truncated, altered or of another run; names it.

    Example:
        >>> from pyrodgm import datasets
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(8), BernoulliLikelihood(mlp(8, [32], 64)), GaussianPosterior(mlp(64, [32], 16)))
        >>> result = fit(vae, datasets.load("digits"), epochs=2)
        >>> result.metrics[1]["train_bound"] > result.metrics[0]["train_bound"]
        True
    """
    refuse_moved(moved)
    plan = Plan.of(
        objective,
        optimizer,
        epochs=epochs,
        batch_size=batch_size,
        kl_warmup=kl_warmup,
        patience=patience,
        seed=seed,
        settings=settings,
    )

    def feed() -> tuple[Feed, Callable[[], float] | None]:
        moved_data, score = on_device(data, pair), settings.valid_score
        return feed_of(moved_data, pair, plan), None if score is None else partial(score, pair, moved_data)

    return run(pair, feed, plan, run_dir, resume, partial(describe_data, data, settings.valid))


def feed_of(data: Any, pair: nn.Module, plan: Plan) -> Feed:
    """The feed of data on the device of the pair."""
    settings = plan.settings
    labelled = settings.labelled_batch_size
    return make_feed(data, pair, plan.batch_size, valid=settings.valid, labelled_batch_size=labelled)


@with_gradients()
def run(
    pair: nn.Module,
    feed: Callable[[], tuple[Feed, Callable[[], float] | None]],
    plan: Plan,
    run_dir: Path | str | None,
    resume: bool,
    identity: Callable[[], dict[str, Any]],
) -> FitResult:
    """Train on a feed, which is made with its score once the pair is on its device and the seed is set.

    ``identity`` describes the data for the run folder.
    """
    with fork_rng(device_of(pair, plan)), ExitStack() as stack:
        training, records = begin(pair, feed, plan, run_dir, resume, identity, stack)
        _train(training, plan, records)
        training.end()
    return result_of(training, run_dir)


def device_of(pair: nn.Module, plan: Plan) -> torch.device:
    """Where the pair, which is moved there, is trained.

    Raises:
        ValueError: If it cannot be trained; or TypeError.
    """
    refuse_what_cannot_train(pair, plan)
    if plan.settings.device is not None:
        pair.to(plan.settings.device)
    return next(pair.parameters()).device


def begin(
    pair: nn.Module,
    feed: Callable[[], tuple[Feed, Callable[[], float] | None]],
    plan: Plan,
    run_dir: Path | str | None,
    resume: bool,
    identity: Callable[[], dict[str, Any]],
    stack: ExitStack,
) -> tuple[Training, Records]:
    """A run that is where it begins, or is resumed, with its records; the random state is its own."""
    torch.manual_seed(plan.seed)
    made, score = feed()
    team = world()
    if team.size > 1:
        made = share_feed(made, plan, team)
    decided = made.validates or score is not None
    require(plan.patience is None or decided, "patience", plan.patience, "None: there are no validation data")
    training = Training(pair, made, plan, score)
    decisive = _decisive(plan) | made.identity
    records = Records(stack)
    first(partial(records.open, training, None if run_dir is None else Path(run_dir), resume, decisive, identity))
    training.share_state()
    return training, records


def result_of(training: Training, run_dir: Path | str | None) -> FitResult:
    """What a run that has ended came to."""
    path = None if run_dir is None else Path(run_dir)
    return FitResult(training.rows, training.seconds, training.best_epoch, training.best_bound, path)


def _decisive(plan: Plan) -> dict[str, Any]:
    """What must be the same for a run to be resumed."""
    settings = plan.settings
    return {
        "objective": fingerprint(plan.objective),
        "optimizer": fingerprint(plan.optimizer),
        "lr_scheduler": fingerprint(settings.lr_scheduler),
        "lr_schedule": fingerprint(settings.lr_schedule),
        "parameter_groups": fingerprint(settings.parameter_groups),
        "batch_size": plan.batch_size,
        "labelled_batch_size": settings.labelled_batch_size,
        "valid_score": fingerprint(settings.valid_score),
        "kl_warmup": plan.kl_warmup,
        "patience": plan.patience,
        "clip_grad_norm": settings.clip_grad_norm,
        "seed": plan.seed,
        "steps_per_epoch": settings.steps_per_epoch,
        "accumulate": settings.accumulate,
        "precision": settings.precision,
        **({} if not plan.is_adversarial else _decisive_of_critic(settings)),
    }


def _decisive_of_critic(settings: FitSettings) -> dict[str, Any]:
    return {"critic_optimizer": fingerprint(settings.critic_optimizer), "critic_steps": settings.critic_steps}


def _train(training: Training, plan: Plan, records: Records) -> None:
    """Run epochs until there are enough, or none is better any more."""
    from tqdm.auto import tqdm

    disable = None if plan.settings.progress is None else not plan.settings.progress
    disable = True if world().rank else disable
    with tqdm(total=training.total_steps, initial=training.steps, unit="step", disable=disable) as bar:

        def tick(done: int, bound: float) -> None:
            bar.update(done)
            bar.set_postfix(epoch=training.epoch + 1, train=f"{bound:.2f}", best=f"{training.best_bound:.2f}")

        while not training.has_ended:
            row = training.run_epoch(tick)
            first(partial(records.write, training, row))
