"""Estimators, training and evaluation for any model/guide pair."""

from pyrodgm.damaged_file import DamagedFileError
from pyrodgm.infer.estimators.adversarial.autoencoder import AdversarialAutoencoderLoss
from pyrodgm.infer.estimators.adversarial.elbo import AdversarialELBO
from pyrodgm.infer.estimators.adversarial.games import Hinge, NonSaturating, Wasserstein
from pyrodgm.infer.estimators.adversarial.gan import GANLoss
from pyrodgm.infer.estimators.adversarial.vae_gan import VAEGANLoss
from pyrodgm.infer.estimators.code_length import Bits, bits_per_symbol
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.estimators.iwelbo import IWELBO
from pyrodgm.infer.estimators.mixture_density import MixtureDensityELBO
from pyrodgm.infer.estimators.semi_supervised import SemiSupervisedELBO
from pyrodgm.infer.estimators.stratified import StratifiedELBO, StratifiedIWELBO
from pyrodgm.infer.evaluation.annealed import annealed_log_likelihood
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
from pyrodgm.infer.evaluation.perplexity import Perplexity, perplexity
from pyrodgm.infer.evaluation.predict import reconstruct, sample, sample_means
from pyrodgm.infer.evaluation.refined.guide import RefinedGuide, refine
from pyrodgm.infer.evaluation.result import LogLikelihood
from pyrodgm.infer.evaluation.two_samples import PrecisionRecall, TwoSample, knn_two_sample, precision_recall
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.callbacks import Callback, Moment
from pyrodgm.infer.training.checkpoint import load_weights, save_weights
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
    "AdversarialAutoencoderLoss",
    "AdversarialELBO",
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
    "GANLoss",
    "Hinge",
    "LogLikelihood",
    "MLflowLogger",
    "MixtureDensityELBO",
    "Moment",
    "NonFiniteError",
    "NonSaturating",
    "Perplexity",
    "PiecewiseConstant",
    "PrecisionRecall",
    "ProgramError",
    "RefinedGuide",
    "SemiSupervisedELBO",
    "StratifiedELBO",
    "StratifiedIWELBO",
    "TensorBoardLogger",
    "TextFitResult",
    "TrainStep",
    "TwoSample",
    "VAEGANLoss",
    "WandbLogger",
    "Wasserstein",
    "active_units",
    "annealed_log_likelihood",
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
    "knn_two_sample",
    "load_weights",
    "log_likelihood",
    "perplexity",
    "posterior_means",
    "posterior_samples",
    "precision_recall",
    "reconstruct",
    "refine",
    "sample",
    "sample_means",
    "save_weights",
    "unit_variances",
]
