"""Likelihoods: modules that are called with the latents and return a distribution over the data."""

from pyrodgm.likelihoods.bernoulli import BernoulliLikelihood

__all__ = ["BernoulliLikelihood"]
