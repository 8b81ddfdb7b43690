"""The density network: a latent-variable model without an encoder."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair


class DensityNetwork(Pair):
    r"""One stochastic layer that is guided by its own prior.

    .. math:: p(x) = \int p(z)\, p(x \mid z)\, dz \approx \frac 1K \sum_{k=1}^K p(x \mid z_k), \qquad z_k \sim p(z)

    Trained with :class:`~pyrodgm.infer.IWELBO`, whose weights are the likelihoods of the draws, it is MacKay and
    Gibbs's density network. The number of draws that it takes to meet a posterior grows exponentially with the
    divergence between posterior and prior, and so with the latent dimensions; log-likelihoods by
    :func:`~pyrodgm.infer.log_likelihood` suffer alike, and their k-hat says so. With one draw, as of the ELBO, the data
    say nothing about their latents, and no more than the mean of the data is learned.

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z"`` and
    ``"x"``.

    Source: MacKay and Gibbs (1999), "Density networks", in Statistics and Neural Networks; MacKay (1995), Nuclear
    Instruments and Methods A 354, 73.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import IWELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.priors import StandardNormal
        >>> pair = DensityNetwork(StandardNormal(2), BernoulliLikelihood(mlp(2, [32], 64)))
        >>> IWELBO(100).differentiable_loss(pair.model, pair.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood)
        self.prior, self.likelihood = prior, likelihood

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.likelihood(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", self.prior())
