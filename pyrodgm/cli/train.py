"""Training of a published system."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tyro

from pyrodgm import zoo
from pyrodgm.cli.refusals import check_flags, in_one_line
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.experiment import ImageSystem, System, train_seeds
from pyrodgm.processes import world


def train(name: str, args: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Train a published system by its flags and print its results, once where several processes train it together.

    Args:
        name: Name of the system, as in :data:`pyrodgm.zoo.SYSTEMS`.
        args: Its flags; by default those of this process.
        prog: Name of the program, for its help.

    Raises:
        SystemExit: If a flag is wrong, with status 2; names it.
    """
    print_anywhere()
    system: System = zoo.SYSTEMS[name]
    flags = current_names(sys.argv[1:] if args is None else args, getattr(system.config, "RENAMED", {}))
    config = tyro.cli(system.config, args=flags, prog=prog)
    with in_one_line(system.config):
        check_flags(config)
        for text in _texts(system, config):
            if world().rank == 0:
                print(text, flush=True)


def _texts(system: System, config: Any) -> Iterable[str]:
    """What a system prints for its flags."""
    if isinstance(system, ImageSystem) and config.num_seeds != 1 and not system.own_seeds:
        return train_seeds(system, config)
    return system.main(config)


def current_names(args: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Arguments with the names of today in place of flags that have been renamed.

    Example:
        >>> current_names(["--k", "5", "--struct=1-layer-lin"], {"k": "particles"})
        ['--particles', '5', '--struct=1-layer-lin']
    """
    found = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        known = flag.startswith("--") and name in renamed
        found.append(f"--{renamed[name].replace('_', '-')}{equals}{value}" if known else arg)
    return found
