"""Any number of stochastic layers, guided from the top down."""

from collections.abc import Sequence

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.chain import check_layers, draw_chain
from pyrodgm.models.pair import Pair


class TopDownVAE(Pair):
    r"""L stochastic layers in a chain, guided from the top down after a deterministic pass upwards.

    .. math::

        p(x, z) &= p(z_L) \prod_{i<L} p(z_i \mid z_{i+1})\, p(x \mid z_1) \\
        d_i &= f_i(d_{i-1}), \quad d_0 = x, \qquad
        q(z \mid x) = q(z_L \mid d_L) \prod_{i<L} q(z_i \mid d_i, z_{i+1})

    With :class:`~pyrodgm.posteriors.PrecisionWeightedPosterior` as conditional posteriors it is the ladder variational
    autoencoder; with networks that read :math:`d_i` and :math:`z_{i+1}` a hierarchical VAE of L layers.

    Args:
        prior: Called with nothing, returns the distribution of ``zL``.
        conditional_priors: L - 1 modules, from the data upwards: the i-th is called with ``z(i+1)`` and returns the
            distribution of ``zi``.
        likelihood: Called with ``z1``, returns the distribution of ``x``.
        posterior: A sequence of the L layers f of the pass upwards and, at its end, the module that makes the
            approximate posterior of ``zL`` from :math:`d_L`. As a whole it is q(zL | x), which a VampPrior shares.
        conditional_posteriors: L - 1 modules, from the data upwards: the i-th is called with :math:`d_i` and
            ``z(i+1)`` and returns the approximate posterior of ``zi``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z1"`` to
    ``"zL"``, from the data upwards, and ``"x"``. All divergences of Gaussian layers are exact given the layer above.

    Raises:
        ValueError: If the numbers of parts do not agree.

    Source: Sønderby et al. (2016), "Ladder variational autoencoders", arXiv 1602.02282, eq. 9-17.

    Example:
        >>> import torch
        >>> from pyro.infer import Trace_ELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import Dense, mlp
        >>> from pyrodgm.posteriors import GaussianPosterior, PrecisionWeightedPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> conditional_prior = GaussianPosterior(mlp(2, [16], 2 * 5))
        >>> ladder = TopDownVAE(
        ...     StandardNormal(2),
        ...     [conditional_prior],
        ...     BernoulliLikelihood(mlp(5, [32], 64)),
        ...     nn.Sequential(Dense(64, 32), Dense(32, 16), GaussianPosterior(mlp(16, [], 2 * 2))),
        ...     [PrecisionWeightedPosterior(GaussianPosterior(mlp(32, [], 2 * 5)), conditional_prior)],
        ... )
        >>> Trace_ELBO().differentiable_loss(ladder.model, ladder.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        conditional_priors: Sequence[nn.Module],
        likelihood: nn.Module,
        posterior: nn.Sequential,
        conditional_posteriors: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood)
        if not isinstance(posterior, nn.Sequential) or len(posterior) < 2:
            raise ValueError(f"posterior must be an nn.Sequential of layers and a posterior, got {posterior}")
        layers = len(posterior) - 1
        check_layers("conditional_priors", conditional_priors, layers - 1)
        check_layers("conditional_posteriors", conditional_posteriors, layers - 1)
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        self.conditional_priors = nn.ModuleList(conditional_priors)
        self.conditional_posteriors = nn.ModuleList(conditional_posteriors)

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z1 = draw_chain(self.prior, self.conditional_priors)
            pyro.sample("x", self.likelihood(z1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        *layers, top = self.posterior
        with pyro.plate("data", x.shape[0], dim=-1):
            levels = [x]
            for layer in layers:
                levels.append(layer(levels[-1]))
            z = pyro.sample(f"z{len(layers)}", top(levels[-1]))
            for i in reversed(range(1, len(layers))):
                z = pyro.sample(f"z{i}", self.conditional_posteriors[i - 1](levels[i], z))
