import shutil
import socket
from pathlib import Path

import pairs
import pytest
import torch

import pyrodgm

huggingface_hub = pytest.importorskip("huggingface_hub")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Folder(huggingface_hub.HfApi):
    """An address that is a folder, laid out as downloads are."""

    def __init__(self, cache):
        super().__init__()
        self.cache, self.private = Path(cache), None

    def create_repo(self, repo_id, *, private, exist_ok):
        self.private = private
        self.repository = self.cache / f"models--{repo_id.replace('/', '--')}"
        (self.repository / "refs").mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, *, repo_id, folder_path, commit_message, revision):
        (self.repository / "refs" / (revision or "main")).write_text(COMMIT)
        shutil.copytree(folder_path, self.repository / "snapshots" / COMMIT)
        return f"{repo_id}: {commit_message}"


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
def test_pairs_are_pushed_and_loaded_without_a_network(tmp_path):
    pair = pairs.vae_vamp()
    api = Folder(tmp_path)
    assert pyrodgm.push_to_hub(pair, "someone/vamp", api=api, message="first") == "someone/vamp: first"
    assert api.private is True
    snapshot = tmp_path / "models--someone--vamp" / "snapshots" / COMMIT
    assert sorted(file.name for file in snapshot.iterdir()) == ["README.md", "pair.json", "weights.safetensors"]
    twin = pyrodgm.load_from_hub("someone/vamp", cache_dir=tmp_path)
    z = torch.ones(pairs.LATENT)
    torch.testing.assert_close(twin.prior().log_prob(z), pair.prior().log_prob(z))
    assert twin.prior.posterior is twin.posterior
    with pytest.raises(FileNotFoundError):
        pyrodgm.load_from_hub("someone/else", cache_dir=tmp_path)
    with pytest.raises(Exception, match=r"offline|network"):
        pyrodgm.push_to_hub(pair, "someone/vamp")


def test_nothing_is_pushed_of_what_cannot_be_written(tmp_path):
    pair = pairs.vae_standard()
    pair.prior.extra = lambda: None
    with pytest.raises(ValueError, match=r"prior\.extra"):
        pyrodgm.push_to_hub(pair, "someone/vae", api=Folder(tmp_path))
    assert not list(tmp_path.iterdir())
