"""The subcommands of ``pyrodgm``."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro

from pyrodgm import __version__, zoo
from pyrodgm.cli.compare import Compare, compare
from pyrodgm.cli.demo import Demo, demo
from pyrodgm.cli.evaluate import Evaluate, evaluate
from pyrodgm.cli.table import TableFlags, table
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.cli.train import train


@dataclass(frozen=True)
class Train:
    """Train a published system; ``pyrodgm train SYSTEM --help`` shows its flags."""

    system: Annotated[Literal[tuple(zoo.SYSTEMS)], tyro.conf.Positional]  # type: ignore[valid-type]
    """Name of the system, followed by its flags."""


@dataclass(frozen=True)
class List:
    """List the published systems."""


def list_systems(flags: List) -> None:
    """Print the name of each published system and what it is."""
    width = max(map(len, zoo.SYSTEMS))
    for name, system in zoo.SYSTEMS.items():
        text = sys.modules[system.config.__module__].__doc__ or ""
        print(f"{name:<{width}}  {text.splitlines()[0]}")


COMMANDS: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "train": (Train, lambda flags: train(flags.system, [])),
    "evaluate": (Evaluate, evaluate),
    "compare": (Compare, compare),
    "table": (TableFlags, table),
    "demo": (Demo, demo),
    "list": (List, list_systems),
}


def main(args: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Args:
        args: Its name and flags, or ``--version``; by default those of this process.
    """
    print_anywhere()
    args = list(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        print(f"pyrodgm {__version__}")
        return
    if len(args) > 1 and args[0] == "train" and args[1] in zoo.SYSTEMS:
        train(args[1], args[2:], prog=f"pyrodgm train {args[1]}")
        return
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, (kind, _) in COMMANDS.items())
    flags = tyro.cli(Union[kinds], args=args, prog="pyrodgm")  # type: ignore[call-overload]  # noqa: UP007
    next(run for kind, run in COMMANDS.values() if isinstance(flags, kind))(flags)
