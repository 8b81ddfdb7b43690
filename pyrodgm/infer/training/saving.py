"""A pair as a folder of two files, and back: its architecture as JSON, its weights as safetensors."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn

import pyrodgm
from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.infer.training.architecture import describe
from pyrodgm.infer.training.checkpoint import digest, read_weights, save_weights, write_text
from pyrodgm.infer.training.importable import RefusedError
from pyrodgm.infer.training.rebuild import rebuild

FORMAT = 1
PAIR, WEIGHTS, BEST, CONSTANTS = "pair.json", "weights.safetensors", "best.safetensors", "constants.safetensors"


def save(pair: nn.Module, folder: Path | str) -> None:
    """Write a pair, or any module, to a folder, so that :func:`load` makes it again in another process.

    ``pair.json`` has the architecture as data: the class of each part, what the part holds, the names of its tensors.
    ``weights.safetensors`` has the tensors. Tied and shared parts are written once. A part that was changed after it
    was made is written as it is now. Files of an earlier pair in the folder are replaced.

    Args:
        pair: A module of parts of pyrodgm, of PyTorch, and of classes that can be imported; what these hold must be
            numbers, strings, lists, tuples, sets and dictionaries of them, tensors, modules, and classes, functions or
            objects of pyrodgm's parts, PyTorch's or Pyro's distributions.
        folder: The folder; made if it does not exist.

    Raises:
        ValueError: If something cannot be written as data, such as a lambda or a class defined in a function; names the
            attribute. Nothing is written then.
        FileExistsError: If the folder is that of a run.
        OSError: If a file cannot be written; with its path and the cause.

    Example:
        >>> import tempfile
        >>> from pyrodgm.priors import MixtureOfGaussians
        >>> prior = MixtureOfGaussians(features=8, num_components=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(prior, folder)
        ...     twin = load(folder)
        >>> twin.loc.equal(prior.loc)
        True
    """
    folder = Path(folder)
    if (folder / "state.pt").exists():
        raise FileExistsError(f"{folder} holds a run of fit, which pyrodgm.load_run reads; name another folder")
    architecture = describe(pair)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(architecture.tensors, folder / WEIGHTS)
    write_pair(folder, architecture.parts, {"weights": digest(architecture.tensors)})


def load(folder: Path | str, device: torch.device | str = "cpu") -> Any:
    """The pair that :func:`save` wrote, or the best one of a run of ``fit`` with ``run_dir``.

    No pickle is read and no code from the files runs. The modules that define the classes named in ``pair.json`` are
    imported, and these must be subclasses of ``torch.nn.Module``, or classes and functions of pyrodgm, PyTorch or Pyro.

    Args:
        folder: The folder.
        device: Where the tensors go.

    Raises:
        FileNotFoundError: If a file is missing; names it.
        DamagedFileError: If a file is truncated or altered, or the two are not of one pair; names it.
        ImportError: If a class cannot be imported.
        ValueError: If the file names anything but such classes.
    """
    folder = Path(folder)
    described = read_pair(folder)
    tensors = _tensors(folder, described.get("weights"))
    try:
        made = rebuild(described["pair"], tensors)
        return made.to(device)
    except (RefusedError, ImportError) as error:
        written = ", ".join(f"{name} {version}" for name, version in described.get("versions", {}).items())
        raise type(error)(f"{folder / PAIR}: {error} (written by {written})") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, StopIteration) as error:
        raise DamagedFileError(f"{folder / PAIR} is damaged, or of other weights: {error!r}") from error


def write_pair(folder: Path, parts: dict[str, Any], more: dict[str, Any]) -> None:
    """Write ``pair.json``."""
    versions = {"pyrodgm": pyrodgm.__version__, "torch": torch.__version__, "pyro": pyro.__version__}
    content = {"format": FORMAT, "versions": {**versions, "python": platform.python_version()}, **more, "pair": parts}
    write_text(folder / PAIR, json.dumps(content, indent=2) + "\n")


def read_pair(folder: Path) -> dict[str, Any]:
    """The content of ``pair.json``; errors as of :func:`load`."""
    file = folder / PAIR
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {folder} holds no pair that pyrodgm.save or fit has written")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        number, _ = content["format"], content["pair"]["module"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{file} is damaged: {error!r}") from error
    if number != FORMAT:
        raise ValueError(f"{file} has format {number!r}, this version of pyrodgm reads {FORMAT}; update pyrodgm")
    return content


def _tensors(folder: Path, expected: str | None) -> dict[str, Tensor]:
    if os.path.exists(folder / WEIGHTS):
        tensors = read_weights(folder / WEIGHTS)
        if digest(tensors) != expected:
            raise DamagedFileError(f"{folder / WEIGHTS} and {folder / PAIR} are not of one pair")
        return tensors
    if not (folder / BEST).exists():
        names = WEIGHTS if expected else BEST
        raise FileNotFoundError(f"{folder / names} is missing: {folder} holds no weights of the pair")
    constants = folder / CONSTANTS
    return {**(read_weights(constants) if constants.exists() else {}), **read_weights(folder / BEST)}
