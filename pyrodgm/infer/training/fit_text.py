"""Training on a long sequence, in streams of windows."""

from functools import partial
from pathlib import Path
from typing import Any

import pyro.infer

from pyrodgm.arithmetic.arguments import programs, whole_number
from pyrodgm.datasets import Text
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.feeds.identity import describe_data
from pyrodgm.infer.training.feeds.windows import WindowFeed
from pyrodgm.infer.training.fit import FitResult, run
from pyrodgm.infer.training.refusals import refuse_two_players
from pyrodgm.infer.training.settings import FitSettings, OptimizerMaker, Plan, refuse_moved


class TextFitResult(FitResult):
    """What training on a text came to: a :class:`FitResult` in which a datum is a symbol."""

    @property
    def best_bits(self) -> float:
        """Bits per symbol on the validation data, with the weights that the pair now has."""
        return -self.best_bound

    @property
    def best_step(self) -> int:
        """The optimiser step whose weights the pair now has."""
        return int(self.metrics[self.best_epoch - 1]["step"])


def fit_text(  # noqa: PLR0913 - those of fit, and the length
    pair: Any,
    text: Text,
    *,
    epochs: int | None = None,
    length: int = 100,
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
) -> TextFitResult:
    """Train a sequence model on a text by truncated backpropagation; it ends with its best weights, in evaluation mode.

    The text is read in ``batch_size`` streams, window by window, with the state carried over, and again from its
    beginning, with zero states, once it has been read. All options are those of :func:`fit`; an epoch is one reading,
    or ``steps_per_epoch`` windows, after which the next epoch goes on where the last one ended. The fewest bits per
    symbol on the validation part decide which weights are best.

    Args:
        pair: A :class:`~pyrodgm.models.SequenceModel` of symbols.
        text: Its training part is trained on, its validation part is measured.
        epochs: Readings of the training part.
        length: Symbols per window. The objective's loss, of which ``clip_grad_norm`` limits the gradient, is that of
            one window.
        objective: Any :class:`pyro.infer.ELBO`; :class:`pyrodgm.infer.ELBO` by default.
        optimizer: Makes a torch optimiser from the parameters; fused Adam with learning rate 1e-3 by default.
        batch_size: Number of streams.
        kl_warmup: As in :func:`fit`, as are the following.
        patience: Epochs without better weights before training stops.
        seed: Seed of everything random in training.
        run_dir: Folder of the run.
        resume: Whether to go on from a run in it.
        settings: The rarer options; without ``labelled_batch_size``, ``valid`` and ``valid_score``.
        moved: No further arguments are taken.

    Raises:
        NonFiniteError: If a loss or parameter stops being finite.
        FileExistsError: If the run folder holds a run and ``resume`` is false.
        TypeError: If an argument is unknown, or belongs in ``settings``.
        ValueError: If an argument is out of range, the text is too short for one window or its validation part for one
            prediction, or a run is resumed with other settings.
        DamagedFileError: If a file of the run is truncated or altered.
    """
    refuse_moved(moved)
    length = whole_number("length", length)
    if not isinstance(text, Text):
        raise TypeError(f"text must be a Text, got {text!r}")
    if not isinstance(settings, FitSettings):
        raise TypeError(f"settings must be FitSettings, got {settings!r}")
    for name in ("labelled_batch_size", "valid", "valid_score"):
        if getattr(settings, name) is not None:
            raise ValueError(f"{name} must be None for a text, got {getattr(settings, name)!r}")
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

    refuse_two_players(plan, "for a text")
    programs(pair, "model", "guide", "carry")

    def feed() -> tuple[Feed, None]:
        device = next(pair.parameters()).device
        return WindowFeed(pair, text.train.to(device), text.valid.to(device), plan.batch_size, length, seed), None

    result = run(pair, feed, plan, run_dir, resume, partial(describe_data, text))
    pair.carry(0)
    return TextFitResult(**vars(result))
