"""What the processes tell each other."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyrodgm.processes.share import current_share
from pyrodgm.processes.shared_sums import SharedSums
from pyrodgm.processes.world import ProcessError, alone, world

BUCKET = 2**25  # bytes of a sum that is under way while the next one is put together

LEAST_SHARED = 2**16  # bytes of a sum that is done in shared memory where there is some

T = TypeVar("T")


# An operation of its own, which a traced step holds as one node: PyTorch's ``custom_op`` would load its compiler.
_LIBRARY = torch.library.Library("pyrodgm", "FRAGMENT")
_LIBRARY.define("all_sum(Tensor x) -> Tensor")

_shared: tuple[Any, dict[Any, SharedSums | None]] = (None, {})  # of a process group, by shapes, types and devices


def _all_sum(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    return step_sums([total])[0] if world().size > 1 else total


_LIBRARY.impl("all_sum", _all_sum, "CompositeExplicitAutograd")
_LIBRARY.impl("all_sum", lambda x: torch.empty_like(x, memory_format=torch.contiguous_format), "Meta")


class _AllSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.ops.pyrodgm.all_sum(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.ops.pyrodgm.all_sum(gradients[0])


def all_sum(x: Tensor) -> Tensor:
    """The sum over all processes of a tensor that has the same shape in each, also within a traced step.

    The gradient is that of the sum of what all processes make of it.
    """
    return _AllSum.apply(x)


def gather_rows(x: Tensor, dim: int = 0) -> Tensor:
    """What the programs of all processes made of their rows of a batch, in order; ``x`` itself in a single one.

    Args:
        x: A tensor with as many entries along ``dim`` for each row.
        dim: The dimension.
    """
    share = current_share()
    if share is None or share.count == share.total:
        return x
    times = x.shape[dim] // share.count
    sizes = [times * share.begin, times * (share.total - share.begin - share.count)]
    before, after = (x.new_zeros([n if d == dim else m for d, m in enumerate(x.shape)]) for n in sizes)
    own = x if share.counts else torch.zeros_like(x)
    return all_sum(torch.cat([before, own, after], dim))


def batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and mean, ``[*event]``, over the rows ``[rows, *event]`` of a batch, of all processes that share it.

    Each process tells its own, weighted: nothing is lost where the mean is large beside the spread.
    """
    variance, mean = torch.var_mean(x, 0, unbiased=False)
    share = current_share()
    if share is None or share.count == share.total:
        return variance, mean
    team = world()
    own = torch.stack([torch.full_like(mean, share.weight), share.weight * mean, share.weight * variance])
    parts = [own if rank == team.rank else torch.zeros_like(own) for rank in range(team.size)]
    weights, means, variances = all_sum(torch.stack(parts)).unbind(1)
    total = weights.sum(0)
    mean = means.sum(0) / total
    between = means / weights.clamp(min=1e-30) - mean  # of no weight where a process has no rows that count
    return (variances + weights * between.square()).sum(0) / total, mean


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


@torch.no_grad()
def step_sums(tensors: Sequence[Tensor]) -> list[Tensor]:
    """As :func:`all_sums`, for tensors whose shapes come again at each step.

    Processes of one machine sum them in memory that they share, if they are on the CPU. The tensors themselves may be
    used for the sums.
    """
    shared = _shared_sums(tensors)
    return all_sums(tensors) if shared is None else shared(tensors)


def _shared_sums(tensors: Sequence[Tensor]) -> SharedSums | None:
    """How tensors of these shapes are summed in memory that all processes share; None where they are sent."""
    global _shared
    if _shared[0] is not dist.group.WORLD:
        _shared = dist.group.WORLD, {}
    known, forms = _shared[1], tuple((x.shape, x.dtype, x.device) for x in tensors)
    if forms not in known:
        plain = all(x.device.type == "cpu" and x.is_floating_point() and x.numel() for x in tensors)
        large = sum(x.nbytes for x in tensors) >= LEAST_SHARED
        known[forms] = SharedSums.of(tensors, world()) if plain and large and dist.get_backend() == "gloo" else None
    return known[forms]


def merged(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the same shapes and of zeros where another process has something else; the first process has all.

    Args:
        parts: Those of this process, by name; one that has nothing to add may leave them out.
    """
    if world().size == 1:
        return dict(parts)
    forms = broadcast_state({name: {"shape": list(x.shape), "like": x.new_empty(0)} for name, x in parts.items()})
    device = _device()
    own = [
        parts[name].to(device) if name in parts else form["like"].new_zeros(form["shape"]).to(device)
        for name, form in forms.items()
    ]
    return {name: x.to(form["like"].device) for (name, form), x in zip(forms.items(), all_sums(own), strict=True)}


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


def from_all(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors of the same names and shapes in all processes, as each has them, on the CPU.

    Args:
        tensors: Those of this process.
    """
    found: list[dict[str, Tensor]] = [{} for _ in range(world().size)]
    for name, x in tensors.items():
        own = x.detach().to(_device()).contiguous()
        parts = [torch.empty_like(own) for _ in found]
        dist.all_gather(parts, own)
        for place, part in zip(found, parts, strict=True):
            place[name] = part.cpu()
    return found


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
