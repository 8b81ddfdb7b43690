r"""Bipartite Boltzmann machines as functions of weights ``[L, R]``, left bias ``[L]`` and right bias ``[R]``.

.. math:: p(l, r) = \frac 1Z e^{-E(l, r)}, \qquad -E(l, r) = l^\top W r + b^\top l + c^\top r, \qquad l, r \in \{0, 1\}
"""

from pyrodgm.boltzmann.annealed_importance import LogPartition, annealed_importance_sampling
from pyrodgm.boltzmann.energy import check_parameters, left_field, log_marginal, negative_energy, right_field
from pyrodgm.boltzmann.exact import (
    FAST_UNITS,
    MAX_UNITS,
    can_enumerate,
    exact_log_partition,
    exact_moments,
    exact_samples,
)
from pyrodgm.boltzmann.gibbs import gibbs_sweeps, random_states
from pyrodgm.boltzmann.mean_field import bernoulli_entropy, mean_field_log_partition
from pyrodgm.boltzmann.moments import Moments, attach_moments, sample_moments
from pyrodgm.boltzmann.persistent import advance_chains, log_partition_change
from pyrodgm.boltzmann.population_annealing import Population, population_annealing
from pyrodgm.boltzmann.resampling import systematic_resample

__all__ = [
    "FAST_UNITS",
    "MAX_UNITS",
    "LogPartition",
    "Moments",
    "Population",
    "advance_chains",
    "annealed_importance_sampling",
    "attach_moments",
    "bernoulli_entropy",
    "can_enumerate",
    "check_parameters",
    "exact_log_partition",
    "exact_moments",
    "exact_samples",
    "gibbs_sweeps",
    "left_field",
    "log_marginal",
    "log_partition_change",
    "mean_field_log_partition",
    "negative_energy",
    "population_annealing",
    "random_states",
    "right_field",
    "sample_moments",
    "systematic_resample",
]
