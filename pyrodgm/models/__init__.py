"""Model/guide pairs."""

from pyrodgm.models.pair import Pair
from pyrodgm.models.vae import VAE

__all__ = ["VAE", "Pair"]
