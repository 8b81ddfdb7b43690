"""The registry of divergences: importing it registers all for ``torch.distributions.kl_divergence``.

Each is in closed form, or a quadrature whose error stands beside it.
"""

from pyrodgm.distributions.divergences import boltzmann, fractions, recurrent_sticks, sticks
from pyrodgm.distributions.divergences.given import divergence_given, register_given
from pyrodgm.distributions.divergences.kumaraswamy_series import kl_kumaraswamy_beta_series
from pyrodgm.distributions.divergences.mixture_bound import kl_mixture_bound
from pyrodgm.distributions.divergences.relaxed_bits import bits_divergence

__all__ = [
    "bits_divergence",
    "boltzmann",
    "divergence_given",
    "fractions",
    "kl_kumaraswamy_beta_series",
    "kl_mixture_bound",
    "recurrent_sticks",
    "register_given",
    "sticks",
]
