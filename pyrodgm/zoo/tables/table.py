"""What a published table consists of."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyrodgm.experiment import ImageSystem, System


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: Its first cell.
        flags: Flags of the system by which it differs from the others.
        published: The published value; None if none is known.
        note: What has to be known of that value, such as who published it.
    """

    name: str
    flags: Mapping[str, Any]
    published: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A further column, of results.

    Attributes:
        title: Its head.
        entries: Paths of entries in ``results.json``, whose values stand in its cell side by side.
        form: Format of each value, as ``str.format`` takes it.
        optional: Whether runs may lack the entries, which leaves the cell empty.
    """

    title: str
    entries: tuple[tuple[str, ...], ...]
    form: str = "{:.2f}"
    optional: bool = False


def by_encoder(draws: int) -> Column:
    """The column of what draws of the encoder make of the same weights, as published values were made."""
    return Column(f"by {draws:,} draws of the encoder", (("encoder_log_likelihood",),), optional=True)


@dataclass(frozen=True)
class Table:
    """A published table: what is trained for it, and where its values lie in the results.

    Attributes:
        name: Its name on the command line.
        system: The published system whose runs its rows are.
        rows: Its rows.
        flags: Flags of the system that all rows have.
        title: Head of the column of values, with their unit.
        value: Path of the value in ``results.json``.
        error: Path of its standard error over the test data; empty if there is none.
        compared: Path of the value that is made as the published ones were, which the verdict compares with these;
            empty: ``value``. Runs without it get no verdict.
        higher: Whether higher values are better.
        estimator: How the value is estimated.
        period: What a row of ``metrics.csv`` is called in the column of budgets.
        seeds: Number of seeds, the first of them that of the flags.
        columns: Further columns.
        search: Values of flags of which each combination is trained; of these the run with the best validation bound
            is evaluated, for each row and seed.
    """

    name: str
    system: System
    rows: tuple[Row, ...]
    flags: Mapping[str, Any] = field(default_factory=dict)
    title: str = "test log p(x), nats"
    value: tuple[str, ...] = ("log_likelihood",)
    error: tuple[str, ...] = ("standard_error",)
    compared: tuple[str, ...] = ()
    higher: bool = True
    estimator: str = "refined importance sampling"
    period: str = "epochs"
    seeds: int = 1
    columns: tuple[Column, ...] = ()
    search: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def settings(self) -> list[dict[str, Any]]:
        """The combinations of ``search``; without one a single one of no flags."""
        return [dict(zip(self.search, values, strict=True)) for values in itertools.product(*self.search.values())]

    @property
    def evaluates_best(self) -> bool:
        """Whether of several settings only the best is evaluated; systems with their own training evaluate each run."""
        return len(self.settings) > 1 and isinstance(self.system, ImageSystem) and not self.system.own_seeds

    def config(self, row: Row, changes: Mapping[str, Any]) -> Any:
        """Flags of a row for the first seed.

        Args:
            row: A row of this table.
            changes: Flags to change in all rows, such as the device; those that the system lacks are left out.
        """
        config = replace(self.system.config(), **{**self.flags, **row.flags})
        return replace(config, **{name: value for name, value in changes.items() if hasattr(config, name)})

    def chosen(self, names: Iterable[str]) -> tuple[Row, ...]:
        """The rows of these names; all for none.

        Raises:
            ValueError: If there is no row of a name.
        """
        names = tuple(names)
        known = [row.name for row in self.rows]
        for name in names:
            if name not in known:
                raise ValueError(f"rows must be some of {', '.join(map(repr, known))}, got {name!r}")
        return tuple(row for row in self.rows if not names or row.name in names)
