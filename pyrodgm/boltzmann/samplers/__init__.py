"""Samplers of Boltzmann machines, of one protocol."""

from pyrodgm.boltzmann.samplers.annealing import PopulationAnnealing
from pyrodgm.boltzmann.samplers.dimod import Dimod
from pyrodgm.boltzmann.samplers.gibbs import Gibbs
from pyrodgm.boltzmann.samplers.protocol import Sampler, Samples
from pyrodgm.boltzmann.samplers.tempering import ParallelTempering

__all__ = ["Dimod", "Gibbs", "ParallelTempering", "PopulationAnnealing", "Sampler", "Samples"]
