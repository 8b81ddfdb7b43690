"""Model/guide pairs."""

from pyrodgm.models.adversarial_vae import AdversarialVAE
from pyrodgm.models.bottom_up_hvae import BottomUpHVAE
from pyrodgm.models.bottom_up_vae import BottomUpVAE
from pyrodgm.models.count_vae import CountVAE
from pyrodgm.models.density_network import DensityNetwork
from pyrodgm.models.dlgmm import DLGMM
from pyrodgm.models.dvae import DVAE
from pyrodgm.models.gan import GAN
from pyrodgm.models.hvae import HVAE
from pyrodgm.models.language_model import LanguageModel
from pyrodgm.models.nade import NADE
from pyrodgm.models.pair import Pair
from pyrodgm.models.rbm import RBM
from pyrodgm.models.semi_supervised_vae import SemiSupervisedVAE
from pyrodgm.models.sequence import SequenceModel
from pyrodgm.models.stick_breaking_nade import StickBreakingNADE
from pyrodgm.models.top_down_vae import TopDownVAE
from pyrodgm.models.two_layer_dlgmm import TwoLayerDLGMM
from pyrodgm.models.vae import VAE

__all__ = [
    "DLGMM",
    "DVAE",
    "GAN",
    "HVAE",
    "NADE",
    "RBM",
    "VAE",
    "AdversarialVAE",
    "BottomUpHVAE",
    "BottomUpVAE",
    "CountVAE",
    "DensityNetwork",
    "LanguageModel",
    "Pair",
    "SemiSupervisedVAE",
    "SequenceModel",
    "StickBreakingNADE",
    "TopDownVAE",
    "TwoLayerDLGMM",
]
