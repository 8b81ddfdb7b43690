"""Densities, samplers and divergences, in log space; no trainable state."""

from pyrodgm.distributions.diag_normal_mixture import DiagNormalMixture

__all__ = ["DiagNormalMixture"]
