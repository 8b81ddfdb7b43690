"""Where the metrics of training go: one file for each kind of log."""

from pyrodgm.infer.training.loggers.csv_log import CSVLogger, read_csv, write_csv
from pyrodgm.infer.training.loggers.logger import Logger
from pyrodgm.infer.training.loggers.mlflow_log import MLflowLogger
from pyrodgm.infer.training.loggers.tensorboard_log import TensorBoardLogger
from pyrodgm.infer.training.loggers.wandb_log import WandbLogger

__all__ = [
    "CSVLogger",
    "Logger",
    "MLflowLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "read_csv",
    "write_csv",
]
