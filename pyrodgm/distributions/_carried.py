"""A draw that carries the run of the network that it was drawn in."""

from typing import Any

from torch import Tensor


def carry_run(draw: Tensor, sources: tuple[Tensor, ...], run: Any) -> Tensor:
    """Write on a draw what its network computed on the way, for ``run_of``."""
    if not draw.is_inference():
        draw._pyrodgm_run = (_stamp(draw, sources), run)  # type: ignore[attr-defined]
    return draw


def run_of(draw: Tensor, sources: tuple[Tensor, ...]) -> Any:
    """What ``carry_run`` wrote on this very draw, None if it or anything that the run came from has changed since."""
    carried = getattr(draw, "_pyrodgm_run", None)
    if carried is None:
        return None
    stamp = _stamp(draw, sources)
    unchanged = len(stamp) == len(carried[0]) and all(
        a is b and i == j for (a, i), (b, j) in zip(stamp, carried[0], strict=True)
    )
    return carried[1] if unchanged else None


def _stamp(draw: Tensor, sources: tuple[Tensor, ...]) -> list[tuple[Any, int]]:
    # The draw carries the stamp: a reference to itself in it would keep it alive.
    return [(None, _version(draw)), *((source, _version(source)) for source in sources)]


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
