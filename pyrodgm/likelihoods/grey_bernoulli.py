"""The cross-entropy of grey values, a pseudo-likelihood."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.distributions import FactorizedBernoulli
from pyrodgm.likelihoods.bernoulli import BernoulliLikelihood


class GreyBernoulli(dist.Bernoulli):
    r"""The Bernoulli log-density continued to values between 0 and 1: minus the cross-entropy of a grey value.

    .. math:: \log \tilde p(x) = x \log p + (1 - x) \log(1 - p), \qquad x \in [0, 1]

    Over [0, 1] this is no density: its integral is at most 0.5. Draws are 0 or 1.

    Args:
        probs: ``[*]`` in [0, 1]; p.
        logits: ``[*]``; log p - log(1 - p), instead of ``probs``.

    Raises:
        ValueError: If not exactly one of them is given, or a value is outside [0, 1] (with validation on).

    Example:
        >>> import torch
        >>> GreyBernoulli(probs=torch.tensor(0.25)).log_prob(torch.tensor(0.5)).exp().square()
        tensor(0.1875)
    """

    support = constraints.unit_interval


class GreyBernoulliLikelihood(BernoulliLikelihood):
    r"""A pseudo-likelihood of grey values: independent cross-entropies whose logits a network gives.

    .. math:: \log \tilde p(x \mid z) = \sum_d x_d \log p_d + (1 - x_d) \log(1 - p_d), \qquad
              p = \mathrm{sigmoid}(\mathrm{net}(z) + b)

    Many published VAEs on "real-valued MNIST" were trained and compared on it. It is the expected log-likelihood of
    images binarised anew at each look, so it bounds theirs from below, image by image; but it is no likelihood of
    anything, and bounds and "log-likelihoods" under it compare with their like alone. For a normalised one see
    :class:`~pyrodgm.distributions.DiscretizedLogistic`.

    Arguments, errors and calls are those of :class:`~pyrodgm.likelihoods.BernoulliLikelihood`; data are in [0, 1].

    Source: the objective, not the text, of Kingma and Welling (2013), arXiv 1312.6114, and of Nalisnick and Smyth
    (2017), arXiv 1605.06197; its normalisation is discussed by Loaiza-Ganem and Cunningham (2019), arXiv 1907.06845.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> likelihood = GreyBernoulliLikelihood(mlp(40, [300, 300], 784))
        >>> likelihood(torch.zeros(5, 40)).log_prob(torch.rand(5, 784)).shape
        torch.Size([5])
    """

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        return FactorizedBernoulli(super().forward(*latents).base_dist.logits, GreyBernoulli)
