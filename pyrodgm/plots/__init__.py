"""Figures of data, of what a model makes of them, and of its training.

Every function returns a matplotlib ``Figure`` of its own: no backend is chosen and nothing global is touched. Notebooks
show it by themselves, and ``figure.savefig("name.png")`` writes it; :func:`save` and :func:`svg` do so in a light or
dark scheme, or as an SVG that follows the reader's.
"""

from pyrodgm.plots.adaptive import adaptive_steps, divergence_map
from pyrodgm.plots.charts import likelihood_diagnostics, log_likelihood_histogram, training_curves
from pyrodgm.plots.comparison import log_likelihood_curve
from pyrodgm.plots.components import component_usage
from pyrodgm.plots.images import grown_samples, image_grid, reconstructions, side_by_side
from pyrodgm.plots.latents import latent_and_decoder_sparsity, sticks_used, tsne
from pyrodgm.plots.sampler import sampler_chains
from pyrodgm.plots.saving import save, svg
from pyrodgm.plots.scatter import scatter_by_class
from pyrodgm.plots.sentences import sentences
from pyrodgm.plots.sound import spectrograms, waveforms, write_wav
from pyrodgm.plots.traversal import traversal_page
from pyrodgm.plots.units import unit_activities

__all__ = [
    "adaptive_steps",
    "component_usage",
    "divergence_map",
    "grown_samples",
    "image_grid",
    "latent_and_decoder_sparsity",
    "likelihood_diagnostics",
    "log_likelihood_curve",
    "log_likelihood_histogram",
    "reconstructions",
    "sampler_chains",
    "save",
    "scatter_by_class",
    "sentences",
    "side_by_side",
    "spectrograms",
    "sticks_used",
    "svg",
    "training_curves",
    "traversal_page",
    "tsne",
    "unit_activities",
    "waveforms",
    "write_wav",
]
