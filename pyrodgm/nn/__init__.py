"""Network blocks with no probability in them.

Those of vectors act on the rightmost dimension and broadcast over the others.
"""

from pyrodgm.nn.batch_norm import BatchNorm, NormalizedDense
from pyrodgm.nn.conv import GatedConv2d, Images, gated_convs
from pyrodgm.nn.dense import Dense, GatedDense, mlp
from pyrodgm.nn.joint import Concatenate, GatedJoint, Joint
from pyrodgm.nn.masked_conv import MaskedConv2d
from pyrodgm.nn.pixelcnn import ChannelNorm, PixelCNN

__all__ = [
    "BatchNorm",
    "ChannelNorm",
    "Concatenate",
    "Dense",
    "GatedConv2d",
    "GatedDense",
    "GatedJoint",
    "Images",
    "Joint",
    "MaskedConv2d",
    "NormalizedDense",
    "PixelCNN",
    "gated_convs",
    "mlp",
]
