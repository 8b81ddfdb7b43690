"""Modules that turn outputs of a network into relaxed Bernoulli or categorical distributions."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.distributions import (
    ContinuedBernoulli,
    ContinuedCategorical,
    FactorizedCategorical,
    GaussianSmoothing,
    OverlappingBernoulli,
    OverlappingCategorical,
    Smoothing,
    SpikeExponential,
)


class BinaryLatents(nn.Module):
    """Base of the modules that turn outputs ``[*, outputs * D]`` of a network into a distribution of D latents.

    Attributes:
        outputs: Numbers that the network gives for each latent; the first D outputs are the log-odds of the bits.
        num_states: None for bits; K for one-hot vectors of K states, D / K of them, whose logits the outputs are.
    """

    outputs = 1
    num_states: int | None = None

    def discrete(self, outputs: Tensor) -> dist.TorchDistribution:
        """The distribution of the bits or one-hot vectors, batch shape ``[*]`` and event shape ``[D]``."""
        if self.num_states is not None:
            return FactorizedCategorical(outputs, self.num_states)
        return dist.Bernoulli(logits=outputs.chunk(self.outputs, -1)[0]).to_event(1)


class OverlappingLatents(BinaryLatents):
    """Bits seen through overlapping smoothings, :class:`pyrodgm.distributions.OverlappingBernoulli`.

    Args:
        smoothing: The densities of a latent given its bit.
        num_states: If given, the bits are those of one-hot vectors of so many states, at least 2:
            :class:`pyrodgm.distributions.OverlappingCategorical`.
    """

    def __init__(self, smoothing: Smoothing, num_states: int | None = None) -> None:
        super().__init__()
        self.num_states = None if num_states is None else whole_number("num_states", num_states, 2)
        if not isinstance(smoothing, Smoothing):
            raise TypeError(f"smoothing must be a Smoothing, got {smoothing!r}")
        self.smoothing = smoothing

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        if self.num_states is not None:
            return OverlappingCategorical(outputs, self.num_states, self.smoothing)
        return OverlappingBernoulli(outputs, self.smoothing).to_event(1)


class SpikeLatents(BinaryLatents):
    """Bits seen as a spike and an exponential, :class:`pyrodgm.distributions.SpikeExponential`.

    Args:
        beta: Rate of the exponential, positive.
    """

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = finite_number("beta", beta, above=0.0)

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        return SpikeExponential(outputs, self.beta).to_event(1)


class ConcreteLatents(BinaryLatents):
    """Bits relaxed by the Concrete distribution, :class:`pyrodgm.distributions.ContinuedBernoulli`.

    Args:
        beta: Inverse temperature, positive.
        num_states: If given, one-hot vectors of so many states, at least 2, are relaxed by Gumbel-softmax:
            :class:`pyrodgm.distributions.ContinuedCategorical`.
    """

    def __init__(self, beta: float, num_states: int | None = None) -> None:
        super().__init__()
        self.num_states = None if num_states is None else whole_number("num_states", num_states, 2)
        self.beta = finite_number("beta", beta, above=0.0)

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        if self.num_states is not None:
            return ContinuedCategorical(outputs, self.num_states, self.beta)
        return ContinuedBernoulli(outputs, self.beta).to_event(1)


class GaussianIntegralLatents(BinaryLatents):
    r"""Bits seen through normal densities whose means a network moves and whose widths are learned.

    .. math:: q(\zeta \mid x) = \sum_z q(z \mid x)\, N\bigl(\zeta;\ z + \delta(x),\ s^2\bigr), \qquad
              \delta = \tfrac12 \sigma(a(x)) - \tfrac14, \quad s = |0.2\, v| + 0.05

    The network gives the log-odds of z and a; v, one number a latent, starts at 1.

    Args:
        features: Number of latents D.

    Source: Vahdat et al. (2018), DVAE#, arXiv 1805.07445, section 4 (Gaussian integral).
    """

    outputs = 2

    def __init__(self, features: int) -> None:
        super().__init__()
        self.raw_scale = nn.Parameter(torch.ones(whole_number("features", features)))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        logits, raw_shift = outputs.chunk(2, -1)
        scale = (0.2 * self.raw_scale).abs() + 0.05
        smoothing = GaussianSmoothing(scale.square().reciprocal(), 0.5 * raw_shift.sigmoid() - 0.25)
        return OverlappingBernoulli(logits, smoothing).to_event(1)
