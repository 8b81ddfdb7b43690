"""Relaxations of categorical variables: Gumbel-softmax, and overlapping smoothings of their states."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import pad

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.distributions.factorized_categorical import CategoricalUnits, LinearCategorical
from pyrodgm.distributions.moments import FromMoments
from pyrodgm.distributions.overlapping_bernoulli import OverlappingBernoulli
from pyrodgm.distributions.smoothing import Smoothing


class ContinuedCategorical(LinearCategorical):
    r"""Gumbel-softmax draws in place of one-hot vectors, with the log-probability of these continued to them.

    .. math:: \zeta_i = \mathrm{softmax}\bigl(\beta (\text{logits}_i + g_i)\bigr), \quad g_{ik} \sim \mathrm{Gumbel},
              \qquad \log q(\zeta) = \sum_{i, k} \zeta_{ik} \log \mathrm{softmax}(\text{logits}_i)_k

    The mean is also that of the draws where beta is large. ``log_prob`` is not their density: it is the proxy that
    GumBolt puts into its bound, right where zeta is one-hot. With :class:`ContinuedBoltzmann` of Potts units as the
    prior it makes that bound in any estimator that samples divergences.

    Args:
        logits: ``[*batch, n K]``, real; those of a variable side by side.
        num_states: Number of states K, at least 2.
        beta: Positive; inverse temperature.

    Raises:
        TypeError: ``logits`` is no tensor of floating-point numbers.
        ValueError: ``beta`` is not positive, the last dimension of ``logits`` is no multiple of ``num_states``, they
            are not finite, or a value lies outside the simplices (with validation on).

    Source: Jang, Gu and Poole (2017), arXiv 1611.01144; Maddison, Mnih and Teh (2017), arXiv 1611.00712; Khoshaman and
    Amin (2018), GumBolt, arXiv 1805.07349.

    >>> q = ContinuedCategorical(torch.zeros(3, 8), num_states=4, beta=5.0)
    >>> round(q.rsample().sum().item(), 4)  # of six simplices
    6.0
    """

    has_rsample = True

    def __init__(self, logits: Tensor, num_states: int, beta: float, *, validate_args: bool | None = None) -> None:
        self.beta = finite_number("beta", beta, above=0.0)
        super().__init__(logits, num_states, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return self.states.relaxed_support()

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ContinuedCategorical":
        new = self._expanded(batch_shape, _instance)
        new.beta = self.beta
        return new

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        like = self.logits.expand(self._extended_shape(sample_shape))
        tiny = torch.finfo(like.dtype).tiny
        noise = torch.empty_like(like, memory_format=torch.contiguous_format).exponential_().clamp(min=tiny).log()
        return self.states.mean(self.beta * (like - noise))


class OverlappingCategorical(FromMoments, CategoricalUnits):
    r"""Marginal density of zeta, where z is categorical and each column of its one-hot vector is smoothed.

    .. math:: q(\zeta) = \prod_i \sum_k q_{ik} \prod_j r(\zeta_{ij} \mid [j = k]), \qquad
              q_i = \mathrm{softmax}(\text{logits}_i)

    Columns are drawn one after another, each an :class:`OverlappingBernoulli` given those before it,

    .. math:: q(\zeta_{ij} \mid \zeta_{i, <j}) = (1 - p_{ij})\, r(\zeta_{ij} \mid 0) + p_{ij}\, r(\zeta_{ij} \mid 1),
              \qquad p_{ij} = q(z_i = j \mid \zeta_{i, <j}),

    so that draws have its exact reparameterised gradients. :class:`RelaxedBoltzmann` with a machine of Potts units is
    the prior: the density of zeta under a smoothing of each column.

    Args:
        logits: ``[*batch, n K]``, real; those of a variable side by side.
        num_states: Number of states K, at least 2; a draw takes K steps.
        smoothing: the densities of a column given its bit; parameters are numbers, or tensors without dimensions.

    Raises:
        TypeError: ``logits`` is no tensor of floating-point numbers, or ``smoothing`` no smoothing.
        ValueError: the last dimension of ``logits`` is no multiple of ``num_states``, they are not finite, or a value
            lies outside the support (with validation on).

    Source: Vahdat et al. (2018), arXiv 1802.04920 and 1805.07445, for bits.

    >>> from pyrodgm.distributions import PowerSmoothing
    >>> q = OverlappingCategorical(torch.zeros(5, 200), 4, PowerSmoothing(40.0))
    >>> q.log_prob(q.rsample()).shape
    torch.Size([5])
    """

    has_rsample = True

    def __init__(
        self, logits: Tensor, num_states: int, smoothing: Smoothing, *, validate_args: bool | None = None
    ) -> None:
        if not isinstance(smoothing, Smoothing):
            raise TypeError(f"smoothing must be a Smoothing, got {smoothing!r}")
        if any(value.dim() for value in smoothing.tensors):
            raise ValueError(f"smoothing must have parameters without dimensions, got {smoothing!r}")
        self.smoothing = smoothing
        super().__init__(logits, num_states, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> Any:
        return constraints.independent(self.smoothing.support, 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "OverlappingCategorical":
        new = self._expanded(batch_shape, _instance)
        new.smoothing = self.smoothing
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        joint = self.log_probs + self.smoothing.log_ratio(value)
        return self.smoothing.log_prob(value, 0).sum(-1) + self.states.log_partition(joint).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        logits = self.states.grouped(self.logits.expand(self._extended_shape(sample_shape)))
        columns = list[Tensor]()
        for state in range(self.num_states):
            others = torch.cat([logits[..., :state], logits[..., state + 1 :]], -1).logsumexp(-1)
            columns.append(
                OverlappingBernoulli(logits[..., state] - others, self.smoothing, validate_args=False).rsample()
            )
            if state + 1 < self.num_states:
                # what is seen of a state counts for those that come after it
                seen = self.smoothing.log_ratio(columns[-1]).unsqueeze(-1)
                logits = logits + pad(seen, (state, self.num_states - 1 - state))
        return torch.stack(columns, -1).flatten(-2)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def posterior_logits(self, value: Tensor) -> Tensor:
        """Logits of the states given ``value``, ``[*sample, *batch, n K]``."""
        return self.logits + self.smoothing.log_ratio(value)

    def _moments(self) -> tuple[Tensor, Tensor]:
        p1 = self.probs
        (mean0, square0), (mean1, square1) = (self.smoothing.moments(self.logits, z) for z in (0, 1))
        return (1.0 - p1) * mean0 + p1 * mean1, (1.0 - p1) * square0 + p1 * square1
