"""Evaluation of a run folder by the system that its ``config.json`` names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyrodgm import experiment, zoo
from pyrodgm.cli.refusals import check_flags, in_one_line
from pyrodgm.cli.terminal import print_anywhere
from pyrodgm.infer import DamagedFileError


@dataclass(frozen=True, kw_only=True)
class Evaluate(experiment.Evaluation):
    """Evaluate the best weights of a run on the test set. A flag that is left out has the value of the run."""

    run: Annotated[Path, tyro.conf.Positional]
    """Run folder."""


@in_one_line(Evaluate)
def evaluate(flags: Evaluate) -> None:
    """Evaluate, write results and figures, print them. No file of the run folder is executed.

    Raises:
        SystemExit: If the run cannot be evaluated; names file or flag.
    """
    print_anywhere()
    check_flags(flags)
    flags.check_export()
    try:
        name = experiment.read_config(flags.run)["example"]
        if name not in zoo.SYSTEMS:
            known = ", ".join(sorted(zoo.SYSTEMS))
            raise DamagedFileError(f"{flags.run / 'config.json'} names the example {name!r}; known are {known}")
        print(zoo.SYSTEMS[name].evaluate(flags.run, flags))
    except (FileNotFoundError, DamagedFileError) as error:
        raise SystemExit(f"{flags.run} cannot be evaluated: {error}") from error
    except ValueError as error:
        raise SystemExit(str(error)) from error
