"""Parts of the published systems that train on images: flags, training, run folders, results, figures."""

from pyrodgm.experiment.config import TrainingConfig
from pyrodgm.experiment.data import check_evaluation, load_data
from pyrodgm.experiment.draws import DrawResults, draws_report
from pyrodgm.experiment.evaluation import Evaluation, evaluate_run, rebuild
from pyrodgm.experiment.report import Report, evaluated_pair, report, text_report, write_figures
from pyrodgm.experiment.results import Results, evaluate
from pyrodgm.experiment.run import Run, check_resumable, describe, load_pair, read_config, read_run, restore_config
from pyrodgm.experiment.seeds import train_seeds
from pyrodgm.experiment.system import ImageSystem, PlainSystem, System
from pyrodgm.experiment.text import knn_summary, table
from pyrodgm.experiment.training import Trained, summary, train

__all__ = [
    "DrawResults",
    "Evaluation",
    "ImageSystem",
    "PlainSystem",
    "Report",
    "Results",
    "Run",
    "System",
    "Trained",
    "TrainingConfig",
    "check_evaluation",
    "check_resumable",
    "describe",
    "draws_report",
    "evaluate",
    "evaluate_run",
    "evaluated_pair",
    "knn_summary",
    "load_data",
    "load_pair",
    "read_config",
    "read_run",
    "rebuild",
    "report",
    "restore_config",
    "summary",
    "table",
    "text_report",
    "train",
    "train_seeds",
    "write_figures",
]
