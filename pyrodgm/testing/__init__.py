"""Checks of parts that others write, and random programs whose bounds are known exactly."""
