"""What the processes tell each other."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyrodgm.processes.world import ProcessError, alone, world

BUCKET = 2**25  # bytes of a sum that is under way while the next one is put together

T = TypeVar("T")


@torch.library.custom_op("pyrodgm::all_sum", mutates_args=())
def _all_sum(x: Tensor) -> Tensor:
    total = x.contiguous().clone()
    if world().size > 1:
        dist.all_reduce(total)
    return total


@_all_sum.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_all_sum.register_autograd(lambda _, gradient: _all_sum(gradient))


def all_sum(x: Tensor) -> Tensor:
    """The sum over all processes of a tensor that has the same shape in each, also within a traced step.

    The gradient is that of the sum of what all processes make of it.
    """
    return _all_sum(x)


@torch.no_grad()
def all_sums(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sum over all processes of each tensor; they are sent together, in flat pieces one after the other."""
    buckets: dict[Any, list[int]] = {}
    sent: list[tuple[dist.Work, Tensor, list[int]]] = []

    def send(key: Any) -> None:
        places = buckets.pop(key)
        flat = torch.cat([tensors[i].reshape(-1) for i in places])
        sent.append((dist.all_reduce(flat, async_op=True), flat, places))

    for i, x in enumerate(tensors):
        key = (x.dtype, x.device)
        buckets.setdefault(key, []).append(i)
        if sum(tensors[j].nbytes for j in buckets[key]) >= BUCKET:
            send(key)
    for key in list(buckets):
        send(key)
    sums = list(tensors)
    for work, flat, places in sent:
        work.wait()
        for i, total in zip(places, flat.split([tensors[i].numel() for i in places]), strict=True):
            sums[i] = total.view(tensors[i].shape)
    return sums


def first(function: Callable[[], T]) -> T | None:
    """What ``function`` gives in the first process, which runs it alone; None in the others, which wait for it.

    Raises:
        ProcessError: In the others, if it raised an error in the first.
    """
    everybody = world()
    if everybody.size == 1:
        return function()
    result, failure = None, None
    if everybody.rank == 0:
        try:
            with alone():
                result = function()
        except BaseException as error:
            failure = error
    message = _broadcast(f"{type(failure).__name__}: {failure}".encode() if failure else b"")
    if failure is not None:
        raise failure
    if message:
        raise ProcessError(f"the first process failed: {message.decode()}")
    return result


def from_first(value: float) -> float:
    """A number as the first process has it."""
    if world().size == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64, device=_device())
    dist.broadcast(shared, 0)
    return float(shared)


def broadcast_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors and plain values, nested as they like, as the first process has them."""
    content = b""
    if world().rank == 0:
        file = io.BytesIO()
        torch.save(dict(state), file)
        content = file.getvalue()
    return torch.load(io.BytesIO(_broadcast(content)), map_location="cpu", weights_only=True)


def _broadcast(content: bytes) -> bytes:
    """Bytes of the first process."""
    length = torch.tensor(len(content), device=_device())
    dist.broadcast(length, 0)
    shared = torch.empty(int(length), dtype=torch.uint8, device=_device())
    if content:
        shared.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    if len(shared):
        dist.broadcast(shared, 0)
    return shared.cpu().numpy().tobytes()


def _device() -> torch.device:
    """Where the process group takes tensors that are on no device yet."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
