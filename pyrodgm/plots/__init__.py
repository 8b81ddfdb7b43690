"""Figures of data, of what a model makes of them, and of its training.

Every function returns a matplotlib ``Figure`` of its own: no backend is chosen, nothing global is touched, and
``figure.savefig("name.png")`` writes it.
"""

from pyrodgm.plots.adaptive import adaptive_steps, divergence_map
from pyrodgm.plots.charts import log_likelihood_histogram, training_curves
from pyrodgm.plots.images import grown_samples, image_grid, reconstructions

__all__ = [
    "adaptive_steps",
    "divergence_map",
    "grown_samples",
    "image_grid",
    "log_likelihood_histogram",
    "reconstructions",
    "training_curves",
]
