"""Bounds: the ELBO family, and what reads a pair of programs."""
