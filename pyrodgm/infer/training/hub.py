"""Pairs on the Hugging Face Hub."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyrodgm.extras import needs_extra
from pyrodgm.infer.training.saving import PAIR, WEIGHTS, load, save

CARD = """---
library_name: pyrodgm
tags: [pyro, pytorch, generative-model]
---
A model/guide pair of pyrodgm, for `pyrodgm.load_from_hub("{repo_id}")`.

```
{parts}
```
"""


def push_to_hub(
    pair: nn.Module,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str = "Pair of pyrodgm",
    token: str | None = None,
    api: Any = None,
) -> str:
    """Save a pair to a repository of models on the Hugging Face Hub, which is made if it does not exist.

    Args:
        pair: As of :func:`pyrodgm.save`.
        repo_id: Such as ``"user/vae"``.
        private: Whether a repository that is made here is private.
        revision: Branch; the main one by default.
        message: First line of the commit.
        token: Token with the right to write; by default that of ``hf auth login``.
        api: A ``huggingface_hub.HfApi`` to use, for another address say.

    Returns:
        The address of the commit.

    Raises:
        ImportError: If huggingface_hub is not installed.
        ValueError: If something in the pair cannot be written as data; names the attribute.
    """
    hub = _import_hub()
    api = hub.HfApi(token=token) if api is None else api
    with tempfile.TemporaryDirectory() as folder:
        save(pair, folder)
        Path(folder, "README.md").write_text(CARD.format(repo_id=repo_id, parts=pair), encoding="utf-8")
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, revision=revision))


def load_from_hub(
    repo_id: str,
    *,
    revision: str | None = None,
    cache_dir: Path | str | None = None,
    local_files_only: bool = False,
    token: str | None = None,
    device: torch.device | str = "cpu",
) -> Any:
    """Load a pair from the Hugging Face Hub; only the files of the pair are downloaded.

    What :func:`pyrodgm.load` says of files of others holds here too: name a ``revision`` that you have looked at.

    Args:
        repo_id: Such as ``"user/vae"``.
        revision: Branch, tag or commit; the newest of the main branch by default.
        cache_dir: Folder of downloads; that of huggingface_hub by default.
        local_files_only: Whether to use what was downloaded before, without a network.
        token: Token with the right to read; by default that of ``hf auth login``.
        device: Where the tensors go.

    Raises:
        ImportError: If huggingface_hub is not installed.
        FileNotFoundError: If the repository holds no pair, or was never downloaded and the network is off.
    """
    folder = _import_hub().snapshot_download(
        repo_id,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        token=token,
        allow_patterns=[PAIR, WEIGHTS],
    )
    return load(folder, device)


def _import_hub() -> Any:
    with needs_extra("hub"):
        import huggingface_hub
    return huggingface_hub
