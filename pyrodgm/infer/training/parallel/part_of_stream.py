"""What feeds have in common of which each process reads a part."""

from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.training.feeds.feed import Inputs
from pyrodgm.infer.training.feeds.stream import StreamFeed


class PartOfStream:
    """A feed of the part of a stream that this process reads.

    Inputs begin with an empty tensor, in front of the arguments, whose shape begins with ``[rows of the batch, 0]``.

    Args:
        stream: The feed of this process.
    """

    def __init__(self, stream: StreamFeed) -> None:
        self.stream = stream
        self.identity = stream.identity
        self.pass_length, self.measures, self.validates = stream.pass_length, stream.measures, stream.validates

    def first(self) -> Inputs:
        """The first batch that a single process would read, by which streams are told apart."""
        inputs = self.stream.first()
        return (inputs[0].new_empty(len(inputs[0]), 0), *inputs)

    def arguments(self, *inputs: Tensor) -> Batch:
        return self.stream.arguments(*inputs[1:])

    def context(self, *inputs: Tensor) -> AbstractContextManager[Any]:
        return self.stream.context(*inputs)

    def count(self, *inputs: Tensor) -> int:
        return len(inputs[0])

    def advance(self) -> None:
        self.stream.advance()
