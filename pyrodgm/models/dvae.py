"""Discrete variational autoencoders with Boltzmann priors."""

from typing import Any

from torch import Tensor, nn

from pyrodgm.models.vae import VAE


class DVAE(VAE):
    r"""Binary latents under a Boltzmann machine, smoothed so that a posterior over groups of them is reparametrised.

    .. math:: p(\zeta) = \sum_z p(z)\, r(\zeta \mid z), \qquad p(x \mid \zeta), \qquad
              q(\zeta \mid x) = \prod_i q(\zeta_i \mid x, \zeta_{<i})

    Args:
        prior: A prior with ``discrete()``, such as :class:`pyrodgm.priors.BoltzmannPrior`.
        likelihood: Called with the latents, returns the distribution of ``x``.
        posterior: A posterior with ``discrete(x)``, such as :class:`pyrodgm.posteriors.HierarchicalPosterior`.

    It is a :class:`VAE` with one site ``"z"``, all groups side by side, since a Boltzmann machine gives them a joint
    prior only; its smoothed latents are trained, and :meth:`discrete` is evaluated. The estimators of the methods:
    :class:`pyrodgm.infer.IWELBO` for DVAE# and GumBolt; ``ELBO(divergence=bits_divergence)`` for DVAE and DVAE++, whose
    bound has the divergence of the bits. ``dvae_spike_exp`` refuses estimators that sample its divergence, such as
    ``Trace_ELBO``, :class:`pyrodgm.infer.IWELBO` and ``RenyiELBO``: its density has a point of mass.

    :func:`pyrodgm.zoo.pairs.discrete_vae` builds the pairs of these publications.

    Source: Rolfe (2017), DVAE, arXiv 1609.02200; Vahdat et al. (2018), DVAE++, arXiv 1802.04920; Vahdat et al. (2018),
    DVAE#, arXiv 1805.07445; Khoshaman and Amin (2018), GumBolt, arXiv 1805.07349.
    """

    def discrete(self) -> VAE:
        """The same pair with bits in place of the smoothed latents, for evaluation; it shares all parts with it."""
        view = VAE(_DiscretePrior(self.prior), self.likelihood, _DiscretePosterior(self.posterior))
        return view.train(self.training)


class _DiscretePrior(nn.Module):
    """The bits of a prior."""

    prior: Any

    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.prior = prior

    def forward(self) -> Any:
        return self.prior.discrete()


class _DiscretePosterior(nn.Module):
    """The bits of a posterior."""

    posterior: Any

    def __init__(self, posterior: nn.Module) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, x: Tensor) -> Any:
        return self.posterior.discrete(x)
