"""Densities, samplers and divergences, in log space; no trainable state."""
