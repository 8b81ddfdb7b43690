"""What examples share: flags, training, reading a run folder back, results on test data, figures."""

from pyrodgm.experiment.latent_figures import latent_figures
from pyrodgm.experiment.mixture_figures import mixture_figures
from pyrodgm.experiment.report import evaluated_pair, report, write_figures
from pyrodgm.experiment.results import Results, evaluate, knn_summary, spread, table
from pyrodgm.experiment.run import Run, check_resumable, describe, load_pair, read_config, read_run, restore_config
from pyrodgm.experiment.training import TrainingConfig, check_evaluation, load_data, summary, train

__all__ = [
    "Results",
    "Run",
    "TrainingConfig",
    "check_evaluation",
    "check_resumable",
    "describe",
    "evaluate",
    "evaluated_pair",
    "knn_summary",
    "latent_figures",
    "load_data",
    "load_pair",
    "mixture_figures",
    "read_config",
    "read_run",
    "report",
    "restore_config",
    "spread",
    "summary",
    "table",
    "train",
    "write_figures",
]
