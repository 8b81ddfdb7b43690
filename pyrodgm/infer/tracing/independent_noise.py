"""Random numbers of samplers that each process runs for itself."""

from typing import Any

from torch import Tensor

from pyrodgm.infer.tracing._compat import TorchDispatchMode, is_draw, is_in_place
from pyrodgm.processes import World, draws_are_independent


class IndependentNoise(TorchDispatchMode):
    """Context that makes draws within :func:`pyrodgm.processes.independent_draws` other ones in each process.

    The numbers of all processes are drawn, so that the random state moves on alike in all, and each keeps its own.

    Args:
        world: The processes.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not (is_draw(func) and draws_are_independent()):
            return func(*args, **kwargs)
        rank, size = self.world.rank, self.world.size
        if not is_in_place(func):
            return [func(*args, **kwargs) for _ in range(size)][rank]
        own: Tensor = args[0]
        return own.copy_(func(own.new_empty([size, *own.shape]), *args[1:], **kwargs)[rank])
