"""Proposals refined for each datum: variational Gauss-Newton, then fresh draws of a Student's t."""
