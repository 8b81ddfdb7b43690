"""What examples share: flags, training, reading a run folder back, results on test data, figures."""

from pyrodgm.experiment.compare import Comparison, compare, comparison_table
from pyrodgm.experiment.report import report, write_figures
from pyrodgm.experiment.results import Results, evaluate, spread, table
from pyrodgm.experiment.run import Run, check_resumable, describe, load_pair, read_run, restore_config
from pyrodgm.experiment.training import TrainingConfig, summary, train

__all__ = [
    "Comparison",
    "Results",
    "Run",
    "TrainingConfig",
    "check_resumable",
    "compare",
    "comparison_table",
    "describe",
    "evaluate",
    "load_pair",
    "read_run",
    "report",
    "restore_config",
    "spread",
    "summary",
    "table",
    "train",
    "write_figures",
]
