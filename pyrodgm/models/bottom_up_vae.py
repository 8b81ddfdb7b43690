"""Any number of stochastic layers, guided from the data upwards."""

from collections.abc import Sequence

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.chain import check_layers, draw_chain
from pyrodgm.models.pair import Pair


class BottomUpVAE(Pair):
    r"""L stochastic layers in a chain, each of whose posteriors sees a draw of the layer below.

    .. math:: p(x, z) = p(z_L) \prod_{i<L} p(z_i \mid z_{i+1})\, p(x \mid z_1), \qquad
              q(z \mid x) = q(z_1 \mid x) \prod_{i>1} q(z_i \mid z_{i-1})

    The layered VAE and, on an importance-weighted bound, the IWAE that the ladder is compared with;
    :class:`~pyrodgm.models.BottomUpHVAE` has two layers.

    Args:
        prior: Called with nothing, returns the distribution of ``zL``.
        conditional_priors: L - 1 modules, from the data upwards: the i-th is called with ``z(i+1)`` and returns the
            distribution of ``zi``.
        likelihood: Called with ``z1``, returns the distribution of ``x``.
        posterior: Called with ``x``, returns the approximate posterior of ``z1``.
        upper_posteriors: L - 1 modules, from the data upwards: the i-th is called with ``zi`` and returns the
            approximate posterior of ``z(i+1)``.

    ``model(x)`` and ``guide(x)`` take data ``[batch, *event]``; the data plate is ``"data"``, the sites are ``"z1"`` to
    ``"zL"``, from the data upwards, and ``"x"``. Pyro's ``TraceMeanField_ELBO`` wants model and guide sites to occur in
    the same order, which they do not here, and says so.

    Raises:
        ValueError: If the numbers of parts do not agree.

    Source: Burda, Grosse and Salakhutdinov (2015), arXiv 1509.00519, eq. 1-2.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import IWELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> sizes = [6, 4, 2]
        >>> pair = BottomUpVAE(
        ...     StandardNormal(2),
        ...     [GaussianPosterior(mlp(above, [8], 2 * below)) for below, above in zip(sizes, sizes[1:])],
        ...     BernoulliLikelihood(mlp(6, [32], 64)),
        ...     GaussianPosterior(mlp(64, [32], 2 * 6)),
        ...     [GaussianPosterior(mlp(below, [8], 2 * above)) for below, above in zip(sizes, sizes[1:])],
        ... )
        >>> IWELBO(3).differentiable_loss(pair.model, pair.guide, torch.zeros(7, 64)).shape
        torch.Size([])
    """

    def __init__(
        self,
        prior: nn.Module,
        conditional_priors: Sequence[nn.Module],
        likelihood: nn.Module,
        posterior: nn.Module,
        upper_posteriors: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        callables(prior=prior, likelihood=likelihood, posterior=posterior)
        check_layers("upper_posteriors", upper_posteriors, None)
        check_layers("conditional_priors", conditional_priors, len(upper_posteriors))
        self.prior, self.likelihood, self.posterior = prior, likelihood, posterior
        self.conditional_priors = nn.ModuleList(conditional_priors)
        self.upper_posteriors = nn.ModuleList(upper_posteriors)

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z1 = draw_chain(self.prior, self.conditional_priors)
            pyro.sample("x", self.likelihood(z1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            z = pyro.sample("z1", self.posterior(x))
            for i, part in enumerate(self.upper_posteriors):
                z = pyro.sample(f"z{i + 2}", part(z))
