"""The mixture-of-Gaussians prior."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, finite_range, whole_number
from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.processes import register_state


class MixtureOfGaussians(nn.Module):
    r"""A mixture of Gaussians with learned means and diagonal covariances.

    .. math:: p(z) = \sum_{k=1}^K w_k\, \mathcal N\bigl(z; \mu_k, \mathrm{diag}\, e^{\lambda_k}\bigr)

    Args:
        features: Number of latent dimensions D.
        num_components: Number of components K.
        learn_weights: Whether the weights w are learned; they are 1/K otherwise.
        spread: Standard deviation of the normal draws that initialise the means.
        log_variance_range: Bounds (min, max) to which the log-variance is clamped.

    Called with nothing it returns a distribution with event shape ``[D]``.

    Raises:
        ValueError: If ``num_components`` is not positive.

    Source: Dilokthanakul et al. (2016), arXiv 1611.02648; Shu (2016), "Gaussian mixture VAE"; the baseline of the
    VampPrior in Tomczak and Welling (2017), arXiv 1705.07120.

    Example:
        >>> MixtureOfGaussians(40, 500)().sample().shape
        torch.Size([40])
    """

    logits: Tensor

    def __init__(
        self,
        features: int,
        num_components: int,
        learn_weights: bool = False,
        spread: float = 1.0,
        log_variance_range: tuple[float, float] = (-6.0, 2.0),
    ) -> None:
        super().__init__()
        num_components = whole_number("num_components", num_components)
        features, spread = whole_number("features", features), finite_number("spread", spread, above=0.0)
        self.loc = nn.Parameter(spread * torch.randn(num_components, features))
        self.log_variance = nn.Parameter(torch.zeros(num_components, features))
        self.log_variance_range = finite_range("log_variance_range", log_variance_range)
        if learn_weights:
            self.logits = nn.Parameter(torch.zeros(num_components))
        else:
            register_state(self, "replicated", "logits", torch.zeros(num_components), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        scale = (0.5 * self.log_variance.clamp(*self.log_variance_range)).exp()
        return DiagNormalMixture(self.logits, self.loc, scale)
