"""Validated reading of the run folder of a published system."""

import dataclasses
import json
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from torch import nn

from pyrodgm.infer import DamagedFileError, load_weights
from pyrodgm.infer.training.loggers import read_csv

C = TypeVar("C")
METRICS = ("epoch", "train_bound", "valid_bound", "kl_weight")


@dataclass(frozen=True)
class Run:
    """What a run folder says of itself.

    Attributes:
        path: The folder.
        example: Name of the example that trained it.
        arguments: The configuration of that example.
        metrics: Rows of ``metrics.csv``, one an epoch.
        seconds: Seconds that each epoch took.
    """

    path: Path
    example: str
    arguments: dict[str, Any]
    metrics: list[dict[str, float]]
    seconds: list[float]


def describe(example: str, config: Any) -> dict[str, Any]:
    """What :func:`pyrodgm.infer.fit` shall keep as ``config``, so that :func:`read_run` finds it again.

    Args:
        example: Name of the example, as of its file.
        config: A dataclass of numbers, strings, truth values, None and tuples of these.
    """
    return {"example": example, "arguments": asdict(config)}


def read_run(path: Path | str) -> Run:
    """Read the run folder of a published system; its weights are for :func:`load_pair`.

    Raises:
        ValueError: If the run was not written by a published system; :func:`pyrodgm.load_run` reads such runs.
        FileNotFoundError: If the folder or a file in it is missing; names it.
        DamagedFileError: If a file is not what was written there; names it.
    """
    path = Path(path)
    config = read_config(path)
    metrics = _read(path / "metrics.csv", lambda file: _parse_table(file, METRICS))
    times = _read(path / "times.csv", lambda file: _parse_table(file, ("epoch", "seconds")))
    return Run(path, config["example"], config["arguments"], metrics, [row["seconds"] for row in times])


def read_config(path: Path | str) -> dict[str, Any]:
    """What :func:`describe` said of a run, the entries ``example`` and ``arguments``; errors as in :func:`read_run`.

    Raises:
        ValueError: If the run was not written by a published system.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder, so there is no run in it")
    config = _read(path / "config.json", _parse_config)
    if not config:
        raise ValueError(f"{path} is a run of fit, but of no published system: open it with pyrodgm.load_run")
    return config


def restore_config(kind: type[C], run: Run) -> C:
    """The configuration with which a run was begun, as an instance of the example's dataclass.

    An argument that the example did not have when the run was begun takes its default.

    Raises:
        DamagedFileError: If the arguments in ``config.json`` are not those of ``kind``; names file and argument.
    """
    file, hints = run.path / "config.json", typing.get_type_hints(kind)
    arguments = {**_defaults(kind), **_current_names(kind, run.arguments)}
    for name, value in arguments.items():
        if name not in hints:
            raise DamagedFileError(f"{file}: {kind.__name__} of the example {run.example} has no argument {name!r}")
        if not _fits(value, hints[name]):
            raise DamagedFileError(f"{file}: expected {name} to be {hints[name]}, got {value!r}")
    missing = [name for name in _fields(kind) if name not in arguments]
    if missing:
        raise DamagedFileError(f"{file}: the arguments {', '.join(missing)} are missing")
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()})


def check_resumable(path: Path | str, example: str, config: Any, free: tuple[str, ...]) -> None:
    """Make sure that a run, if there is one at ``path``, was begun with this configuration.

    Args:
        path: The run folder.
        example: Name of the example.
        config: Its configuration.
        free: Names of the arguments that need not be the same.

    Raises:
        ValueError: If another argument differs; names each with both values.
    """
    if not (Path(path) / "state.pt").exists():
        return
    changed = changed_arguments(path, example, config, free)
    if changed:
        raise ValueError(f"--resume: the run in {path} was begun with other arguments ({'; '.join(changed)})")


def changed_arguments(path: Path | str, example: str, config: Any, free: tuple[str, ...]) -> list[str]:
    """Arguments in which a run differs from a configuration, each with both values; as of :func:`check_resumable`.

    Raises:
        ValueError: If the run is none of this example.
    """
    old = _read(Path(path) / "config.json", _parse_config)
    new = json.loads(json.dumps(describe(example, config)))
    if not old:
        raise ValueError(f"--run: {path} holds a run of fit, not of the example {example}")
    if old["example"] != example:
        raise ValueError(f"--run: {path} holds a run of the example {old['example']}, not {example}")
    before = {**_defaults(type(config)), **_current_names(type(config), old["arguments"])}
    return [
        f"{name}: was {before.get(name)!r}, is {value!r}"
        for name, value in new["arguments"].items()
        if name not in free and before.get(name) != value
    ]


def _current_names(kind: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments under the names of today."""
    renamed: dict[str, str] = getattr(kind, "RENAMED", {})
    return {renamed.get(name, name): value for name, value in arguments.items()}


def _fields(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _defaults(kind: Any) -> dict[str, Any]:
    """Defaults of a dataclass as JSON gives them back."""
    defaults = {name: field.default for name, field in _fields(kind).items()}
    return json.loads(json.dumps({name: value for name, value in defaults.items() if value is not dataclasses.MISSING}))


def load_pair(run: Run, pair: nn.Module) -> None:
    """Load the best weights of a run into a pair of the same architecture.

    Raises:
        FileNotFoundError: If there are none.
        DamagedFileError: If they are damaged, or not those of such a pair; names the file.
    """

    def load(file: Path) -> None:
        try:
            load_weights(pair, file)
        except RuntimeError as error:
            raise DamagedFileError(f"{file} is not of the pair that config.json describes: {error}") from error

    _read(run.path / "best.safetensors", load)


def _read(file: Path, parse: Callable[[Path], Any]) -> Any:
    """What ``parse`` makes of a file; whatever is wrong with it becomes an error with the file's name."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {file.parent} holds no finished epoch of a run")
    try:
        return parse(file)
    except DamagedFileError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"{file} is damaged: {error}") from error


def _parse_config(file: Path) -> dict[str, Any]:
    config = json.loads(file.read_text(encoding="utf-8"))["config"]
    if isinstance(config, dict) and not {"example", "arguments"} & config.keys():
        return {}
    if not isinstance(config, dict) or not _fits(config.get("example"), str):
        raise ValueError("expected the name of an example in it")
    if not isinstance(config.get("arguments"), dict):
        raise ValueError("expected the arguments of an example in it")
    return config


def _parse_table(file: Path, columns: tuple[str, ...]) -> list[dict[str, float]]:
    rows = read_csv(file)
    missing = [name for name in columns if not rows or name not in rows[0]]
    if missing:
        raise ValueError(f"expected a row per epoch with {', '.join(columns)}; missing are {', '.join(missing)}")
    return rows


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from a JSON file is of a type."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return value is None if hint is type(None) else type(value) is hint
