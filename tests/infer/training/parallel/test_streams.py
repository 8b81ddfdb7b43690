"""Streams that several processes read in parts."""

from itertools import chain
from typing import NamedTuple

import pytest
import torch
from process_group import run_processes
from torch.utils.data import DataLoader, Dataset
from toy_pairs import small_vae

from pyrodgm.datasets import Shards
from pyrodgm.infer import FitSettings, fit
from pyrodgm.infer.training.feeds.stream import StreamFeed
from pyrodgm.infer.training.parallel.split_stream import SplitStream, share_of
from pyrodgm.processes import from_all, world

D, ROWS, BATCH = 8, 25, 6  # the last batch of a pass would be of one datum: it joins the one before
X = torch.rand(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Info(NamedTuple):
    """A worker of a loader."""

    id: int
    num_workers: int


class Counted(Dataset):
    """Reads items by index, noisy ones on demand, and remembers which."""

    def __init__(self, noisy=False):
        self.noisy, self.read = noisy, []

    def __len__(self):
        return ROWS

    def __getitem__(self, i):
        self.read.append(i)
        return (X[i] > torch.rand(D)).double() if self.noisy else X[i].round()


def trained(data, workers=0, **options):
    torch.manual_seed(0)
    pair = small_vae(D, 2, 4)
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=workers)
    settings = {"progress": False, "compile": "eager", **options.pop("settings", {})}
    fit(pair, loader, **{"epochs": 2, **options}, settings=FitSettings(**settings))
    return {name: value.clone() for name, value in pair.state_dict().items()}


def everything(rank, folder):
    found, data = {}, Counted()
    found["plain"] = trained(data)
    found["reads"] = data.read
    found["noisy"] = trained(Counted(noisy=True))
    found["workers"] = trained(Counted(noisy=True), workers=1)
    cut = {"settings": {"steps_per_epoch": 3}, "run_dir": folder / "run", "resume": True}  # a pass has four batches
    trained(Counted(noisy=True), epochs=1, **cut)
    data = Counted(noisy=True)
    found["resumed"] = trained(data, epochs=3, **cut)
    found["reads after it"] = data.read
    found["whole"] = trained(Counted(noisy=True), epochs=3, settings={"steps_per_epoch": 3})
    return found


@pytest.mark.slow
def test_each_process_reads_its_rows_and_resumes_at_its_place(tmp_path):
    alone = trained(Counted())
    two = run_processes(2, lambda rank: everything(rank, tmp_path), tmp_path)
    three = run_processes(3, lambda rank: trained(Counted(noisy=True)), tmp_path)
    for found in two:
        for name, value in alone.items():
            torch.testing.assert_close(found["plain"][name], value, rtol=1e-10, atol=1e-12)
        for name, value in found["noisy"].items():
            for other in (found["workers"], *three):
                torch.testing.assert_close(other[name], value, rtol=1e-10, atol=1e-12)
        assert all(torch.equal(found["resumed"][name], value) for name, value in found["whole"].items())
    first = (
        2 * 3 * BATCH
    )  # read whole, twice and three batches ahead: the stream is told from others by its first batch
    reads = [found["reads"][first:] for found in two]
    assert [len(part) for part in reads] == [2 * (3 + 3 + 3 + 3), 2 * (3 + 3 + 3 + 4)]
    for epoch in range(2):
        half = [part[epoch * len(part) // 2 : (epoch + 1) * len(part) // 2] for part in reads]
        assert sorted(half[0] + half[1]) == list(range(ROWS))
    # three batches of the pass that was cut off are not read again: the fourth, a whole pass, and one batch
    assert [len(found["reads after it"]) - first for found in two] == [3 + 12 + 3, 4 + 13 + 3]


LENGTHS = [9, 4, 7]  # of two processes, the first reads the first and third shard, the second the other one


def shards(opened=None, **options):
    """Items that are their own number, and how shards are opened."""
    starts = [0, 9, 13]

    def read(shard, first):
        if opened is not None:
            opened.append((shard, first))
        yield from (torch.tensor([float(i)]) for i in range(starts[shard] + first, starts[shard] + LENGTHS[shard]))

    return Shards(range(3), read, **options)


def passes(data, steps, state=None, workers=0):
    """The items of each of so many batches, of all processes, and the state after half of them."""
    torch.manual_seed(3)
    stream = StreamFeed(DataLoader(data, 3, num_workers=workers), torch.nn.Linear(1, 1))
    feed, found, half = SplitStream(stream, data, world()), [], None
    feed.first()
    if state is not None:
        feed.load(state)
    for step in range(steps):
        if step == steps // 2:
            half = feed.state()
        inputs = feed.next()
        share = share_of(inputs, world())
        own = torch.full((20,), -1.0)
        own[: share.count] = inputs[1].flatten() if share.counts else -1.0
        parts = torch.stack([part[""] for part in from_all({"": own})])
        items = parts[parts >= 0].tolist()
        assert len(items) == share.total == feed.count(*inputs)
        assert not share.counts or items[share.begin : share.begin + share.count] == inputs[1].flatten().tolist()
        found.append(items)
    return found, half


def shard_runs(rank):
    found = {"fixed": passes(shards(lengths=LENGTHS), 12)[0]}
    for name, options in {"seek": {"lengths": LENGTHS, "shuffle": True}, "read again": {"shuffle": True}}.items():
        whole, half = passes(shards(**options), 10, workers=1 if name == "seek" else 0)
        opened = []
        rest, _ = passes(shards(opened, **options), 5, half)
        found[name] = whole, rest, opened
    torch.manual_seed(0)
    pair = small_vae(1, 2, 4)
    loader = DataLoader(shards(lengths=LENGTHS), 3)
    loader.dataset.read, read = (lambda shard, first: (x % 2 for x in read(shard, first))), loader.dataset.read
    fit(pair, loader, epochs=2, settings=FitSettings(progress=False, compile="eager", steps_per_epoch=7))
    found["weights"] = {name: value.clone() for name, value in pair.state_dict().items()}
    return found


@pytest.mark.slow
def test_processes_read_shards_of_their_own_and_end_a_pass_together(tmp_path):
    zero, one = run_processes(2, shard_runs, tmp_path)
    first, second = (list(map(float, part)) for part in ([*range(9), *range(13, 20)], range(9, 13)))
    batches = [first[:3] + second, first[3:6], first[6:9], first[9:12], first[12:]]  # a single one joins the last
    for found in (zero, one):
        assert found["fixed"] == [*batches, *batches, *batches[:2]]
        for name in ("seek", "read again"):
            whole, rest, _ = found[name]
            assert rest == whole[5:]
        assert all(torch.equal(zero["weights"][name], value) for name, value in found["weights"].items())
    items = list(chain(*zero["seek"][0]))
    assert sorted(items[:20]) == list(map(float, range(20)))  # each item once a pass
    assert items[:20] != items[20:40]
    assert any(start > 0 for found in (zero, one) for _, start in found["seek"][2])
    assert all(start == 0 for found in (zero, one) for _, start in found["read again"][2])


def test_shards_without_enough_for_all_are_refused():
    with pytest.raises(ValueError, match="shards must be at least one, got none"):
        Shards([], lambda shard, first: [])
    with pytest.raises(ValueError, match="lengths must be one for each of the 3 shards, got 2"):
        shards(lengths=[1, 2])
    with pytest.raises(ValueError, match="shards must be at least one for each of 4 processes, got 3"):
        shards().begin(part=(0, 4))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_pass_over_shards_begins_behind_batches_that_were_read(workers):
    """Whatever is left of a pass, by number of batches and of workers."""
    data = Shards(range(5), lambda shard, first: range(10 * shard + first, 10 * shard + 5 + shard), [5, 6, 7, 8, 9])

    def turns(skip):
        left = data.begin(7, skip=skip, batch_size=2, workers=workers)
        streams = []
        for number in range(workers):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("pyrodgm.datasets.shards.get_worker_info", lambda n=number: Info(n, workers))
                items = list(data)
            streams.append([items[i : i + 2] for i in range(0, len(items), 2)])
        order = [streams[n % workers].pop(0) for n in range(2 * workers)]
        return left, order

    _, whole = turns(0)
    for skip in range(workers):
        left, rest = turns(skip)
        assert left == 0
        assert rest[:workers] == whole[skip : skip + workers]
