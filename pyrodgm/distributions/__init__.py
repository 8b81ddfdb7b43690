"""Densities, samplers and divergences, in log space; no trainable state."""

import pyro.distributions as dist
from torch import Tensor


def DiagNormalMixture(logits: Tensor, loc: Tensor, scale: Tensor) -> dist.TorchDistribution:
    """A mixture of Gaussians with diagonal covariances."""
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
