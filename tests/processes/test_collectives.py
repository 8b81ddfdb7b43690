"""What processes tell each other, between real ones."""

import pytest
import torch
from process_group import run_processes
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.processes import (
    ProcessError,
    Share,
    World,
    all_sum,
    all_sums,
    alone,
    broadcast_state,
    current_share,
    first,
    from_all,
    from_first,
    sharing,
    world,
)


def test_a_process_that_nobody_launched_is_alone():
    assert world() == World(0, 1)
    assert first(lambda: 3) == 3
    assert from_first(2.5) == 2.5


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [1, 2, 5, 100])
def test_shares_make_up_the_batch(total, size):
    shares = [Share.of(total, World(rank, size)) for rank in range(size)]
    rows = [row for share in shares if share.counts for row in range(total)[share.rows]]
    assert rows == list(range(total))
    assert sum(share.weight for share in shares) == pytest.approx(1.0)
    assert all(share.count >= 1 and share.begin + share.count <= total for share in shares)


def test_the_current_share_ends_with_its_context():
    share = Share(0, 1, 2)
    with sharing(share):
        assert current_share() is share
    assert current_share() is None


def everything(rank):
    tensors = [torch.full((3, 2), 1.0 + rank), torch.tensor(rank), torch.full((4,), rank, dtype=torch.float32)]
    found = {"world": world(), "sums": all_sums([*tensors, tensors[0].sum().expand(2)])}
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    graph = make_fx(lambda x: all_sum((rank + 1) * x).square().sum())(x)
    loss = all_sum((rank + 1) * x).square().sum()
    loss.backward()
    found |= {"loss": loss.detach(), "traced": graph(x).detach(), "gradient": x.grad}
    found["state"] = broadcast_state({"a": [torch.arange(3) + rank], "b": f"from {rank}", "none": None})
    found["number"], found["first"] = from_first(rank + 0.5), first(lambda: rank + 7)
    found["all"] = from_all({"x": torch.tensor([rank])})
    with alone():
        found["alone"] = world()
    try:
        first(lambda: 1 / 0)
    except (ProcessError, ZeroDivisionError) as error:
        found["error"] = (type(error).__name__, str(error))
    return found


def test_what_two_processes_tell_each_other(tmp_path):
    zero, one = run_processes(2, everything, tmp_path)
    assert [zero["world"], one["world"]] == [World(0, 2), World(1, 2)]
    assert zero["alone"] == one["alone"] == World(0, 1)
    for found in (zero, one):
        assert torch.equal(found["sums"][0], torch.full((3, 2), 3.0))
        assert found["sums"][1] == 1
        assert found["sums"][2].dtype is torch.float32
        assert torch.equal(found["sums"][3], torch.tensor([18.0, 18.0]))
        assert found["loss"] == found["traced"] == 9.0 * 5.0
        assert found["state"]["b"] == "from 0"
        assert torch.equal(found["state"]["a"][0], torch.arange(3))
        assert found["number"] == 0.5
        assert [int(part["x"]) for part in found["all"]] == [0, 1]
    # each process counts the loss, so the sum of the losses is twice the square: 2 * 2 * 3 x (rank + 1)
    assert torch.equal(zero["gradient"], torch.tensor([12.0, 24.0]))
    assert torch.equal(one["gradient"], torch.tensor([24.0, 48.0]))
    assert (zero["first"], one["first"]) == (7, None)
    assert zero["error"] == ("ZeroDivisionError", "division by zero")
    assert one["error"] == ("ProcessError", "the first process failed: ZeroDivisionError: division by zero")
