"""Evaluation: likelihoods, diagnostics, draws."""
