"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.infer.checkpoint import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.elbo import ELBO
from pyrodgm.infer.fit import FitResult, fit
from pyrodgm.infer.importance import LogLikelihood, log_likelihood
from pyrodgm.infer.iwelbo import IWELBO
from pyrodgm.infer.metrics import active_units, knn_error, posterior_means
from pyrodgm.infer.nonfinite import NonFiniteError
from pyrodgm.infer.optim import AdamNormGrad, PiecewiseConstant, decay_groups
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
    "PiecewiseConstant",
    "TrainStep",
    "active_units",
    "decay_groups",
    "fit",
    "knn_error",
    "load_weights",
    "log_likelihood",
    "posterior_means",
    "reconstruct",
    "sample",
    "save_weights",
]
