"""The published model/guide pairs of several networks, built by one call each."""

from pyrodgm.zoo.pairs.conv_hvae import conv_hvae, pixel_hvae
from pyrodgm.zoo.pairs.dense_hvae import dense_hvae
from pyrodgm.zoo.pairs.discrete_vae import STRUCTURES, Method, Structure, discrete_vae
from pyrodgm.zoo.pairs.dlgmm import dense_dlgmm, dense_dpvae
from pyrodgm.zoo.pairs.two_layer_dlgmm import dense_two_layer_dlgmm

__all__ = [
    "STRUCTURES",
    "Method",
    "Structure",
    "conv_hvae",
    "dense_dlgmm",
    "dense_dpvae",
    "dense_hvae",
    "dense_two_layer_dlgmm",
    "discrete_vae",
    "pixel_hvae",
]
