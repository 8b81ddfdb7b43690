"""Network blocks with no probability in them.

Those of vectors act on the rightmost dimension and broadcast over the others.
"""

from pyrodgm.nn.conv import GatedConv2d, Images, gated_convs
from pyrodgm.nn.dense import Dense, GatedDense, ResidualDense, mlp
from pyrodgm.nn.joint import Concatenate, DenseJoint, GatedJoint, Joint, joint_mlp
from pyrodgm.nn.masked_conv import MaskedConv2d
from pyrodgm.nn.pixelcnn import ChannelNorm, PixelCNN

__all__ = [
    "ChannelNorm",
    "Concatenate",
    "Dense",
    "DenseJoint",
    "GatedConv2d",
    "GatedDense",
    "GatedJoint",
    "Images",
    "Joint",
    "MaskedConv2d",
    "PixelCNN",
    "ResidualDense",
    "gated_convs",
    "joint_mlp",
    "mlp",
]
