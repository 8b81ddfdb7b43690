"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.infer.checkpoint import DamagedFileError, load_weights, save_weights
from pyrodgm.infer.elbo import ELBO
from pyrodgm.infer.fit import FitResult, fit
from pyrodgm.infer.gradients import gradient_snr
from pyrodgm.infer.importance import LogLikelihood, log_likelihood
from pyrodgm.infer.iwelbo import IWELBO
from pyrodgm.infer.metrics import active_units, knn_error, knn_errors, posterior_means, posterior_samples
from pyrodgm.infer.mixture_density import MixtureDensityELBO
from pyrodgm.infer.nonfinite import NonFiniteError
from pyrodgm.infer.optim import AdamNormGrad
from pyrodgm.infer.predict import reconstruct, sample
from pyrodgm.infer.schedules import BurdaSchedule
from pyrodgm.infer.step import TrainStep
from pyrodgm.infer.stratified import StratifiedELBO, StratifiedIWELBO

__all__ = [
    "ELBO",
    "IWELBO",
    "AdamNormGrad",
    "BurdaSchedule",
    "DamagedFileError",
    "FitResult",
    "LogLikelihood",
    "MixtureDensityELBO",
    "NonFiniteError",
    "StratifiedELBO",
    "StratifiedIWELBO",
    "TrainStep",
    "active_units",
    "fit",
    "gradient_snr",
    "knn_error",
    "knn_errors",
    "load_weights",
    "log_likelihood",
    "posterior_means",
    "posterior_samples",
    "reconstruct",
    "sample",
    "save_weights",
]
