"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.infer.checkpoint import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.elbo import ELBO
from pyrodgm.infer.fit import FitResult, fit
from pyrodgm.infer.importance import LogLikelihood, log_likelihood
from pyrodgm.infer.iwelbo import IWELBO
from pyrodgm.infer.metrics import (
    active_units,
    knn_error,
    knn_errors,
    posterior_means,
    posterior_samples,
    unit_variances,
)
from pyrodgm.infer.nonfinite import NonFiniteError
from pyrodgm.infer.optim import AdamNormGrad
from pyrodgm.infer.predict import reconstruct, sample
from pyrodgm.infer.step import TrainStep

__all__ = [
    "ELBO",
    "IWELBO",
    "AdamNormGrad",
    "DamagedFileError",
    "FitResult",
    "LogLikelihood",
    "NonFiniteError",
    "TrainStep",
    "active_units",
    "fit",
    "knn_error",
    "knn_errors",
    "load_weights",
    "log_likelihood",
    "posterior_means",
    "posterior_samples",
    "reconstruct",
    "sample",
    "save_weights",
    "unit_variances",
]
