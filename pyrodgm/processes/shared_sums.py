"""Sums over processes of one machine through memory that they share."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Optional

import torch
from torch import Tensor

from pyrodgm.processes.meeting import Meeting
from pyrodgm.processes.world import World

LINE = 64  # bytes of a line of a processor's cache


class SharedSums:
    """Sums of tensors of fixed shapes, the same in all processes bit for bit: terms are added in the order of ranks.

    Each process copies its tensors to a slot of its own and, once all have, adds up those of all. There are two slots
    for each, taken in turns, so that nobody waits until its slot has been read: by the time that it is written to
    again, all have met once more.

    Args:
        tensors: Tensors of the shapes and types to come.
        team: The processes.
        meeting: Of these, with memory for all slots.
    """

    def __init__(self, tensors: Sequence[Tensor], team: World, meeting: Meeting) -> None:
        self.rank, self.turn, self.meeting = team.rank, 0, meeting
        begins, length = _places(tensors)

        def view(x: Tensor, begin: int) -> Tensor:
            return torch.frombuffer(meeting.memory, dtype=x.dtype, count=x.numel(), offset=begin).view(x.shape)

        slots = [
            [[view(x, (turn * team.size + rank) * length + begin) for rank in range(team.size)] for turn in range(2)]
            for x, begin in zip(tensors, begins, strict=True)
        ]
        self.slots = list(zip(*slots, strict=True))

    @classmethod
    def of(cls, tensors: Sequence[Tensor], team: World) -> Optional["SharedSums"]:
        """Made by all processes together; None where they cannot share memory, as on several machines."""
        meeting = Meeting.of(2 * team.size * _places(tensors)[1], team)
        return None if meeting is None else cls(tensors, team, meeting)

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums, in place of the tensors unless these share memory."""
        self.turn = 1 - self.turn
        slots = self.slots[self.turn]
        for x, terms in zip(tensors, slots, strict=True):
            terms[self.rank].copy_(x)
        self.meeting.wait()
        apart = len({x.data_ptr() for x in tensors}) == len(tensors)
        return [
            _sum(terms, x if apart and x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype))
            for x, terms in zip(tensors, slots, strict=True)
        ]


def _sum(terms: Sequence[Tensor], out: Tensor) -> Tensor:
    first, second, *others = terms
    torch.add(first, second, out=out)
    for other in others:
        out += other
    return out


def _places(tensors: Sequence[Tensor]) -> tuple[list[int], int]:
    """Where each tensor begins in a slot, and the length of a slot, in bytes."""
    *begins, length = accumulate((-(-x.nbytes // LINE) * LINE for x in tensors), initial=0)
    return begins, length
