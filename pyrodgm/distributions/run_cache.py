"""Runs of networks that a draw comes from, so that they need not be made twice."""

from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from pyrodgm.arithmetic._compat import version_of


class RunCache:
    """Runs by the draw that they gave, for as long as that draw lives.

    A run is found only for the very tensor that was drawn, as long as neither it nor any source of the run was written
    to; it is what a new run with this draw would be. So the cache saves time and changes no result.
    """

    def __init__(self) -> None:
        self._runs = WeakIdKeyDictionary()

    def keep(self, draw: Tensor, sources: tuple[Tensor, ...], run: Any) -> None:
        """Remember the run that ``draw`` came from, computed from ``sources``."""
        if not draw.is_inference():
            self._runs[draw] = (_stamp(draw, sources), run)

    def find(self, draw: Tensor, sources: tuple[Tensor, ...]) -> Any:
        """The run that ``draw`` came from, None if it is not known or something has changed."""
        kept = self._runs.get(draw)
        if kept is None:
            return None
        stamp = _stamp(draw, sources)
        same = len(stamp) == len(kept[0]) and all(
            a is b and i == j for (a, i), (b, j) in zip(stamp, kept[0], strict=True)
        )
        return kept[1] if same else None


def _stamp(draw: Tensor, sources: tuple[Tensor, ...]) -> list[tuple[Any, int]]:
    # The draw is the weak key: a reference to it in the stamp would keep it alive.
    return [(None, version_of(draw)), *((source, version_of(source)) for source in sources)]
