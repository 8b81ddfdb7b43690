"""The cross-entropy of grey values, a pseudo-likelihood."""

import pyro.distributions as dist
from torch import Tensor

from pyrodgm.distributions import FactorizedBernoulli, GreyBernoulli
from pyrodgm.likelihoods.bernoulli import BernoulliLikelihood


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
