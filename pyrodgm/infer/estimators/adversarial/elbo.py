"""The evidence lower bound of guides and priors that need only be sampled."""

from typing import Any

import pyro
import torch
import torch.nn.functional as F
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.infer.estimators.adversarial.objective import (
    AdversarialObjective,
    only_latent,
    only_observed,
    trace_of,
)
from pyrodgm.infer.estimators.adversarial.prior import fit_of_prior
from pyrodgm.infer.estimators.kl_weight import KLWeight
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.sites import log_prob

Moments = tuple[Tensor, Tensor]


class AdversarialELBO(AdversarialObjective):
    r"""The evidence lower bound, its divergence from a discriminator: adversarial variational Bayes.

    .. math:: \mathcal L(x) = \mathbb E_{q(z \mid x)}[\log p(x \mid z) - w\, T(x, z)], \qquad
        \min_T \mathbb E_{q(z \mid x)}[-\log \sigma(T(x, z))] + \mathbb E_{p(z)}[-\log(1 - \sigma(T(x, z)))]

    At its optimum :math:`T = \log q(z \mid x) - \log p(z)`, whose expectation is the divergence, and whose own
    gradient in q is zero in expectation; short of it the value is no bound. Guide and prior need only be sampled. A
    learned prior that has a density is fitted to the latents, which adds nothing to the value; one that has none is
    left as it is.

    With ``contrast`` the discriminator compares the latents not to the prior but, after both are standardised, to a
    Gaussian r(z | x) of their own mean and variance, which are close:

    .. math:: \mathcal L(x) = \mathbb E_{q(z \mid x)}\bigl[\log p(x, z) - T(x, \tilde z) - \log r(z \mid x)\bigr],
        \qquad \tilde z = (z - \mu(x)) / \sigma(x)

    The prior's density is then needed.

    The discriminator takes ``x`` and ``z``.

    Args:
        kl_weight: The weight w of the divergence.
        contrast: Draws per datum of which the mean and variance are taken, at least 2; None compares with the prior.

    Raises:
        ProgramError: From the loss, if a program has not one latent and observed site, or one is masked or scaled.
        NoDensityError: From the loss, if ``contrast`` is given and the prior has no density.

    Source: Mescheder, Nowozin and Geiger (2017), arXiv 1701.04722, eqs. 3.3 and 3.6, and section 4.

    Example:
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import AdversarialVAE
        >>> from pyrodgm.nn import Discriminator, mlp
        >>> from pyrodgm.posteriors import ImplicitPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> q = ImplicitPosterior(mlp(9 + 4, [8], 2), 2, noise=4)
        >>> pair = AdversarialVAE(
        ...     StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), q, Discriminator.dense(9 + 2, [8])
        ... )
        >>> AdversarialELBO().of(pair).differentiable_loss(pair.model, pair.guide, torch.zeros(5, 9)).shape
        torch.Size([])
    """

    kl_weight = KLWeight()

    def __init__(self, kl_weight: float = 1.0, contrast: int | None = None) -> None:
        super().__init__()
        self.kl_weight = finite_number("kl_weight", kl_weight, least=0.0)
        self.contrast = None if contrast is None else whole_number("contrast", contrast, 2)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        drawn = trace_of(guide, args, kwargs)
        decoded = trace_of(model, args, kwargs, drawn)
        observed, z = only_observed(decoded), only_latent(drawn)["value"]
        if self.contrast is None:
            divergence = self.score(observed["value"], z).sum() + fit_of_prior(only_latent(decoded))
        else:
            mean, scale = self._moments(guide, args, kwargs)
            between = torch.distributions.Normal(mean, scale, validate_args=False).log_prob(z).sum()
            ratio = self.score(observed["value"], (z - mean) / scale).sum()
            divergence = ratio + between - log_prob(only_latent(decoded)).sum()
        return self.kl_weight.to(divergence) * divergence - log_prob(observed).sum()

    def critic_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        with torch.no_grad():
            prior = trace_of(model, args, kwargs)
            x, ours = only_observed(prior)["value"], only_latent(trace_of(guide, args, kwargs))["value"]
            theirs = only_latent(prior)["value"]
            if self.contrast is not None:
                mean, scale = self._moments(guide, args, kwargs)
                ours, theirs = (ours - mean) / scale, torch.randn_like(ours)
        return (F.softplus(-self.score(x, ours)) + F.softplus(self.score(x, theirs))).sum()

    def _moments(self, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Moments:
        """Mean and standard deviation of the guide's latents, ``[B, D]``, as constants."""
        assert self.contrast is not None
        with torch.no_grad():
            draws = pyro.plate("contrast", self.contrast, dim=-2)(guide)
            z = only_latent(trace_of(draws, args, kwargs))["value"]
        return z.mean(0), z.std(0).clamp(min=1e-4)
