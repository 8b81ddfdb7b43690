"""The symmetric Dirichlet prior over mixture weights."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.distributions import BetaLogit, StickLogits
from pyrodgm.processes import register_state


class SymmetricDirichletPrior(nn.Module):
    r"""Symmetric Dirichlet prior over the weights of K components, by stick-breaking.

    .. math:: v_k \sim \mathrm{Beta}(\alpha, (K - k)\, \alpha), \; k < K, \qquad \pi_k = v_k \prod_{j<k} (1 - v_j),
              \qquad \pi \sim \mathrm{Dirichlet}(\alpha, \dots, \alpha)

    The latents are the logits of the fractions, :math:`y_k = \log v_k - \log(1 - v_k)`; the divergence of every
    stick-breaking posterior from this prior is exact. :func:`pyrodgm.nn.stick_weights` maps the logits to weights.

    Args:
        num_components: Number of components K, at least 2.
        concentration: alpha, positive.

    Called with nothing it returns a :class:`~pyrodgm.distributions.StickLogits` with event shape ``[K - 1]``.

    Raises:
        ValueError: If an argument is out of range.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> SymmetricDirichletPrior(4)().mean_weights
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    first: Tensor
    second: Tensor

    def __init__(self, num_components: int, concentration: float = 1.0) -> None:
        super().__init__()
        num_components = whole_number("num_components", num_components, 2)
        concentration = finite_number("concentration", concentration, above=0.0)
        later = torch.arange(num_components - 1, 0, -1, dtype=torch.get_default_dtype())
        register_state(self, "replicated", "first", torch.full_like(later, concentration), persistent=False)
        register_state(self, "replicated", "second", concentration * later, persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return StickLogits(BetaLogit(self.first, self.second))
