"""Model/guide pairs."""

from pyrodgm.models.conv_hvae import conv_hvae, pixel_hvae
from pyrodgm.models.hvae import HVAE, dense_hvae
from pyrodgm.models.pair import Pair
from pyrodgm.models.semi_supervised_vae import SemiSupervisedVAE
from pyrodgm.models.vae import VAE

__all__ = ["HVAE", "VAE", "Pair", "SemiSupervisedVAE", "conv_hvae", "dense_hvae", "pixel_hvae"]
