"""The truncated stick-breaking prior of a Dirichlet process."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.distributions import GEMLogits
from pyrodgm.processes import register_state


class GEMPrior(nn.Module):
    r"""Truncated stick-breaking (GEM) prior with a concentration that is fixed, learned, or learned under a Gamma.

    .. math:: v_k \sim \mathrm{Beta}(1, \alpha), \; k < K, \qquad \pi_k = v_k \prod_{j<k} (1 - v_j), \qquad
              [\alpha \sim \mathrm{Gamma}(s, r)]

    The latents are the logits of the fractions, :math:`y_k = \log v_k - \log(1 - v_k)`;
    :class:`pyrodgm.nn.StickWeights` maps them to weights in front of the decoder.

    A learned concentration is a point estimate, one parameter (its logarithm). With ``hyperprior`` it is the MAP
    estimate of log alpha: whenever the model runs in training mode, each of the ``num_data`` data contributes
    1 / ``num_data`` of the hyperprior's log-density, as a :func:`pyro.factor` named ``hyperprior`` inside the data
    plate. Plate scaling therefore applies to it, every estimator trains it, and all latent sites stay in the plate. In
    evaluation mode there is no factor: bounds and log-likelihoods are those of the data alone. A full posterior would
    add little, since its width relative to alpha is about :math:`1 / \sqrt{NK}`.

    Args:
        truncation: Number of sticks K, at least 2.
        concentration: alpha, positive; its initial value if learned. About alpha + 1 sticks carry most of the mass.
        learn: Whether alpha is learned.
        hyperprior: Shape s and rate r of the Gamma hyperprior on alpha; needs ``learn`` and ``num_data``.
        num_data: Number of training data N.

    Called with nothing it returns a :class:`~pyrodgm.distributions.GEMLogits` with event shape ``[K - 1]``.

    Raises:
        ValueError: If an argument is out of range, or a hyperprior comes without ``learn`` or ``num_data``.

    Source: Ishwaran and James (2001), JASA 96, 161; Nalisnick and Smyth (2017), arXiv 1605.06197.

    Example:
        >>> GEMPrior(50, 5.0)().sample().shape
        torch.Size([49])
        >>> GEMPrior(50, 5.0, learn=True, hyperprior=(1.0, 0.2), num_data=45_000).concentration.item()
        5.0
    """

    log_concentration: Tensor

    def __init__(
        self,
        truncation: int,
        concentration: float = 1.0,
        learn: bool = False,
        hyperprior: tuple[float, float] | None = None,
        num_data: int | None = None,
    ) -> None:
        super().__init__()
        truncation = whole_number("truncation", truncation, 2)
        concentration = finite_number("concentration", concentration, above=0.0)
        num_data = None if num_data is None else whole_number("num_data", num_data)
        if hyperprior is not None:
            if not learn:
                raise ValueError(f"hyperprior needs learn=True: a fixed concentration has none; got {hyperprior}")
            if not isinstance(hyperprior, Sequence) or len(hyperprior) != 2:
                raise TypeError(f"hyperprior must be a shape and a rate, two numbers, got {hyperprior!r}")
            shape, rate = (finite_number(f"hyperprior[{i}]", value, above=0.0) for i, value in enumerate(hyperprior))
            hyperprior = shape, rate
            if num_data is None:
                raise ValueError(f"num_data must be the number of training data with a hyperprior, got {num_data}")
        self.truncation, self.hyperprior, self.num_data = truncation, hyperprior, num_data or 1
        value = torch.tensor(concentration, dtype=torch.get_default_dtype()).log()
        if learn:
            self.log_concentration = nn.Parameter(value)
        else:
            register_state(self, "replicated", "log_concentration", value)
        # The saved buffer is the rounded logarithm; recovering alpha from it would depend on the dtype.
        self.fixed = None if learn else float(concentration)
        self.register_load_state_dict_post_hook(_take_loaded)

    @property
    def concentration(self) -> Tensor:
        """alpha, ``[]``."""
        if self.fixed is None:
            return self.log_concentration.exp()
        return torch.full_like(self.log_concentration, self.fixed)

    def forward(self) -> dist.TorchDistribution:
        if self.hyperprior is not None and self.training and am_i_wrapped():
            pyro.factor("hyperprior", self.log_hyperprior() / self.num_data)
        return GEMLogits(self.concentration, self.truncation)

    def log_hyperprior(self) -> Tensor:
        """Log-density of log alpha under the hyperprior, ``[]`` in nats; zero where there is none."""
        if self.hyperprior is None:
            return torch.zeros_like(self.log_concentration)
        shape, rate = self.hyperprior
        log_norm = shape * math.log(rate) - math.lgamma(shape)
        return shape * self.log_concentration - rate * self.concentration + log_norm


def _take_loaded(prior: GEMPrior, _: Any) -> None:
    """Set a fixed concentration to that of the loaded state, unless the two agree up to rounding."""
    if prior.fixed is None:
        return
    loaded = float(prior.log_concentration)
    if not math.isclose(loaded, math.log(prior.fixed), rel_tol=1e-6, abs_tol=1e-6):
        prior.fixed = math.exp(loaded)
