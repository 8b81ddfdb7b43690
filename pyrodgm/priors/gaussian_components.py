"""The Gaussian components of a mixture prior whose weights are latent."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, finite_range, one_of, whole_number
from pyrodgm.distributions import DiagNormalMixture, log_of_weights
from pyrodgm.processes import register_state

KINDS = ("standard", "spread", "learned")


class GaussianComponents(nn.Module):
    r"""Gaussian mixture prior given its weights, :math:`p(z \mid \pi) = \sum_k \pi_k\, p_k(z)`.

    - ``"standard"``: every component is N(0, I), so the mixture is N(0, I) whatever the weights; as published.
    - ``"spread"``: unit variances; the means are evenly spaced from -``spread`` to ``spread``, and that of component k
      is the same in every dimension; as in the published runs with five components and means from -0.5 to 0.5.
    - ``"learned"``: means and variances are learned; means start as normal draws with standard deviation ``spread``.

    Args:
        features: Number of latent dimensions D.
        num_components: Number of components K.
        kind: One of the above.
        spread: Largest mean for ``"spread"``, standard deviation of the initial means for ``"learned"``.
        log_variance_range: Bounds (min, max) to which a learned log-variance is clamped.

    Called with weights ``[*, K]`` it returns a distribution with event shape ``[D]``: a Normal for ``"standard"``, else
    a :class:`~pyrodgm.distributions.DiagNormalMixture` with batch shape ``[*]``.

    Raises:
        ValueError: If ``num_components`` or ``spread`` is out of range or ``kind`` is unknown.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> GaussianComponents(25, 3, "spread")(torch.tensor([0.2, 0.3, 0.5])).event_shape
        torch.Size([25])
    """

    loc: Tensor
    log_variance: Tensor

    def __init__(
        self,
        features: int,
        num_components: int,
        kind: str = "standard",
        spread: float = 0.5,
        log_variance_range: tuple[float, float] = (-6.0, 2.0),
    ) -> None:
        super().__init__()
        num_components = whole_number("num_components", num_components)
        features, spread = whole_number("features", features), finite_number("spread", spread, above=0.0)
        one_of("kind", kind, KINDS)
        self.kind, self.log_variance_range = kind, finite_range("log_variance_range", log_variance_range)
        shape = (features,) if kind == "standard" else (num_components, features)
        loc = torch.zeros(shape)
        if kind == "spread":
            loc = torch.linspace(-spread, spread, num_components).unsqueeze(-1).repeat(1, features)
        if kind == "learned":
            self.loc = nn.Parameter(spread * torch.randn(shape))
            self.log_variance = nn.Parameter(torch.zeros(shape))
        else:
            register_state(self, "replicated", "loc", loc, persistent=False)
            register_state(self, "replicated", "log_variance", torch.zeros(shape), persistent=False)

    def forward(self, weights: Tensor) -> dist.TorchDistribution:
        scale = (0.5 * self.log_variance.clamp(*self.log_variance_range)).exp()
        if self.kind == "standard":
            return dist.Normal(self.loc, scale).to_event(1)
        return DiagNormalMixture(log_of_weights(weights).to(weights.dtype), self.loc, scale)
