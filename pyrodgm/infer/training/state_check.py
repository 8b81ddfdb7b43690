"""Whether a state that was read is one of this run, before anything is changed by it."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

# What optimisers keep for each parameter in its shape; what others keep under other names is not looked at.
SHAPED = (
    "exp_avg",
    "exp_avg_sq",
    "exp_inf",
    "max_exp_avg_sq",
    "momentum_buffer",
    "square_avg",
    "grad_avg",
    "acc_delta",
)
SOMETIMES = {"shards", "kl_weight"}  # entries of runs in several processes, and not of the earliest runs
OPTIMIZERS = {"optimizer", "critic_optimizer"}


def check_state(found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Compare a state with that of a run that has not begun.

    Raises:
        ValueError: If it cannot be of this run; names the entry.
    """
    problem = next(_problems(found, own), None)
    if problem is not None:
        raise ValueError(problem)


def _problems(found: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    if found.keys() - SOMETIMES != own.keys() - SOMETIMES:
        yield f"expected the entries {', '.join(own)}, got {', '.join(map(str, found)) or 'none'}"
        return
    unlike = {"best_weights", "best_bound", "rows", "seconds", "feed", "scheduler", *OPTIMIZERS}
    for name in (own.keys() & found.keys()) - unlike:
        yield from _differs(name, found[name], own[name])
    if found["best_epoch"]:
        yield from _differs("best_weights", found["best_weights"], own["weights"])
    if "shards" in found and not found["shards"]:
        yield "shards must be those of some processes, got none"
    for i, shard in enumerate(found.get("shards", [])):
        yield from _differs(f"shards.{i}", shard, {name: own["weights"].get(name) for name in shard})
    for name in ("rows", "seconds"):
        if not isinstance(found[name], list) or len(found[name]) != found["epoch"]:
            yield f"{name} must be a list of {found['epoch']}, one per epoch"
    for name in OPTIMIZERS & own.keys():
        yield from _optimizer_problems(name, found[name], own)


def _differs(name: str, found: Any, own: Any) -> Iterator[str]:
    if type(found) is not type(own) and not isinstance(own, Mapping | Tensor):
        yield f"{name} must be a {type(own).__name__}, got a {type(found).__name__}"
    elif isinstance(own, Tensor):
        if not isinstance(found, Tensor) or (found.shape, found.dtype) != (own.shape, own.dtype):
            got = f"{list(found.shape)} {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
            yield f"{name} must be a tensor {list(own.shape)} {own.dtype}, got {got}"
    elif isinstance(own, Mapping):
        if not isinstance(found, Mapping) or found.keys() != own.keys():
            yield f"{name} must have the entries {', '.join(own)}"
        else:
            for key in own:
                yield from _differs(f"{name}.{key}", found[key], own[key])


def _optimizer_problems(which: str, found: Any, own: Mapping[str, Any]) -> Iterator[str]:
    groups, expected = found["param_groups"], own[which]["param_groups"]
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in expected]:
        yield f"{which} must have as many groups of as many parameters"
    shapes = {tuple(weight.shape) for weight in own["weights"].values()}
    for index, kept in found["state"].items():
        for name in SHAPED:
            value = kept.get(name)
            if isinstance(value, Tensor) and tuple(value.shape) not in shapes:
                yield f"{which}.state.{index}.{name} has the shape {list(value.shape)}, which no parameter has"
