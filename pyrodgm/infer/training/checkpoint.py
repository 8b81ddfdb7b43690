"""Weights and resumable state on disk, written whole or not at all, read without executing anything."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class DamagedFileError(ValueError):
    """A file on disk is not what was written there."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in its place in one step.

    A process killed at any moment leaves the old file or the new one, never a part.
    """
    partial = path.with_name(f".{path.name}.part")
    write(partial)
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write the state of a module as safetensors, with a checksum that :func:`load_weights` verifies."""
    from safetensors.torch import save_file

    weights = {name: value.detach().contiguous() for name, value in weights.items()}
    write_atomically(path, lambda p: save_file(weights, p, metadata={"sha256": _digest(weights)}))


def load_weights(pair: nn.Module, path: Path) -> None:
    """Read weights that :func:`save_weights` wrote into ``pair``.

    Raises:
        DamagedFileError: If the file is truncated or altered.
        RuntimeError: From PyTorch, if the weights are those of another architecture; names the tensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256", "")
    except SafetensorError as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    found = _digest(weights)
    if found != expected:
        raise DamagedFileError(f"{path} is damaged: its tensors have SHA-256 {found}, expected {expected}")
    pair.load_state_dict(weights)  # copies them into memory of the pair, which is aligned; that of a file is not


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a dictionary of tensors, numbers, strings, lists and dictionaries."""
    write_atomically(path, lambda p: torch.save(dict(state), p))


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote.

    Raises:
        DamagedFileError: If the file is truncated or altered.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch does not verify the checksums of its archive
            bad = archive.testzip()
        if bad is not None:
            raise DamagedFileError(f"{path} is damaged: the checksum of its record {bad} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DamagedFileError(f"{path} is damaged: {error}") from error


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].cpu()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
