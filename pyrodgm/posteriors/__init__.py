"""Approximate posteriors: modules that are called with the data and return a distribution over the latents."""

from pyrodgm.posteriors.gaussian import GaussianPosterior

__all__ = ["GaussianPosterior"]
