"""Model/guide pairs."""

from pyrodgm.models.conv_hvae import conv_hvae, pixel_hvae
from pyrodgm.models.hvae import HVAE, dense_hvae
from pyrodgm.models.nade import NADE
from pyrodgm.models.pair import Pair
from pyrodgm.models.sequence import SequenceModel
from pyrodgm.models.stick_breaking_nade import StickBreakingNADE
from pyrodgm.models.vae import VAE

__all__ = ["HVAE", "NADE", "VAE", "Pair", "SequenceModel", "StickBreakingNADE", "conv_hvae", "dense_hvae", "pixel_hvae"]
