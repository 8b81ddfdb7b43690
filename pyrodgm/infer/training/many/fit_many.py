"""Training many models of one shape at once."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.infer.tracing.contexts import flushing_denormals, fork_rng
from pyrodgm.infer.tracing.inference_mode import with_gradients
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.feeds.identity import describe_data
from pyrodgm.infer.training.feeds.make import on_device
from pyrodgm.infer.training.feeds.memory import MemoryFeed
from pyrodgm.infer.training.fit import FitResult, begin, device_of, feed_of, result_of
from pyrodgm.infer.training.loop import CHECK_EVERY, Epoch
from pyrodgm.infer.training.many.member import Member, options_of
from pyrodgm.infer.training.many.stack import Stack, take_out
from pyrodgm.infer.training.nonfinite import nonfinite_parameters
from pyrodgm.infer.training.refusals import refuse_two_players
from pyrodgm.infer.training.settings import FitSettings, Plan, require
from pyrodgm.processes import world


@dataclass(frozen=True)
class Fitted:
    """One of the models that :func:`fit_many` trained.

    Attributes:
        pair: The pair, with its best weights, in evaluation mode.
        result: What its training came to.
    """

    pair: nn.Module
    result: FitResult


@with_gradients()
def fit_many(
    make_pair: Callable[[Any], nn.Module],
    runs: Sequence[int | Mapping[str, Any]],
    data: Any,
    *,
    settings: FitSettings = FitSettings(),
    **options: Any,
) -> list[Fitted]:
    """Train models of one shape together, in one graph of stacked tensors; each comes out as :func:`fit` trains it.

    Small networks spend their time between operations, not in them: eight of them stacked take little longer than one.
    Each model has random numbers, learning rate, KL weight, early stopping and run folder of its own, and equals its
    single run of the same seed to rounding.

    Args:
        make_pair: Called with each of ``runs``, after ``torch.manual_seed`` with its seed, makes a model/guide pair.
            All pairs have tensors of the same names and shapes.
        runs: A seed for each model; or options of :func:`fit` by name that are its own: ``seed``, ``optimizer``,
            ``objective`` (which differ in ``kl_weight`` alone), ``kl_warmup``, ``patience``, ``run_dir``, ``resume``,
            ``settings`` (which differ in ``config`` alone).
        data: What :func:`fit` takes, in memory, on the CPU.
        settings: As in :func:`fit`, the same for all, without ``valid_score``.
        options: Options of :func:`fit` that all models share.

    Returns:
        The trained pairs in the order of ``runs``, each with its result.

    Raises:
        NonFiniteError: If a model stops being finite; names it among ``runs``. All end with it; those that have a
            ``run_dir`` can be resumed.
        ValueError: If the pairs are not of one shape, ``data`` are a stream, several processes work together, or one
            ``run_dir`` is given for all.
        UntraceableError: If an operation of the pair cannot be traced or stacked; names it.

    Example:
        >>> from pyrodgm import datasets
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> def make_pair(seed):
        ...     encoder, decoder = mlp(64, [32], 16), mlp(8, [32], 64)
        ...     return VAE(StandardNormal(8), BernoulliLikelihood(decoder), GaussianPosterior(encoder))
        >>> fitted = fit_many(make_pair, range(3), datasets.load("digits"), epochs=1)
        >>> len({one.result.best_bound for one in fitted})
        3
    """
    callables(make_pair=make_pair)
    if not isinstance(settings, FitSettings):
        raise TypeError(f"settings must be FitSettings, got {settings!r}")
    if isinstance(runs, str) or not isinstance(runs, Sequence):
        raise TypeError(f"runs must be a sequence of seeds or options, got {runs!r}")
    require(len(runs) > 0, "runs", list(runs), "at least one")
    shared = options.get("run_dir")
    each = "named in each of runs, as {'seed': 0, 'run_dir': ...}, where there are several"
    require(shared is None or len(runs) == 1, "run_dir", shared, each)
    require(world().size == 1, "processes", world().size, "1 where models share a graph, as in processes.alone()")
    with ExitStack() as stack:
        stack.enter_context(fork_rng(torch.device("cpu")))
        common = {**options, "settings": settings}
        members = [begin_member(make_pair, run, data, common, stack, f"runs[{i}]") for i, run in enumerate(runs)]
        lengths = {(m.training.steps_per_epoch, m.training.total_steps) for m in members}
        require(len(lengths) == 1, "runs", sorted(lengths), "of as many steps each")
        with flushing_denormals():
            _train(members)
    return [Fitted(member.training.pair, result_of(member.training, member.run_dir)) for member in members]


def begin_member(
    make_pair: Callable[[Any], nn.Module], run: Any, data: Any, common: dict[str, Any], stack: ExitStack, name: str
) -> Member:
    """One of many runs, where it begins or is resumed; ``stack`` closes its records, errors of it have its name."""
    options = {"objective": None, "optimizer": None, "epochs": None, **common, **options_of(run)}
    run_dir, resume = options.pop("run_dir", None), options.pop("resume", False)
    plan = Plan.of(options.pop("objective"), options.pop("optimizer"), **options)
    torch.manual_seed(plan.seed)
    pair, settings = make_pair(run), plan.settings
    refuse_two_players(plan, "where models share a graph")
    require(settings.valid_score is None, "valid_score", settings.valid_score, "None where models share a graph")
    device = device_of(pair, plan)
    require(device.type == "cpu", "device", str(device), "that of the CPU where models share a graph")
    require(settings.accumulate == 1, "accumulate", settings.accumulate, "1 where models share a graph")
    scaled = settings.precision == "fp16-mixed"
    require(not scaled, "precision", settings.precision, "without a scaled loss where models share a graph")

    def feed() -> tuple[Feed, None]:
        made = feed_of(on_device(data, pair), pair, plan)
        require(isinstance(made, MemoryFeed), "data", type(data).__name__, "in memory where models share a graph")
        return made, None

    training, records = begin(pair, feed, plan, run_dir, resume, partial(describe_data, data, settings.valid), stack)
    return Member(training, records, run_dir, f"{name} of seed {plan.seed}")


def _train(members: Sequence[Member]) -> None:
    """Train all to their ends; those that were left behind when a run was killed catch up by themselves."""
    furthest = max(member.training.epoch for member in members)
    for member in members:
        while member.training.epoch < furthest and not member.training.has_ended:
            with member.own_randomness():
                member.records.write(member.training, member.training.run_epoch())
        member.join()
    active: list[Member] = []
    stack: Stack | None = None
    while True:
        going = [member for member in members if not member.training.has_ended]
        if going != active:  # tracing anew for fewer takes less than to train those that have ended on
            stack, active = (Stack(going) if going else None), going
        if stack is None:
            break
        _run_epoch(stack)
        for member in going:
            if member.training.has_ended:
                take_out(member.training.pair)
    for member in members:
        with member.own_randomness():
            member.training.end()


def _run_epoch(stack: Stack) -> None:
    """One epoch of all models."""
    members = stack.members
    epochs = []
    for member in members:
        with member.own_randomness():
            epochs.append(member.training.begin_epoch())
    length = members[0].training.length
    losses = torch.zeros(len(members), length)
    for epoch, row in zip(epochs, losses, strict=True):
        epoch.losses = row
    callbacks = any(member.training.plan.settings.callbacks for member in members)
    for i in range(length):
        inputs = []
        for member in members:
            member.training.schedule_step(i)
            inputs.append(member.next_rows())
        losses[:, i] = _losses(stack, epochs, inputs)
        for member, epoch in zip(members, epochs, strict=True):
            member.training.step.descend()
            member.training.steps += 1
            epoch.sizes[i] = epoch.counts[i] = len(inputs[0][0])
        if callbacks or (i + 1) % CHECK_EVERY == 0 or i + 1 == length:
            for member, epoch in zip(members, epochs, strict=True):
                with member.own_randomness():
                    member.training.look(epoch, i, lambda steps, bound: None)
            if any(member.training.stopped for member in members):
                break
    _end_epoch(stack, epochs)


def _losses(stack: Stack, epochs: Sequence[Epoch], inputs: Sequence[tuple[Tensor, ...]]) -> Tensor:
    """The losses of a step of all models; what a step that checks its values raises is said of the model it is of."""
    try:
        return stack.losses(inputs)
    except (RuntimeError, ValueError):
        for member, epoch in zip(stack.members, epochs, strict=True):
            if nonfinite_parameters(member.training.pair):
                with member.own_randomness():
                    member.training.find_fault(epoch.start)
        raise


def _end_epoch(stack: Stack, epochs: Sequence[Epoch]) -> None:
    """Validate all models at once, and record the epoch of each."""
    first = stack.members[0].training
    if first.feed.validates and first.validates(first.epoch + 1):
        feed = first.feed
        assert isinstance(feed, MemoryFeed)
        assert feed.valid is not None
        for member, bound in zip(stack.members, stack.measure(list(feed.valid())), strict=True):
            member.bound = bound
    for member, epoch in zip(stack.members, epochs, strict=True):
        with member.own_randomness():
            member.records.write(member.training, member.training.end_epoch(epoch))
