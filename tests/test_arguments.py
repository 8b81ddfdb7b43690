"""What public callables say of arguments that are no whole or finite numbers, or too small, and that NumPy's serve."""

import math

import numpy as np
import pytest
import torch

from pyrodgm import boltzmann
from pyrodgm.distributions import Kumaraswamy, kl_kumaraswamy_beta_series
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    BurdaSchedule,
    FitSettings,
    active_units,
    fit,
    gradient_snr,
    log_likelihood,
    posterior_means,
    posterior_samples,
    sample,
    unit_variances,
)
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import VAE
from pyrodgm.nn import mlp
from pyrodgm.posteriors import GaussianPosterior
from pyrodgm.priors import CategoricalPrior, MixtureOfGaussians, StandardNormal, SymmetricDirichletPrior
from pyrodgm.zoo.pairs import dense_hvae

X = (torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.float64)
WEIGHTS, LEFT, RIGHT = torch.zeros(2, 3), torch.zeros(2), torch.zeros(3)
QUIET = FitSettings(progress=False)


def vae():
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [3], 4)), GaussianPosterior(mlp(4, [3], 4)))


def train(**options):
    return fit(vae(), X, **{"epochs": 1, "batch_size": 5, "settings": QUIET, **options})


def evaluate(**options):
    return log_likelihood(vae(), X, **{"num_samples": 5, "compile": "eager", "progress": False, **options})


def small_hvae(**sizes):
    sizes = {"pixels": 4, "hidden": 3, "outputs": 1, **sizes}
    return dense_hvae(lambda posterior: StandardNormal(2), latents=(2, 2), **sizes)


def series(terms):
    beta = torch.distributions.Beta(torch.ones(()), torch.ones(()))
    return kl_kumaraswamy_beta_series(Kumaraswamy(torch.ones(()), torch.ones(())), beta, terms)


# Callables of one argument, its name, and the smallest value that it takes.
WHOLE = [
    (lambda v: train(epochs=v), "epochs", 1),
    (lambda v: train(batch_size=v), "batch_size", 1),
    (lambda v: train(patience=v), "patience", 1),
    (lambda v: train(seed=v), "seed", None),
    (lambda v: FitSettings(valid_every=v), "valid_every", 1),
    (lambda v: FitSettings(max_steps=v), "max_steps", 1),
    (lambda v: FitSettings(steps_per_epoch=v), "steps_per_epoch", 1),
    (lambda v: FitSettings(accumulate=v), "accumulate", 1),
    (lambda v: FitSettings(labelled_batch_size=v), "labelled_batch_size", 1),
    (lambda v: ELBO(num_particles=v), "num_particles", 1),
    (lambda v: IWELBO(v), "num_particles", 1),
    (lambda v: evaluate(num_samples=v), "num_samples", 1),
    (lambda v: evaluate(max_bytes=v), "max_bytes", 1),
    (lambda v: evaluate(seed=v), "seed", None),
    (lambda v: posterior_means(vae(), X, batch_size=v), "batch_size", 1),
    (lambda v: posterior_means(vae(), X, num_samples=v), "num_samples", 1),
    (lambda v: posterior_samples(vae(), X, batch_size=v), "batch_size", 1),
    (lambda v: unit_variances(vae(), X, num_samples=v), "num_samples", 1),
    (lambda v: sample(vae(), v), "like", 1),
    (lambda v: gradient_snr(vae(), ELBO(), X, v), "num_draws", 2),
    (StandardNormal, "features", 1),
    (lambda v: MixtureOfGaussians(2, v), "num_components", 1),
    (lambda v: SymmetricDirichletPrior(v), "num_components", 2),
    (lambda v: CategoricalPrior(v), "num_classes", 2),
    (lambda v: small_hvae(hidden=v), "hidden", 1),
    (lambda v: small_hvae(outputs=v), "outputs", 1),
    (series, "terms", 1),
    (lambda v: boltzmann.gibbs_sweeps(WEIGHTS, LEFT, RIGHT, torch.zeros(1, 2).to(WEIGHTS), v), "num_sweeps", 1),
    (lambda v: boltzmann.mean_field_log_partition(WEIGHTS, LEFT, RIGHT, v), "num_iterations", 1),
]


def name(row):
    return row if isinstance(row, str) else ""


@pytest.mark.parametrize(("call", "argument", "least"), WHOLE, ids=name)
def test_whole_numbers(call, argument, least):
    wrong = [1.5, math.nan, math.inf, "3", True, torch.tensor([1, 2]), np.float64(2.0)]
    for value in wrong:
        if argument == "like" and not isinstance(value, (bool, float)):  # which may be data too
            continue
        with pytest.raises(TypeError, match=f"^{argument} must be a whole number, got "):
            call(value)
    if least is not None:
        for value in (least - 1, -1, np.int64(least - 1)):
            with pytest.raises(ValueError, match=rf"^{argument} must be at least {least}(, or None)?, got {value}$"):
                call(value)
    if argument != "patience":  # which needs validation data
        call(np.int64(2))


# Callables of one argument, its name, and what it must be besides finite.
FINITE = [
    (lambda v: train(kl_warmup=v), "kl_warmup", "finite|at least 0", -1.0),
    (lambda v: FitSettings(clip_grad_norm=v), "clip_grad_norm", "finite|positive, or None", 0.0),
    (lambda v: ELBO(kl_weight=v), "kl_weight", "finite and at least 0", -0.1),
    (lambda v: IWELBO(2, kl_weight=v), "kl_weight", "finite and at least 0", -0.1),
    (lambda v: IWELBO(2, alpha=v), "alpha", "finite", None),
]


@pytest.mark.parametrize(("call", "argument", "rule", "small"), FINITE, ids=name)
def test_finite_numbers(call, argument, rule, small):
    for value in (math.nan, math.inf, -math.inf, *([] if small is None else [small])):
        with pytest.raises(ValueError, match=f"^{argument} must be ({rule})"):
            call(value)
    for value in ("a", True, [1.0], 1j):
        with pytest.raises(TypeError, match=f"^{argument} must be a number, got "):
            call(value)
    call(np.float32(0.5))


def test_active_units_of_means_that_are_not_numbers():
    with pytest.raises(ValueError, match="x must have finite posterior means, but those of site 'z' are not"):
        active_units(vae(), X * math.nan)


MACHINE = {"weights": WEIGHTS, "left_bias": LEFT, "right_bias": RIGHT}


@pytest.mark.parametrize("argument", MACHINE)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_machines_that_are_not_finite(argument, bad):
    machine = {**MACHINE, argument: torch.full_like(MACHINE[argument], bad)}
    functions = [
        lambda m: boltzmann.exact_log_partition(**m),
        lambda m: boltzmann.mean_field_log_partition(**m),
        lambda m: boltzmann.gibbs_sweeps(**m, left=torch.zeros(1, 2).to(WEIGHTS)),
        lambda m: boltzmann.annealed_importance_sampling(**m),
        lambda m: boltzmann.population_annealing(**m),
    ]
    for function in functions:
        with pytest.raises(ValueError, match=f"^{argument} must be finite, got NaN or infinite values"):
            function(machine)


def test_a_schedule_of_stages():
    optimizer = torch.optim.SGD(vae().parameters(), lr=1.0)
    with pytest.raises(TypeError, match=r"stages must be a whole number, got 2\.5"):
        BurdaSchedule(optimizer, epochs=10, stages=2.5)
