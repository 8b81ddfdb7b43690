"""Distributions of the logits of fractions."""

from pyrodgm.distributions.logits.beta import BetaLogit
from pyrodgm.distributions.logits.change_of_variable import LogitOf
from pyrodgm.distributions.logits.gamma_ratio import GammaRatioLogit
from pyrodgm.distributions.logits.kumaraswamy import KumaraswamyLogit
from pyrodgm.distributions.logits.logit import Logit
from pyrodgm.distributions.logits.normal import NormalLogit

__all__ = ["BetaLogit", "GammaRatioLogit", "KumaraswamyLogit", "Logit", "LogitOf", "NormalLogit"]
