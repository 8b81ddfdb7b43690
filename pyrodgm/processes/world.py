"""The processes that work together."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
import torch.distributed as dist

from pyrodgm.errors import PyrodgmError

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets

_alone: ContextVar[bool] = ContextVar("alone", default=False)


class ProcessError(PyrodgmError, RuntimeError):
    """Another process failed or has died."""


@dataclass(frozen=True)
class World:
    """The processes that work together.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int
    size: int


def world() -> World:
    """The processes that work together, of which this is one; one that was not started by ``torchrun`` is alone.

    The default process group of ``torch.distributed`` is used, and made from the environment that ``torchrun`` sets if
    there is none: Gloo for tensors on the CPU and NCCL for those on CUDA devices, of which each process gets the one of
    its ``LOCAL_RANK``.

    Example:
        >>> with alone():
        ...     world()
        World(rank=0, size=1)
    """
    if _alone.get() or not dist.is_available():
        return World(0, 1)
    if not dist.is_initialized():
        if any(name not in os.environ for name in LAUNCHED) or int(os.environ["WORLD_SIZE"]) < 2:
            return World(0, 1)
        cuda = torch.cuda.is_available() and dist.is_nccl_available()
        if cuda:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        store, rank, size = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        # torchrun keeps the store when it restarts processes: they would find the addresses of those that died
        attempt = f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = dist.PrefixStore(attempt, store)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    return World(dist.get_rank(), dist.get_world_size())


def restarted_job() -> str | None:
    """The job of ``torchrun`` that has restarted this process, the same each time; None if nothing was restarted.

    It is told by its name and by the agent that runs it on this machine.
    """
    if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) == 0:
        return None
    return current_job()


def current_job() -> str | None:
    """The job of ``torchrun`` that runs this process, if any."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return None if name is None else f"{name} {socket.gethostname()} {os.getppid()}"


@contextmanager
def alone() -> Iterator[None]:
    """Context in which this process works alone, with others or not: it trains and evaluates a model of its own."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)
