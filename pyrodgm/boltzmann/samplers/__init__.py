"""Samplers of Boltzmann machines, of one protocol."""

from pyrodgm.boltzmann.samplers.annealing import PopulationAnnealing
from pyrodgm.boltzmann.samplers.gibbs import Gibbs
from pyrodgm.boltzmann.samplers.protocol import Sampler, Samples

__all__ = ["Gibbs", "PopulationAnnealing", "Sampler", "Samples"]
