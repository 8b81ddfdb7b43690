"""Streams that several processes read in parts."""

import pytest
import torch
from process_group import run_processes
from torch.utils.data import DataLoader, Dataset
from toy_pairs import small_vae

from pyrodgm.infer import FitSettings, fit

D, ROWS, BATCH = 8, 25, 6  # the last batch of a pass would be of one datum: it joins the one before
X = torch.rand(ROWS, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


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
    first = 2 * 3 * BATCH  # read whole, twice and three batches ahead: the stream is told from others by its first batch
    reads = [found["reads"][first:] for found in two]
    assert [len(part) for part in reads] == [2 * (3 + 3 + 3 + 3), 2 * (3 + 3 + 3 + 4)]
    for epoch in range(2):
        half = [part[epoch * len(part) // 2 : (epoch + 1) * len(part) // 2] for part in reads]
        assert sorted(half[0] + half[1]) == list(range(ROWS))
    # three batches of the pass that was cut off are not read again: the fourth, a whole pass, and one batch
    assert [len(found["reads after it"]) - first for found in two] == [3 + 12 + 3, 4 + 13 + 3]
