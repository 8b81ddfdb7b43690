"""The posterior of a ladder: what the data say of a layer, and what the layer above does, by their precisions."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables


class PrecisionWeightedPosterior(nn.Module):
    r"""The normalised product of two diagonal Gaussians: one from the data, and the prior given the layer above.

    .. math:: q(z_i \mid d, z_{i+1}) \propto \mathcal N\bigl(z_i; \hat\mu(d), \hat\sigma^2(d)\bigr)\,
              p(z_i \mid z_{i+1}), \qquad
              \sigma^2 = \frac{1}{\hat\sigma^{-2} + \sigma_p^{-2}}, \quad
              \mu = \sigma^2 (\hat\mu \hat\sigma^{-2} + \mu_p \sigma_p^{-2})

    Args:
        evidence: Called with features of the data, returns the first Gaussian; a
            :class:`~pyrodgm.posteriors.GaussianPosterior` serves.
        conditional_prior: The conditional prior of the model, which returns the second. It is shared, not owned: it
            appears neither in ``parameters()`` nor in ``state_dict()`` of this part.

    Called with features ``[*, ...]`` and the layer above ``[*, ...]`` it returns a distribution with batch shape
    ``[*]`` and the event shape of both. Where the data say nothing it is the prior.

    Raises:
        TypeError: On a call, if one of the two is no diagonal Gaussian.

    Source: Sønderby et al. (2016), "Ladder variational autoencoders", arXiv 1602.02282, eq. 16-17.

    Example:
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> part = PrecisionWeightedPosterior(GaussianPosterior(nn.Linear(8, 6)), GaussianPosterior(nn.Linear(2, 6)))
        >>> part(torch.zeros(5, 8), torch.zeros(5, 2)).sample().shape
        torch.Size([5, 3])
    """

    def __init__(self, evidence: nn.Module, conditional_prior: nn.Module) -> None:
        super().__init__()
        callables(evidence=evidence, conditional_prior=conditional_prior)
        self.evidence = evidence
        self._shared_prior = (conditional_prior,)  # a tuple, so that it is not registered as a submodule

    @property
    def conditional_prior(self) -> nn.Module:
        """The shared p(z | layer above)."""
        return self._shared_prior[0]

    def forward(self, features: Tensor, above: Tensor) -> dist.TorchDistribution:
        first, second = _normal(self.evidence(features)), _normal(self.conditional_prior(above))
        # Logarithms of variances: precisions of the narrowest Gaussians would overflow.
        log_ratio = 2.0 * (first.scale.log() - second.scale.log())
        loc = torch.lerp(first.loc, second.loc, torch.sigmoid(log_ratio))
        scale = first.scale * torch.sigmoid(-log_ratio).sqrt()
        return dist.Normal(loc, scale).to_event(1)


def _normal(fn: dist.TorchDistribution) -> dist.Normal:
    base = getattr(fn, "base_dist", fn)
    if not isinstance(base, dist.Normal) or len(fn.event_shape) != 1:
        raise TypeError(f"evidence and conditional_prior must return diagonal Gaussians, got {fn}")
    return base
