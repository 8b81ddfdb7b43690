"""The variational autoencoder with one stochastic layer."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair


class VAE(Pair):
    r"""One stochastic layer: z ~ prior, x | z ~ likelihood(z), guided by z | x ~ posterior(x).

    .. math:: p(x, z) = p(z)\, p(x \mid z), \qquad q(z \mid x)

    Args:
        prior: Called with nothing, returns the distribution of ``z``.
        likelihood: Called with ``z``, returns the distribution of ``x``.
        posterior: Called with ``x``, returns the approximate posterior of ``z``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z"`` and
    ``"x"``.

    Source: Kingma and Welling (2013), arXiv 1312.6114.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(8), BernoulliLikelihood(mlp(8, [32], 64)), GaussianPosterior(mlp(64, [32], 16)))
        >>> Trace_ELBO().differentiable_loss(vae.model, vae.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, prior: nn.Module, likelihood: nn.Module, posterior: nn.Module) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood, posterior=posterior)
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.likelihood(z), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("z", self.posterior(x))
