"""What is wrong with the arguments of a subcommand, in one line that names the flag."""

import dataclasses
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.infer import DamagedFileError, FolderInUseError

# The smallest whole number of a flag where that is not 1; None for no limit.
LEAST = {"seed": None, "chains": 2, "states": 2, "valid_symbols": 2}
LEAST |= dict.fromkeys(("curriculum", "encoder_samples", "flow_layers", "free", "noise_size", "num_valid"), 0)
LEAST |= dict.fromkeys(("sample", "test_symbols", "valid_images", "warmup"), 0)
# Ranges of other numbers where these are more than finite and at least 0.
RANGES: dict[str, dict[str, float]] = {"learning_rate": {"above": 0.0}, "beta1": {"least": 0.0, "below": 1.0}}

# Flags by the arguments of the library that they become, where these have other names.
FLAGS = {
    "name": "data",
    "train": "data",
    "num_components": "components",
    "num_particles": "particles",
    "kl_warmup": "warmup",
    "fraction": "label_fraction",
}


def check_flags(config: Any) -> None:
    """Refuse numbers out of their range and devices that are not there, before any work.

    Raises:
        ValueError: If there is one; names the flag.
    """
    for field in dataclasses.fields(config):
        value, flag = getattr(config, field.name), f"--{field.name.replace('_', '-')}"
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and not isinstance(number, bool):
                least = min(field.default, 1) if isinstance(field.default, int) else 1
                whole_number(flag, number, LEAST.get(field.name, least))
            elif isinstance(number, float):
                finite_number(flag, number, **RANGES.get(field.name, {"least": 0.0}))
    device = getattr(config, "device", None)
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # of a PyTorch that was built without it, or of a name
        raise ValueError(f"--device must be one that PyTorch finds, got {device!r}") from error


@contextmanager
def in_one_line(*configs: type[Any]) -> Iterator[None]:
    """Context, or decorator, that ends a command with status 2 and one line where it refuses an argument.

    So do files that are missing, damaged or in use. Errors that name no flag of the dataclasses ``configs`` are no
    refusals, and pass.
    """
    names = {field.name for config in configs for field in dataclasses.fields(config)}
    try:
        yield
        return
    except SystemExit as end:
        if not isinstance(end.code, str):
            raise
        text, cause = refusal(end.code, names) or end.code, end.__cause__
    except FileExistsError as error:
        text, cause = f"--run: {_as_flags(error)}", error
    except (FileNotFoundError, PermissionError, DamagedFileError, FolderInUseError) as error:
        text, cause = _as_flags(error), error
    except (TypeError, ValueError) as error:
        found = refusal(str(error), names)
        if found is None:
            raise
        text, cause = found, error
    print(text, file=sys.stderr)
    ended = SystemExit(text)
    ended.code = 2
    raise ended from cause


def _as_flags(error: Exception) -> str:
    """The text of an error about files, with flags in place of arguments."""
    text = str(error).replace("resume=True", "--resume").replace("run_dir", "--run")
    return text.replace("set root or", "set --root or")


def refusal(text: str, names: set[str]) -> str | None:
    """The text of an error with the flag in place of the argument that it begins with; None if that is no flag.

    Example:
        >>> refusal("num_components must be at least 1, got 0", {"components"})
        '--components must be at least 1, got 0'
        >>> refusal("hidden[0] must be at least 1, got 0", {"hidden"})
        '--hidden must be at least 1, got 0'
        >>> refusal("x must be finite", {"components"})
    """
    if text.startswith("--"):
        return text
    found = re.match(r"(\w+)(\[\d+\])?(:? .*)", text, re.DOTALL)
    if not found:
        return None
    name = found[1] if found[1] in names else FLAGS.get(found[1])
    return f"--{name.replace('_', '-')}{found[3]}" if name in names else None
