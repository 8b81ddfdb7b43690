"""Odd and wrong values for each argument of each public function and class: what comes of them.

python benchmarks/odd_arguments.py            # counts and faults; --only nn. for some of them
python benchmarks/odd_arguments.py --table    # what each argument takes, for docs/arguments.md
"""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import argument_drill


@dataclass(frozen=True)
class Config:
    """Count the refusals that name their argument, those that do not, and what is taken."""

    only: str = ""
    """Part of the names of the functions and classes that are tried."""
    table: bool = False
    """Print the table of what each argument takes, and try nothing."""


def main(config: Config) -> None:
    if config.table:
        print(argument_drill.table())
        return
    warnings.simplefilter("ignore")
    torch.set_default_dtype(torch.float64)
    chosen = [name for name in argument_drill.CALLS if config.only in name]
    total = argument_drill.Found()
    for name in chosen:
        total += argument_drill.try_all(name)
    print("\n".join(total.faults))
    print(
        f"\n{len(chosen)} functions and classes, {total.values:,} values: {total.named:,} refusals name the argument, "
        f"{total.unnamed:,} do not; {total.finite:,} are taken, {total.not_finite:,} with results that are not finite"
    )


if __name__ == "__main__":
    main(tyro.cli(Config))
