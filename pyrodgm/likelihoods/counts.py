"""The likelihoods of counts, relative to the library size of a datum where one is given."""

from typing import Literal, get_args

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_range, one_of, tensors, whole_number
from pyrodgm.distributions import NegativeBinomialCounts, PoissonCounts, ZeroInflatedNegativeBinomialCounts
from pyrodgm.processes import register_state

Dispersion = Literal["gene", "datum"]
SMALLEST_MEAN = 1e-4  # of a gene that the training data hardly have


class _Means(nn.Module):
    """Logarithms of means from scores of a network, a fixed bias and a library size."""

    bias: Tensor | None

    def __init__(self, mean: Tensor | None) -> None:
        super().__init__()
        if mean is not None:
            tensors(mean=mean)
        if mean is not None and not ((mean >= 0) & mean.isfinite()).all():
            raise ValueError(f"mean must hold numbers from 0, got values from {mean.min():.4g} to {mean.max():.4g}")
        register_state(self, "replicated", "bias", None if mean is None else mean.clamp(min=SMALLEST_MEAN).log())

    def forward(self, scores: Tensor, log_library: Tensor | None) -> Tensor:
        if self.bias is not None:
            scores = scores + self.bias
        return scores if log_library is None else log_library + torch.log_softmax(scores, -1)


class PoissonLikelihood(nn.Module):
    r"""Independent Poisson counts whose means a network gives.

    .. math:: p(x \mid z, \ell) = \prod_g \mathrm{Poisson}(x_g; \mu_g), \qquad
              \mu = \ell\, \mathrm{softmax}(\mathrm{net}(z) + b), \quad b = \log \text{mean}

    Args:
        net: Maps the latents, ``[*, ...]`` each, to scores ``[*, G]``.
        mean: Mean counts of the training data, ``[G]``, at least 0; their logarithms, of 0.0001 at least, are a fixed
            bias of the scores, so that an untrained network predicts about the mean.

    Called with latents and ``log_library``, the logarithm of the library size, ``[*, 1]``, it returns a distribution
    with batch shape ``[*]`` over counts ``[G]``, whose means add up to the library size. Without ``log_library`` the
    scores are the logarithms of the means. Log-probabilities are in nats.

    Raises:
        ValueError: If ``mean`` is negative or not finite.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> likelihood = PoissonLikelihood(mlp(10, [32], 100))
        >>> likelihood(torch.zeros(5, 10), log_library=torch.full((5, 1), 3.0)).mean.sum(-1).round().tolist()
        [20.0, 20.0, 20.0, 20.0, 20.0]
    """

    def __init__(self, net: nn.Module, mean: Tensor | None = None) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.log_means = net, _Means(mean)

    def forward(self, *latents: Tensor, log_library: Tensor | None = None) -> dist.TorchDistribution:
        return PoissonCounts(self.log_means(self.net(*latents), log_library)).to_event(1)


class NegativeBinomialLikelihood(nn.Module):
    r"""Independent negative binomial counts, with more zeros if wanted, whose means a network gives.

    .. math:: p(x \mid z, \ell) = \prod_g \pi_g [x_g = 0] + (1 - \pi_g)\, \mathrm{NB}(x_g; \mu_g, \theta_g), \qquad
              \mu = \ell\, \mathrm{softmax}(\mathrm{net}(z)_1 + b), \quad b = \log \text{mean}

    Args:
        net: Maps the latents, ``[*, ...]`` each, to ``[*, n * G]``: the scores; then, with ``dispersion="datum"``, the
            logarithms of the inverse dispersions theta; then, with ``zero_inflated``, the logits of pi.
        features: Number of counts per datum, G.
        mean: Mean counts of the training data, as in :class:`PoissonLikelihood`.
        dispersion: ``"gene"``: one learned theta for each of the G, which starts at 1; ``"datum"``: theta is another
            for each datum, from the network.
        zero_inflated: Whether pi is from the network; it is 0 otherwise.
        log_inverse_dispersion_range: Bounds (min, max) to which log theta is clamped.

    Calls are those of :class:`PoissonLikelihood`.

    Raises:
        ValueError: If ``mean`` is negative or not finite, ``dispersion`` is unknown, or the range does not increase; on
            a call, if the network gives another number of values.

    Source: Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics", Nature Methods 15, 1053.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> likelihood = NegativeBinomialLikelihood(mlp(10, [32], 2 * 100), 100, zero_inflated=True)
        >>> likelihood(torch.zeros(5, 10), log_library=torch.full((5, 1), 3.0)).log_prob(torch.zeros(5, 100)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        net: nn.Module,
        features: int,
        mean: Tensor | None = None,
        dispersion: Dispersion = "gene",
        zero_inflated: bool = False,
        log_inverse_dispersion_range: tuple[float, float] = (-8.0, 12.0),
    ) -> None:
        super().__init__()
        one_of("dispersion", dispersion, get_args(Dispersion))
        features = whole_number("features", features)
        callables(net=net)
        self.net, self.log_means = net, _Means(mean)
        self.features, self.zero_inflated = features, zero_inflated
        self.log_inverse_dispersion_range = finite_range("log_inverse_dispersion_range", log_inverse_dispersion_range)
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(features)) if dispersion == "gene" else None

    def forward(self, *latents: Tensor, log_library: Tensor | None = None) -> dist.TorchDistribution:
        out = self.net(*latents)
        parts = 1 + (self.log_inverse_dispersion is None) + self.zero_inflated
        if out.shape[-1] != parts * self.features:
            raise ValueError(f"net must give {parts} values for each of {self.features} counts, got {list(out.shape)}")
        scores, *others = out.chunk(parts, -1)
        log_theta = others[0] if self.log_inverse_dispersion is None else self.log_inverse_dispersion
        log_mean, log_theta = self.log_means(scores, log_library), log_theta.clamp(*self.log_inverse_dispersion_range)
        if self.zero_inflated:
            return ZeroInflatedNegativeBinomialCounts(log_mean, log_theta, others[-1]).to_event(1)
        return NegativeBinomialCounts(log_mean, log_theta).to_event(1)
