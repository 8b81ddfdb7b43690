"""A normalising-flow posterior, by zuko."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_range, whole_number, whole_numbers
from pyrodgm.distributions.flow import FlowDistribution, import_zuko


class FlowPosterior(nn.Module):
    r"""A diagonal Gaussian that a flow bends, both depending on the datum.

    .. math:: z = f(\varepsilon; h), \quad \varepsilon \sim \mathcal N\bigl(\mu, \mathrm{diag}\, e^{\lambda}\bigr),
              \quad \log q(z \mid x) = \log \mathcal N(\varepsilon) - \log |\det \partial f / \partial \varepsilon|,
              \quad [\mu, \lambda, h] = \mathrm{net}(x)

    Needs zuko (``pip install pyrodgm[flows]``). Its divergence from a prior is sampled. It is reparametrised, and
    trains with every estimator of this library and of Pyro's; steps are traced. A draw comes with its density in one
    pass of f; the density elsewhere, which ``gradient="stl"`` and ``"dreg"`` and a VampPrior of such posteriors take,
    needs the inverse of f: cheap for a coupling flow, as many passes as latents for a fully autoregressive one.

    Args:
        net: Maps ``[*, ...]`` to ``[*, 2 * features + context]``: the means, the log-variances, then the context h.
        features: Number of latents D, at least 2.
        transform: A ``zuko.lazy.LazyTransform`` of ``features`` and a context: called with h it returns f.
        log_variance_range: Bounds (min, max) to which the log-variance is clamped.

    Called with data ``x`` it returns a distribution with batch shape ``[*]`` and event shape ``[D]``, which has no mean
    in closed form: its ``mean`` is an estimate from 128 antithetic draws, the same for all data and calls.

    Raises:
        ImportError: If zuko is not installed.
        ValueError: If ``log_variance_range`` is not increasing, ``features`` is below 2, or the network gives no
            context.

    Source: Rezende and Mohamed (2015), arXiv 1505.05770; Kingma et al. (2016), arXiv 1606.04934.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> posterior = FlowPosterior.autoregressive(mlp(784, [300], 2 * 40 + 20), features=40, context=20)
        >>> posterior(torch.zeros(5, 784)).sample().shape
        torch.Size([5, 40])
    """

    def __init__(
        self,
        net: nn.Module,
        features: int,
        transform: nn.Module,
        log_variance_range: tuple[float, float] = (-6.0, 2.0),
    ) -> None:
        super().__init__()
        import_zuko()
        features = whole_number("features", features, 2)
        callables(net=net, transform=transform)
        self.net, self.features, self.transform = net, features, transform
        self.log_variance_range = finite_range("log_variance_range", log_variance_range)

    @classmethod
    def autoregressive(
        cls,
        net: nn.Module,
        features: int,
        context: int,
        transforms: int = 2,
        hidden: Sequence[int] = (64, 64),
        passes: int | None = 2,
    ) -> "FlowPosterior":
        """Affine inverse-autoregressive layers, which begin close to the identity.

        Args:
            net: As above.
            features: Number of latents, at least 2.
            context: Size of the context h, at least 1.
            transforms: Number of layers; the order of the latents is reversed from each to the next.
            hidden: Sizes of the hidden layers of each layer's network.
            passes: Passes that the inverse of a layer takes: 2 for coupling layers (Dinh et al. 2016, arXiv
                1605.08803), None for fully autoregressive ones.

        Raises:
            ValueError: If a number is too small.
        """
        zuko = import_zuko()
        features, context = whole_number("features", features, 2), whole_number("context", context)
        transforms, hidden = whole_number("transforms", transforms), whole_numbers("hidden", hidden)
        passes = None if passes is None else whole_number("passes", passes)
        order = torch.arange(features)
        layers = [
            zuko.flows.MaskedAutoregressiveTransform(
                features, context, passes, order if i % 2 == 0 else order.flip(0), hidden_features=hidden
            )
            for i in range(transforms)
        ]
        with torch.no_grad():
            for layer in layers:
                layer.hyper[-1].weight.mul_(0.1)
                layer.hyper[-1].bias.zero_()
        return cls(net, features, zuko.lazy.LazyComposedTransform(*layers))

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        output = self.net(x)
        size = output.shape[-1] - 2 * self.features
        if size < 1:
            raise ValueError(
                f"net must give more than {2 * self.features} values, for a context; got {2 * self.features + size}"
            )
        loc, log_variance, context = output.split([self.features, self.features, size], dim=-1)
        base = dist.Normal(loc, (0.5 * log_variance.clamp(*self.log_variance_range)).exp()).to_event(1)
        # zuko's flows lead from the data to the noise.
        return FlowDistribution(import_zuko().distributions.NormalizingFlow(self.transform(context).inv, base))
