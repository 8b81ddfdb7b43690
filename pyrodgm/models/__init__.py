"""Model/guide pairs."""

from pyrodgm.models.hvae import HVAE, dense_hvae
from pyrodgm.models.pair import Pair
from pyrodgm.models.vae import VAE

__all__ = ["HVAE", "VAE", "Pair", "dense_hvae"]
