"""What the buffers of a module are where several processes train it."""

from typing import Literal, TypeAlias, cast, get_args

from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import one_of

Kind: TypeAlias = Literal["replicated", "averaged", "sharded"]
"""How a buffer lies on several processes; see :func:`register_state`."""

KINDS = "_state_kinds"  # where a module keeps them, by the names of its buffers
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORM_KINDS: dict[str, Kind] = {
    "running_mean": "averaged",
    "running_var": "averaged",
    "num_batches_tracked": "replicated",
}


def register_state(module: nn.Module, kind: Kind, name: str, tensor: Tensor | None, *, persistent: bool = True) -> None:
    """Register a buffer, and say what it is where several processes train the module.

    Args:
        module: The module.
        kind: One of these:

            - ``"replicated"``: the same in all processes, which compute it from the same numbers;
            - ``"averaged"``: linear in means over the rows of a batch, as running statistics are; after each step all
              processes get the mean of theirs, weighted by rows;
            - ``"sharded"``: each process has entries of its own, so that N of them have N times as many; a run folder
              keeps all, and a pair that has been trained has those of the first process.
        name: Name of the buffer.
        tensor: Its value, or None.
        persistent: Whether the state of the module has it.

    A buffer that is registered in PyTorch's own way is replicated, but for the statistics of PyTorch's layers for batch
    normalisation, which are averaged: they are taken from the whole batch.

    Raises:
        ValueError: If the kind is unknown.

    Example:
        >>> import torch
        >>> module = nn.BatchNorm1d(3)
        >>> register_state(module, "sharded", "chains", torch.zeros(10, 3))
        >>> kinds_of(module)["chains"], kinds_of(module)["running_mean"]
        ('sharded', 'averaged')
    """
    one_of("kind", kind, get_args(Kind))
    module.register_buffer(name, tensor, persistent=persistent)
    vars(module).setdefault(KINDS, {})[name] = kind


def kinds_of(module: nn.Module) -> dict[str, Kind | None]:
    """What each buffer of a module and its parts is, by its name; None where that was not said."""
    found: dict[str, Kind | None] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        known: dict[str, Kind] = NORM_KINDS if isinstance(part, NORMS) else {}
        known = {**known, **cast(dict[str, Kind], vars(part).get(KINDS, {}))}
        for name, _ in part.named_buffers(recurse=False, remove_duplicate=False):
            found[f"{prefix}.{name}" if prefix else name] = known.get(name)
    return found


def sharded_in(module: nn.Module) -> list[str]:
    """The names of the sharded buffers that the state of a module has."""
    kept = module.state_dict().keys()
    return [name for name, kind in kinds_of(module).items() if kind == "sharded" and name in kept]


def averaged_in(module: nn.Module) -> list[Tensor]:
    """The averaged buffers of a module, without those of layers that take them from the whole batch themselves."""
    buffers = dict(module.named_buffers(remove_duplicate=False))
    norms = {id(buffer) for part in module.modules() if isinstance(part, NORMS) for buffer in part.buffers()}
    averaged = [buffers[name] for name, kind in kinds_of(module).items() if kind == "averaged"]
    return list({id(buffer): buffer for buffer in averaged if id(buffer) not in norms}.values())
