"""Where the processes of one machine wait for each other."""

import mmap
import os
import secrets
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Optional

import torch
import torch.distributed as dist

from pyrodgm.processes.world import ProcessError, World

SECONDS = 1800  # for which a process waits for another, as PyTorch's operations do by default


class Meeting:
    """Processes of one machine that wait for each other, and memory that all of them map.

    The first is connected with each of the others. Neither sockets nor memory have a name in a file system: both go
    with the processes, however these end, and a process that dies is noticed at once.

    Args:
        connections: Those of the first process with the others in order of rank; of these, that with the first.
        is_first: Which of both they are.
        memory: Mapped by all.
    """

    def __init__(self, connections: Sequence[socket.socket], is_first: bool, memory: mmap.mmap) -> None:
        self.connections, self.is_first, self.memory = connections, is_first, memory
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SECONDS, 0))

    @classmethod
    def of(cls, size: int, team: World) -> Optional["Meeting"]:
        """Called by all processes, with the bytes of the memory; None where they are not on one machine with Linux."""
        name = secrets.token_bytes(16)
        own = _socket(b"\0" + name, team.size) if team.rank == 0 else None
        told = torch.tensor([*name])
        dist.broadcast(told, 0)
        if team.rank:
            own = _socket(b"\0" + bytes(told.tolist()), None)
        failed = torch.tensor(int(own is None))
        dist.all_reduce(failed)
        if own is None or failed:
            if own is not None:
                own.close()
            return None
        if team.rank == 0:
            with own:
                connections = [own.accept()[0] for _ in range(team.size - 1)]
            handle = os.memfd_create("pyrodgm")
        else:
            connections = [own]
            (handle,) = socket.recv_fds(own, 1, 1)[1]
        try:
            if team.rank == 0:
                os.ftruncate(handle, size)
                for connection in connections:
                    socket.send_fds(connection, [b"."], [handle])
            return cls(connections, team.rank == 0, mmap.mmap(handle, size))
        finally:
            os.close(handle)

    def wait(self) -> None:
        """Return once all processes are here.

        Raises:
            ProcessError: If one of them has died.
        """
        try:
            for act in (_hear, _tell) if self.is_first else (_tell, _hear):
                for connection in self.connections:
                    act(connection)
        except OSError as error:
            for connection in self.connections:
                connection.close()  # so that the others need not wait for this one
            raise ProcessError(f"another process has died, or is not heard of: {error}") from error


def _socket(name: bytes, others: int | None) -> socket.socket | None:
    """A socket that listens for so many others under a name, or is connected with it; None if that fails."""
    if sys.platform != "linux":
        return None
    own = socket.socket(socket.AF_UNIX)
    try:
        if others is None:
            own.connect(name)
        else:
            own.bind(name)
            own.listen(others)
    except OSError:
        own.close()
        return None
    return own


def _hear(connection: socket.socket) -> None:
    if not connection.recv(1):
        raise ConnectionError("its connection was closed")


def _tell(connection: socket.socket) -> None:
    connection.send(b".")
