"""Model/guide pairs."""

from pyrodgm.models.conv_hvae import conv_hvae, pixel_hvae
from pyrodgm.models.dvae import DVAE
from pyrodgm.models.hvae import HVAE, dense_hvae
from pyrodgm.models.pair import Pair
from pyrodgm.models.vae import VAE

__all__ = ["DVAE", "HVAE", "VAE", "Pair", "conv_hvae", "dense_hvae", "pixel_hvae"]
