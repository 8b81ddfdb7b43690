"""Weights and resumable state on disk, written whole or not at all, read without executing anything."""

import contextlib
import errno
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.extras import needs_extra

SEAL = 32  # bytes


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then replace ``path`` by it in one step.

    A process killed at any moment or a full disk leaves the old file or the new one, never a part.

    Raises:
        OSError: If the file cannot be written; with its path and the cause.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        # PyTorch's writer raises a RuntimeError of its own after the OSError of the file that it writes to
        cause = error if isinstance(error, OSError) else error.__context__
        number, reason = (
            (cause.errno, cause.strerror or str(cause)) if isinstance(cause, OSError) else (None, str(error))
        )
        raise OSError(number or errno.EIO, f"cannot be written: {reason}", str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors as safetensors, with a checksum that :func:`read_weights` verifies.

    A tensor of two names, such as a tied weight, is written under both.
    """
    with needs_extra("runs"):
        from safetensors.torch import save

    weights = _separate(weights)
    content = save(weights, {"sha256": digest(weights)})
    write_atomically(path, lambda p: p.write_bytes(content))  # safetensors' own writer ignores the user's umask


def read_weights(path: Path) -> dict[str, Tensor]:
    """The named tensors in a file that :func:`save_weights` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If the file is truncated or altered.
    """
    with needs_extra("runs"):
        from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # copied to where PyTorch would put them: sums over tensors of another alignment round otherwise
            weights = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256", "")
    except (SafetensorError, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    found = digest(weights)
    if found != expected:
        raise DamagedFileError(f"{path} is damaged: its tensors have SHA-256 {found}, expected {expected or 'one'}")
    return weights


def load_weights(pair: nn.Module, path: Path) -> None:
    """Read weights that :func:`save_weights` wrote into ``pair``.

    Raises:
        DamagedFileError: If the file is truncated or altered.
        RuntimeError: From PyTorch, if the weights are those of another architecture; names the tensors.
    """
    pair.load_state_dict(read_weights(Path(path)))


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write a dictionary of tensors, numbers, strings, lists and dictionaries as ``torch.save`` does.

    The SHA-256 of the file is appended to it, which PyTorch does not mind.
    """

    def write(partial: Path) -> None:
        with partial.open("wb+") as file:
            torch.save(dict(state), file)
            file.seek(0)
            seal = _file_digest(file)
            file.seek(0, os.SEEK_END)
            file.write(seal)

    write_atomically(path, write)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedFileError: If the file is truncated or altered, or holds anything else.
    """
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END) - SEAL
        file.seek(max(length, 0))
        expected = file.read()
        file.seek(0)
        if length < 0 or _file_digest(file, length) != expected:
            raise DamagedFileError(f"{path} is damaged: its checksum is wrong, or it holds no state of a run")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whose message can advise to load without protection
        raise DamagedFileError(f"{path} is damaged: it holds no state of a run") from error
    if not isinstance(state, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no state of a run")
    return state


def _file_digest(file: BinaryIO, length: int | None = None) -> bytes:
    """SHA-256 of the next ``length`` bytes, or of all."""
    result = hashlib.sha256()
    left = math.inf if length is None else length
    while left and (part := file.read(int(min(left, 1 << 20)))):
        result.update(part)
        left -= len(part)
    return result.digest()


def digest(value: Any) -> str:
    """SHA-256 of nested dictionaries, lists and tuples of tensors, numbers, strings, truth values and None."""
    result = hashlib.sha256()
    _update(result, value)
    return result.hexdigest()


def _update(result: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        result.update(f"tensor {value.dtype} {list(value.shape)}".encode())
        result.update(value.view(-1).view(torch.uint8).numpy() if value.numel() else b"")
    elif isinstance(value, Mapping):
        result.update(f"dict {len(value)}".encode())
        for key in sorted(value, key=str):
            _update(result, key)
            _update(result, value[key])
    elif isinstance(value, (list, tuple)):
        result.update(f"{type(value).__name__} {len(value)}".encode())
        for item in value:
            _update(result, item)
    elif value is None or isinstance(value, (bool, int, float, str)):
        result.update(f"{json.dumps(value)}\n".encode())
    else:
        result.update(f"{type(value).__name__}\n".encode())


def _separate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors of which no two share memory."""
    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in weights.items():
        value = value.detach().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() > value.numel() * value.element_size():
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        result[name] = value
    return result
