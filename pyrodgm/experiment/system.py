"""What a published system consists of."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pyro.infer
from torch import nn

from pyrodgm.datasets import Dataset
from pyrodgm.experiment.config import TrainingConfig
from pyrodgm.experiment.data import load_data
from pyrodgm.experiment.evaluation import Evaluation, evaluate_run
from pyrodgm.experiment.report import text_report
from pyrodgm.infer.training.settings import OptimizerMaker

C = TypeVar("C", bound=TrainingConfig)


class System(Protocol):
    """What the command line asks of every published system.

    Attributes:
        name: Its name on the command line and in ``config.json``.
        config: The frozen dataclass of its flags.
    """

    @property
    def name(self) -> str: ...

    @property
    def config(self) -> type[Any]: ...

    @property
    def main(self) -> Callable[[Any], Iterable[str]]:
        """Called with the flags: trains, evaluates and writes a run folder; yields the text to print as it comes."""
        ...

    def evaluate(self, path: Path, flags: Evaluation) -> str:
        """Evaluate the best weights of a run folder; returns the text to print."""
        ...


@dataclass(frozen=True)
class PlainSystem:
    """A published system with its own training and evaluation; a :class:`System`.

    Attributes:
        name: Its name on the command line and in ``config.json``.
        config: The frozen dataclass of its flags.
        main: Called with the flags: trains, evaluates and writes a run folder; yields the text to print.
        evaluate: Called with a run folder and flags; evaluates its best weights and returns the text to print.
    """

    name: str
    config: type[Any]
    main: Callable[[Any], Iterable[str]]
    evaluate: Callable[[Path, Evaluation], str]


def no_options(config: Any, data: Dataset) -> dict[str, Any]:
    """No further options of training."""
    return {}


@dataclass(frozen=True)
class ImageSystem(Generic[C]):
    """A published system that trains one pair on images; a :class:`System`.

    Attributes:
        name: Its name on the command line and in ``config.json``.
        config: The frozen dataclass of its flags, a :class:`TrainingConfig`.
        build: Called with flags and data, returns the untrained pair; the seed is set before.
        objective: The estimator that the flags name.
        optimizer: Makes the optimiser from the parameters of the pair.
        main: Called with the flags: trains and evaluates by :func:`pyrodgm.experiment.train`; yields the text to
            print.
        settings: Called with flags and data, gives further settings of training by name, as
            :class:`pyrodgm.infer.FitSettings` calls them.
        load_data: Called with flags and the folder of the data, reads the data.
        report: Evaluates a pair and writes results and figures, with the arguments of :func:`report`; returns text.
        values: The kinds of data that it takes, as :class:`pyrodgm.datasets.Dataset` calls them.
        own_seeds: Whether ``main`` itself trains several seeds, whose data differ say; else
            :func:`pyrodgm.experiment.train_seeds` does.
    """

    name: str
    config: type[C]
    build: Callable[[C, Dataset], nn.Module]
    objective: Callable[[C], pyro.infer.ELBO]
    optimizer: Callable[[C], OptimizerMaker]
    main: Callable[[C], Iterable[str]]
    settings: Callable[[C, Dataset], Mapping[str, Any]] = no_options
    load_data: Callable[[C, str | None], Dataset] = load_data
    report: Callable[..., str] = text_report
    values: tuple[str, ...] = ("binary", "grey")
    own_seeds: bool = False

    def read_data(self, config: C, root: str | None = None) -> Dataset:
        """The data of a run, as ``load_data`` reads them.

        Raises:
            ValueError: If the system does not take their values; names them.
        """
        data = self.load_data(config, root)
        if data.values not in self.values:
            taken = " or ".join(self.values)
            raise ValueError(f"--data must be {taken} for {self.name}, got {data.name}, whose values are {data.values}")
        return data

    def evaluate(self, path: Path, flags: Evaluation) -> str:
        """Evaluate the best weights of a run folder; returns the text to print."""
        return evaluate_run(self, path, flags)
