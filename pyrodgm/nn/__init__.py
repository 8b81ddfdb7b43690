"""Network blocks with no probability in them.

Those of vectors act on the rightmost dimension and broadcast over the others.
"""

from pyrodgm.nn.batch_norm import BatchNorm, NormalizedDense
from pyrodgm.nn.conv import GatedConv2d, Images, gated_convs
from pyrodgm.nn.conv_autoencoder import conv_decoder, conv_encoder
from pyrodgm.nn.count_profile import CountProfile, log_library_size
from pyrodgm.nn.dense import Dense, GatedDense, ResidualDense, mlp
from pyrodgm.nn.discriminator import Discriminator
from pyrodgm.nn.joint import Concatenate, DenseJoint, GatedJoint, Joint, joint_mlp
from pyrodgm.nn.masked_conv import MaskedConv2d
from pyrodgm.nn.nade import NADENetwork
from pyrodgm.nn.pixelcnn import ChannelNorm, PixelCNN
from pyrodgm.nn.scale import Scale
from pyrodgm.nn.stick_weights import StickWeights, stick_weights

__all__ = [
    "BatchNorm",
    "ChannelNorm",
    "Concatenate",
    "CountProfile",
    "Dense",
    "DenseJoint",
    "Discriminator",
    "GatedConv2d",
    "GatedDense",
    "GatedJoint",
    "Images",
    "Joint",
    "MaskedConv2d",
    "NADENetwork",
    "NormalizedDense",
    "PixelCNN",
    "ResidualDense",
    "Scale",
    "StickWeights",
    "conv_decoder",
    "conv_encoder",
    "gated_convs",
    "joint_mlp",
    "log_library_size",
    "mlp",
    "stick_weights",
]
