"""The likelihood of binary data."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, tensors
from pyrodgm.distributions import FactorizedBernoulli
from pyrodgm.processes import register_state


class BernoulliLikelihood(nn.Module):
    r"""Independent Bernoulli variables whose logits a network gives.

    .. math:: p(x \mid z) = \prod_d \mathrm{Bernoulli}\bigl(x_d; \mathrm{sigmoid}(\mathrm{net}(z)_d + b_d)\bigr),
              \qquad b = \mathrm{logit}(m), \quad m \in [0.001, 0.999]^D

    Args:
        net: Maps ``[*, ...]``, one tensor for each stochastic layer, to logits ``[*, D]``.
        mean: Mean of the training data, ``[D]`` in [0, 1], cut off at 0.001 from either end; its logits become a fixed
            output bias, so that an untrained network already predicts the mean (Burda et al. 2015, arXiv 1509.00519).

    Called with latents it returns a distribution with batch shape ``[*]`` and event shape ``[D]``; log-probabilities
    are in nats.

    Raises:
        ValueError: If ``mean`` has a value outside [0, 1].

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> likelihood = BernoulliLikelihood(mlp(40, [300, 300], 784))
        >>> likelihood(torch.zeros(5, 40)).mean.shape
        torch.Size([5, 784])
    """

    bias: Tensor | None

    def __init__(self, net: nn.Module, mean: Tensor | None = None) -> None:
        super().__init__()
        callables(net=net)
        self.net = net
        if mean is not None:
            tensors(mean=mean)
        if mean is not None and not ((mean >= 0) & (mean <= 1)).all():
            raise ValueError(f"mean must lie in [0, 1], got values from {mean.min():.4g} to {mean.max():.4g}")
        register_state(self, "replicated", "bias", None if mean is None else torch.logit(mean, eps=1e-3))

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        logits = self.net(*latents)
        if self.bias is not None:
            logits = logits + self.bias
        return FactorizedBernoulli(logits)
