"""Figures of a trained pair: those of every pair, and those of its parts, registered by type in a file each."""

from pyrodgm.figures import boltzmann_prior, latent_mixture, mixture_prior, seeds, sticks
from pyrodgm.figures.draw import draw_pair
from pyrodgm.figures.registry import Scene, draw

__all__ = ["Scene", "boltzmann_prior", "draw", "draw_pair", "latent_mixture", "mixture_prior", "seeds", "sticks"]
