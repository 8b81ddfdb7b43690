"""Recurrent networks: plain, batch-normalised, and with a number of inner steps that adapts."""

from pyrodgm.nn.recurrent.batch_norm import BatchNormLSTM
from pyrodgm.nn.recurrent.halting import AdaptiveComputationTime
from pyrodgm.nn.recurrent.network import RecurrentNetwork, Unrolled
from pyrodgm.nn.recurrent.sentences import SentenceDecoder, SentenceEncoder, SentenceFeatures
from pyrodgm.nn.recurrent.stick_breaking import StickBreakingRNN

__all__ = [
    "AdaptiveComputationTime",
    "BatchNormLSTM",
    "RecurrentNetwork",
    "SentenceDecoder",
    "SentenceEncoder",
    "SentenceFeatures",
    "StickBreakingRNN",
    "Unrolled",
]
