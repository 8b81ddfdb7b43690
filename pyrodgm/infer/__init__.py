"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.infer.estimators.code_length import Bits, bits_per_symbol
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.estimators.iwelbo import IWELBO
from pyrodgm.infer.estimators.mixture_density import MixtureDensityELBO
from pyrodgm.infer.estimators.reading import ProgramError
from pyrodgm.infer.estimators.semi_supervised import SemiSupervisedELBO
from pyrodgm.infer.estimators.stratified import StratifiedELBO, StratifiedIWELBO
from pyrodgm.infer.evaluation.bidirectional import Certificate, bidirectional
from pyrodgm.infer.evaluation.gradients import gradient_snr
from pyrodgm.infer.evaluation.importance import log_likelihood
from pyrodgm.infer.evaluation.metrics import (
    active_units,
    classification_error,
    knn_error,
    knn_errors,
    posterior_means,
    posterior_samples,
    unit_variances,
)
from pyrodgm.infer.evaluation.predict import reconstruct, sample, sample_means
from pyrodgm.infer.evaluation.refined.guide import RefinedGuide, refine
from pyrodgm.infer.evaluation.result import LogLikelihood
from pyrodgm.infer.training.callbacks import Callback, Moment
from pyrodgm.infer.training.checkpoint import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.training.fit import FitResult, fit
from pyrodgm.infer.training.fit_text import TextFitResult, fit_text
from pyrodgm.infer.training.folder_lock import FolderInUseError
from pyrodgm.infer.training.loggers import CSVLogger, MLflowLogger, TensorBoardLogger, WandbLogger
from pyrodgm.infer.training.many.fit_many import Fitted, fit_many
from pyrodgm.infer.training.nonfinite import NonFiniteError
from pyrodgm.infer.training.optim import AdamNormGrad, Cosine, PiecewiseConstant, decay_groups
from pyrodgm.infer.training.schedules import BurdaSchedule
from pyrodgm.infer.training.settings import FitSettings
from pyrodgm.infer.training.step import TrainStep

__all__ = [
    "ELBO",
    "IWELBO",
    "AdamNormGrad",
    "Bits",
    "BurdaSchedule",
    "CSVLogger",
    "Callback",
    "Certificate",
    "Cosine",
    "DamagedFileError",
    "FitResult",
    "FitSettings",
    "Fitted",
    "FolderInUseError",
    "LogLikelihood",
    "MLflowLogger",
    "MixtureDensityELBO",
    "Moment",
    "NonFiniteError",
    "PiecewiseConstant",
    "ProgramError",
    "RefinedGuide",
    "SemiSupervisedELBO",
    "StratifiedELBO",
    "StratifiedIWELBO",
    "TensorBoardLogger",
    "TextFitResult",
    "TrainStep",
    "WandbLogger",
    "active_units",
    "bidirectional",
    "bits_per_symbol",
    "classification_error",
    "decay_groups",
    "fit",
    "fit_many",
    "fit_text",
    "gradient_snr",
    "knn_error",
    "knn_errors",
    "load_weights",
    "log_likelihood",
    "posterior_means",
    "posterior_samples",
    "reconstruct",
    "refine",
    "sample",
    "sample_means",
    "save_weights",
    "unit_variances",
]
