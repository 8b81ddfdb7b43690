"""The posterior that is a mixture of Gaussians."""

import pyro.distributions as dist
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_range, whole_number
from pyrodgm.distributions import DiagNormalMixture, log_of_weights


class GaussianMixturePosterior(nn.Module):
    r"""A mixture of Gaussians with diagonal covariances whose weights, means and log-variances a network gives.

    .. math:: q(z \mid x) = \sum_{k=1}^K \mathrm{softmax}(\ell(x))_k\,
              \mathcal N\bigl(z; \mu_k(x), \mathrm{diag}\, e^{\lambda_k(x)}\bigr)

    Every estimator trains it, weights included, by the implicit gradients of
    :class:`~pyrodgm.distributions.DiagNormalMixture`; :class:`~pyrodgm.infer.StratifiedELBO` and
    :class:`~pyrodgm.infer.StratifiedIWELBO` draw from every component instead, with less variance.

    Args:
        net: Maps ``[*, ...]``, one tensor or several, to ``[*, K * (1 + 2 * D)]``: the K logits, then the means of all
            components, then their log-variances.
        num_components: Number of components K.
        log_variance_range: Bounds (min, max) to which the log-variances are clamped.

    Called with the data, or with data and other latents, it returns a distribution with batch shape ``[*]`` and event
    shape ``[D]``.

    Raises:
        ValueError: If ``num_components`` is not positive or ``log_variance_range`` is not increasing; when called, if
            the network's output cannot be divided so.

    Source: Morningstar et al. (2020), arXiv 2003.01687.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> posterior = GaussianMixturePosterior(mlp(784, [300, 300], 3 * (1 + 2 * 40)), num_components=3)
        >>> posterior(torch.zeros(5, 784)).rsample().shape
        torch.Size([5, 40])
    """

    def __init__(
        self, net: nn.Module, num_components: int, log_variance_range: tuple[float, float] = (-6.0, 2.0)
    ) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.num_components = net, whole_number("num_components", num_components)
        self.log_variance_range = finite_range("log_variance_range", log_variance_range)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        out, count = self.net(*inputs), self.num_components
        if out.shape[-1] % count or (out.shape[-1] // count) % 2 == 0:
            raise ValueError(f"net must give {count} * (1 + 2 * D) values for {count} components, got {out.shape[-1]}")
        return _mixture(out[..., :count], out[..., count:], count, self.log_variance_range)


class WeightedGaussians(nn.Module):
    r"""A mixture of Gaussians whose means and log-variances a network gives and whose weights are given.

    .. math:: q(z \mid x, \pi) = \sum_{k=1}^K \pi_k\,
              \mathcal N\bigl(z; \mu_k(x), \mathrm{diag}\, e^{\lambda_k(x)}\bigr)

    Args:
        net: Maps ``[*, ...]``, one tensor or several, to ``[*, 2 * K * D]``: the means of all components, then their
            log-variances.
        num_components: Number of components K.
        log_variance_range: Bounds (min, max) to which the log-variances are clamped.

    Called with the network's inputs and then the weights, ``[*, K]`` on the simplex, it returns a
    :class:`~pyrodgm.distributions.DiagNormalMixture` with batch shape ``[*]`` and event shape ``[D]``.

    Raises:
        ValueError: If ``num_components`` is not positive or ``log_variance_range`` is not increasing; when called, if
            the network's output cannot be divided so.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> components = WeightedGaussians(mlp(784, [500], 2 * 3 * 25), num_components=3)
        >>> components(torch.zeros(5, 784), torch.full((5, 3), 1 / 3)).rsample().shape
        torch.Size([5, 25])
    """

    def __init__(
        self, net: nn.Module, num_components: int, log_variance_range: tuple[float, float] = (-6.0, 2.0)
    ) -> None:
        super().__init__()
        callables(net=net)
        self.net, self.num_components = net, whole_number("num_components", num_components)
        self.log_variance_range = finite_range("log_variance_range", log_variance_range)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        *others, weights = inputs
        out, count = self.net(*others), self.num_components
        if out.shape[-1] % (2 * count):
            raise ValueError(f"net must give 2 * {count} * D values for {count} components, got {out.shape[-1]}")
        return _mixture(log_of_weights(weights).to(weights.dtype), out, count, self.log_variance_range)


def _mixture(logits: Tensor, out: Tensor, count: int, log_variance_range: tuple[float, float]) -> DiagNormalMixture:
    loc, log_variance = out.unflatten(-1, (2, count, -1)).unbind(-3)
    return DiagNormalMixture(logits, loc, (0.5 * log_variance.clamp(*log_variance_range)).exp())
