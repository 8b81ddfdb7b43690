import copy
import hashlib
import os
import resource
import stat

import pytest
import torch
from torch import nn

from pyrodgm.infer import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.training.checkpoint import digest, load_state, read_weights, save_state, write_text

WRITERS = {
    "weights": lambda path, size: save_weights({"a": torch.arange(size)}, path),
    "state": lambda path, size: save_state({"a": torch.arange(size)}, path),
    "text": lambda path, size: write_text(path, "a" * 8 * size),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_get_the_umask_of_the_user(write, mask, tmp_path):
    before = os.umask(mask)
    try:
        write(tmp_path / "file", 10)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_named_and_loses_nothing(write, tmp_path):
    file = tmp_path / "file"
    write(file, 10)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # files cannot grow past it
    try:
        with pytest.raises(OSError, match=r"cannot be written: File too large.*file'") as caught:
            write(file, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(file)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == before
    write(file, 100_000)  # once there is room
    assert file.stat().st_size > 100_000


def test_tensors_of_one_memory_are_saved_under_all_their_names(tmp_path):
    layer, table = nn.Linear(3, 3), torch.arange(12.0)
    module = nn.Sequential(layer, nn.Tanh(), layer)
    weights = {**module.state_dict(), "row": table[4:8], "column": table.view(3, 4)[:, 1], "table": table}
    weights["broadcast"] = torch.ones(1).expand(5)
    save_weights(weights, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors")
    assert read.keys() == weights.keys()
    assert all(read[name].equal(weights[name]) for name in weights)
    twin = copy.deepcopy(module)
    nn.init.zeros_(twin[0].weight)
    save_weights(module.state_dict(), tmp_path / "w.safetensors")
    load_weights(twin, tmp_path / "w.safetensors")
    assert twin[0].weight is twin[2].weight
    assert twin[0].weight.equal(layer.weight)


STATE = {
    "epoch": 3,
    "weights": {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(True), "c": torch.ones(2, dtype=torch.bfloat16)},
    "optimizer": {"state": {0: {"step": torch.tensor(2.0)}, 1: {}}, "param_groups": [{"betas": (0.9, 0.99)}]},
    "best": -float("inf"),
    "rows": [{"loss": float("nan")}],
}


def test_state_comes_back(tmp_path):
    save_state(STATE, tmp_path / "state.pt")
    state = load_state(tmp_path / "state.pt")
    assert digest(state) == digest(STATE)
    assert state.keys() == STATE.keys() == torch.load(tmp_path / "state.pt").keys()
    assert state["optimizer"]["state"].keys() == {0, 1}
    assert state["weights"]["a"].equal(STATE["weights"]["a"])


def changed(**more):
    return digest(copy.deepcopy(STATE) | more)


def test_digests_tell_contents_apart():
    weights = STATE["weights"]
    others = [
        changed(epoch=4),
        changed(epoch=3.0),
        changed(epoch="3"),
        changed(epoch=None),
        changed(more=1),
        changed(weights={**weights, "a": weights["a"].view(3, 2)}),
        changed(weights={**weights, "a": weights["a"].double()}),
        changed(weights={**weights, "a": weights["a"] + 1}),
        changed(rows=[]),
        changed(rows=({"loss": float("nan")},)),
        digest([1, [2]]),
        digest([[1], 2]),
        digest({"a": {}, "b": 1}),
        digest({"a": {"b": 1}}),
    ]
    assert len({digest(STATE), *others}) == len(others) + 1
    assert changed() == digest(STATE)


class Payload:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder / "ran"),)


def test_foreign_and_altered_states_are_damaged_and_never_advise_to_load_unsafely(tmp_path):
    file = tmp_path / "state.pt"
    foreign = [STATE, [1, 2], torch.ones(3), nn.Linear(2, 2), Payload(tmp_path)]
    for content in foreign:
        torch.save(content, file)
        with pytest.raises(DamagedFileError, match=r"state\.pt is damaged") as caught:
            load_state(file)
        assert "weights_only" not in str(caught.value)
        sealed = file.read_bytes()
        file.write_bytes(sealed + hashlib.sha256(sealed).digest())  # by somebody who knows how
        if content is not STATE:
            with pytest.raises(DamagedFileError, match=r"state\.pt is damaged") as caught:
                load_state(file)
            assert "weights_only" not in str(caught.value)
    save_state(STATE, file)
    whole = file.read_bytes()
    for i in range(0, len(whole), 13):
        file.write_bytes(whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :])
        with pytest.raises(DamagedFileError, match=r"state\.pt is damaged"):
            load_state(file)
    for damaged in (b"", b"PK", whole[: len(whole) // 2], whole[:-1], b"\x80\x02}q\x00.", b"x" * 1000):
        file.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match=r"state\.pt is damaged"):
            load_state(file)
    assert not (tmp_path / "ran").exists()
    file.unlink()
    with pytest.raises(FileNotFoundError):
        load_state(file)
