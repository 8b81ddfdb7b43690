r"""Boltzmann machines: of two layers as functions of weights and biases, and on any graph as a :class:`Machine`.

.. math:: p(z) = \frac 1Z e^{-E(z)}, \quad -E(z) = \sum_{(i, j)} w_{ij} z_i z_j + \sum_i b_i z_i, \quad z \in \{0, 1\}^n

Units may also be of several states or real (:class:`Potts`, :class:`Gaussian`). Functions of weights ``[L, R]``, left
bias ``[L]`` and right bias ``[R]`` are about two full layers, left and right.
"""

from pyrodgm.boltzmann.annealed_importance import LogPartition, annealed_importance_sampling
from pyrodgm.boltzmann.bipartite_machine import BipartiteMachine
from pyrodgm.boltzmann.checked import (
    attach_moments,
    bernoulli_entropy,
    left_field,
    log_marginal,
    negative_energy,
    right_field,
    sample_moments,
)
from pyrodgm.boltzmann.coloring import greedy_coloring
from pyrodgm.boltzmann.diagnostics import SamplerCheck, TwoSample, check_sampler, two_sample_test
from pyrodgm.boltzmann.elimination_order import MAX_WIDTH, EliminationOrder
from pyrodgm.boltzmann.energy import check_parameters
from pyrodgm.boltzmann.exact import (
    FAST_UNITS,
    MAX_UNITS,
    can_enumerate,
    exact_log_partition,
    exact_moments,
    exact_samples,
)
from pyrodgm.boltzmann.gibbs import gibbs_sweeps, random_states
from pyrodgm.boltzmann.graph import Graph
from pyrodgm.boltzmann.graph_machine import GraphMachine, GraphMoments
from pyrodgm.boltzmann.machine import Machine, Swept
from pyrodgm.boltzmann.mean_field import mean_field_log_partition
from pyrodgm.boltzmann.moments import Moments
from pyrodgm.boltzmann.persistent import advance_chains, log_partition_change
from pyrodgm.boltzmann.population_annealing import Population, anneal_population, population_annealing
from pyrodgm.boltzmann.potts import Potts
from pyrodgm.boltzmann.resampling import systematic_resample
from pyrodgm.boltzmann.samplers import Dimod, Gibbs, ParallelTempering, PopulationAnnealing, Sampler, Samples
from pyrodgm.boltzmann.spins import Spins, bits_from_spins, spins_from_bits
from pyrodgm.boltzmann.temperature import InverseTemperature, estimate_inverse_temperature
from pyrodgm.boltzmann.units import Bits, Gaussian, Units

__all__ = [
    "FAST_UNITS",
    "MAX_UNITS",
    "MAX_WIDTH",
    "BipartiteMachine",
    "Bits",
    "Dimod",
    "EliminationOrder",
    "Gaussian",
    "Gibbs",
    "Graph",
    "GraphMachine",
    "GraphMoments",
    "InverseTemperature",
    "LogPartition",
    "Machine",
    "Moments",
    "ParallelTempering",
    "Population",
    "PopulationAnnealing",
    "Potts",
    "Sampler",
    "SamplerCheck",
    "Samples",
    "Spins",
    "Swept",
    "TwoSample",
    "Units",
    "advance_chains",
    "anneal_population",
    "annealed_importance_sampling",
    "attach_moments",
    "bernoulli_entropy",
    "bits_from_spins",
    "can_enumerate",
    "check_parameters",
    "check_sampler",
    "estimate_inverse_temperature",
    "exact_log_partition",
    "exact_moments",
    "exact_samples",
    "gibbs_sweeps",
    "greedy_coloring",
    "left_field",
    "log_marginal",
    "log_partition_change",
    "mean_field_log_partition",
    "negative_energy",
    "population_annealing",
    "random_states",
    "right_field",
    "sample_moments",
    "spins_from_bits",
    "systematic_resample",
    "two_sample_test",
]
