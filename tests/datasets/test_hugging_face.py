"""Streams of Hugging Face datasets, with the real package, from files of a temporary folder."""

import missing
import pytest
import torch
from process_group import run_processes
from torch.utils.data import DataLoader
from toy_pairs import small_vae

from pyrodgm.datasets import hugging_face_shards
from pyrodgm.infer import FitSettings, fit
from pyrodgm.infer.training.feeds.stream import StreamFeed
from pyrodgm.infer.training.parallel.split_stream import SplitStream, share_of
from pyrodgm.processes import from_all, world

pytest.importorskip("datasets.iterable_dataset", reason=missing.library("datasets"))  # this folder is named so too
import datasets as hf

LENGTHS, BATCH = [9, 4, 7, 12], 3
BITS = torch.rand(sum(LENGTHS), 4, generator=torch.Generator().manual_seed(1)).round()


@pytest.fixture
def stream(tmp_path, monkeypatch):
    monkeypatch.setattr(hf.config, "HF_DATASETS_OFFLINE", True)
    whole = hf.Dataset.from_dict({"number": [float(i) for i in range(len(BITS))], "bits": BITS.tolist()})
    files, begin = [], 0
    for length in LENGTHS:
        files.append(str(tmp_path / f"{begin}.parquet"))
        whole.select(range(begin, begin + length)).to_parquet(files[-1])
        begin += length
    folder = str(tmp_path / "cache")
    return hf.load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=folder)


def test_each_row_is_read_once_by_workers_and_from_a_place_on(stream):
    data = hugging_face_shards(stream, {"x": "bits", "number": "number"}, LENGTHS)
    for workers in (0, 2):
        rows = [row for batch in DataLoader(data, 5, num_workers=workers) for row in batch["number"].long().tolist()]
        assert sorted(rows) == list(range(len(BITS)))
    assert torch.equal(torch.stack([row["x"] for row in data]), BITS)
    assert [int(row["number"]) for row in data.read(2, 5)] == [18, 19]
    changed = stream.map(lambda row: {"twice": 2 * row["number"]})
    assert [float(row["x"]) for row in hugging_face_shards(changed, {"x": "twice"}).read(1, 2)] == [22.0, 24.0]


def batches(data, steps, state=None):
    """The rows of each of so many batches of all processes, and the state after half of them."""
    torch.manual_seed(3)
    feed = SplitStream(StreamFeed(DataLoader(data, BATCH), torch.nn.Linear(1, 1)), data, world())
    feed.first()
    if state is not None:
        feed.load(state)
    found, half = [], None
    for step in range(steps):
        if step == steps // 2:
            half = feed.state()
        inputs = feed.next()
        own, share = torch.full((20,), -1.0), share_of(inputs, world())
        own[: share.count] = inputs[1] if share.counts else -1.0
        parts = torch.stack([part[""] for part in from_all({"": own})])
        found.append(parts[parts >= 0].long().tolist())
    return found, half


@pytest.mark.slow
def test_processes_divide_the_shards_and_resume_at_their_place(stream, tmp_path):
    data = hugging_face_shards(stream, {"x": "number"}, LENGTHS, shuffle=True)

    def resumed(rank):
        whole, half = batches(data, 12)
        return whole, batches(data, 6, half)[0]

    (whole, rest), (others, _) = run_processes(2, resumed, tmp_path)
    assert whole == others
    assert rest == whole[6:]
    rows = [row for batch in whole for row in batch][: len(BITS)]
    assert sorted(rows) == list(range(len(BITS)))
    pair = small_vae(4, 2, 4)
    result = fit(pair, DataLoader(hugging_face_shards(stream, {"x": "bits"}), 8), epochs=1,
                 settings=FitSettings(progress=False, compile="eager", steps_per_epoch=4))  # fmt: skip
    assert result.metrics[0]["step"] == 4


def test_other_arguments_are_refused(stream):
    with pytest.raises(TypeError, match="stream must be an IterableDataset of datasets, got list"):
        hugging_face_shards([1, 2], {"x": "bits"})
    with pytest.raises(TypeError, match="columns must map names of arguments to names of columns, got 'bits'"):
        hugging_face_shards(stream, "bits")
    with pytest.raises(ValueError, match=r"columns must be among those of the stream \(number, bits\), got 'bit'"):
        hugging_face_shards(stream, {"x": "bit"})
    with pytest.raises(ValueError, match="lengths must be one for each of the 4 shards, got 1"):
        hugging_face_shards(stream, {"x": "bits"}, [32])
