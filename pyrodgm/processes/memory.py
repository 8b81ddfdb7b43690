"""Data that the processes of one machine hold once."""

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from pyrodgm.processes.collectives import from_all
from pyrodgm.processes.world import ProcessError, world

T = TypeVar("T")
LONGEST = 4096  # bytes of the name of a file


def in_shared_memory(make: Callable[[], T], kinds: Sequence[type] = ()) -> T:
    """What ``make`` makes in one process of each machine, with tensors that all processes of the machine map.

    All processes have to call it. The tensors are written to a file in the folder for temporary files (``TMPDIR``
    chooses another one) and mapped; it has no name any more once all have it, and its pages are in memory once, and may
    be fewer than the data. A process that writes to such a tensor gets copies of the pages that it writes to.

    Args:
        make: Makes tensors on the CPU and plain values, nested in lists, tuples, dictionaries and objects of ``kinds``.
        kinds: Classes of objects in it, such as dataclasses.

    Raises:
        ProcessError: If ``make`` raised an error in another process; names it. In that process the error is its own.

    Example:
        >>> in_shared_memory(lambda: {"x": torch.ones(3)})
        {'x': tensor([1., 1., 1.])}
    """
    team = world()
    if team.size == 1:
        return make()
    machine = torch.frombuffer(bytearray(f"{socket.gethostname():256.256}".encode()[:256]), dtype=torch.uint8)
    leader = next(rank for rank, other in enumerate(from_all({"": machine})) if torch.equal(other[""], machine))
    name, failure = b"", None
    if leader == team.rank:
        try:
            handle, path = tempfile.mkstemp(prefix="pyrodgm-")
            os.close(handle)
            name = path.encode()
            torch.save(make(), path)
        except BaseException as error:
            failure = error
    message = f"!{type(failure).__name__}: {failure}".encode()[:LONGEST] if failure is not None else name
    sent = torch.frombuffer(bytearray(message.ljust(LONGEST)), dtype=torch.uint8)
    told = [bytes(part[""].tolist()).rstrip() for part in from_all({"": sent})]
    failed = next((rank for rank, text in enumerate(told) if text.startswith(b"!")), None)
    try:
        if failure is not None:
            raise failure
        if failed is not None:
            raise ProcessError(f"process {failed} failed: {told[failed][1:].decode(errors='replace')}")
        with torch.serialization.safe_globals(list(kinds)):
            made: T = torch.load(told[leader].decode(), mmap=True, weights_only=True)
        from_all({"": torch.zeros(1)})  # all have it
        return made
    finally:
        if name:
            Path(name.decode()).unlink(missing_ok=True)
