"""The objective of Dirichlet-process and latent-mixture VAEs."""

import math
from typing import Any, Literal, get_args

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrodgm.arithmetic.arguments import one_of
from pyrodgm.distributions import DiagNormalMixture
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.sites import Site, log_prob
from pyrodgm.infer.estimators.stratified import Strata, StratifiedELBO, read_stratified
from pyrodgm.infer.tracing.program_error import ProgramError

Pairing = Literal["full", "own"]


class MixtureDensityELBO(StratifiedELBO):
    r"""The evidence lower bound of a mixture with latent weights, their expectation taken exactly where it can be.

    .. math:: \mathcal L(x) = \sum_k \mathbb E[\pi_k]\, \mathbb E_{q_k}\bigl[\log p(x \mid z_k) + \log p(z_k)\bigr]
              - \sum_k \hat\pi_k \log \sum_j \hat\pi_j\, q_j(\hat z_k) - \mathrm{KL}(q(\pi) \,\|\, p(\pi))

    For guides that draw sticks (:class:`~pyrodgm.distributions.StickLogits`) at a site of their own and then z from a
    :class:`~pyrodgm.distributions.DiagNormalMixture` with their weights, and say so, as
    :class:`~pyrodgm.models.DLGMM` does: ``pyro.sample("z", mixture, infer={"mixture_weights": "sticks"})``.
    Each component gives one draw. The terms that are linear in the weights take their exact expectation under the
    guide; the entropy of the mixture takes one draw of them. Where p(z) is one Normal its expectation under each
    component is exact too. The expectation of the whole is that of :class:`ELBO`.

    The published code takes :math:`\log \sum_k \hat\pi_k\, q_k(\hat z_k)` as the last but one term: each component's
    draw meets only its own density. That is a bound as well, but a looser one: by Jensen's inequality it lies below the
    bound that treats the component's index as a latent variable, and that one lies below the full bound by the
    information that z carries about the index, for which the published objective gives no credit. It is
    ``pairing="own"``, in which each component meets its own prior, too.

    Args:
        kl_weight: Multiplies all terms but log p(x | z).
        num_particles: Number of draws of weights and of each component, in one vectorised pass.
        pairing: ``"full"``, each draw under the density of the whole mixture, or ``"own"``, as published.
        free_bits: As in :class:`ELBO`.
        kl_fallback, divergence: As in :class:`ELBO`, for latents that are no mixtures.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: For an unknown ``pairing``; from the loss, if a mixture has no site with its weights, if one with
            ``pairing="own"`` is not the only one, or as :class:`StratifiedELBO` does.

    Source: Nalisnick, Hertel and Smyth (2016), "Approximate inference for deep latent Gaussian mixtures".
    """

    def __init__(
        self, kl_weight: float = 1.0, num_particles: int = 1, pairing: Pairing = "full", **kwargs: Any
    ) -> None:
        one_of("pairing", pairing, get_args(Pairing))
        super().__init__(kl_weight, num_particles, **kwargs)
        self.pairing = pairing

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        reading, strata = read_stratified(self, model, guide, args, kwargs)
        guide_sites = {latent.name: latent.q for latent in reading.latents}
        expected = {name: self._expected_weights(name, guide_sites, strata) for name in strata.weights}
        loss: Tensor | float = 0.0
        for site in reading.observed:
            loss = loss - strata.expectation(log_prob(site), site, expected)
        for latent in reading.latents:
            if latent.name in strata.weights and latent.p is not None:
                divergence = self._of_mixture(latent.name, latent.q, latent.p, strata, expected)
            else:
                terms = [strata.expectation(t, latent.q, expected) for t in self._divergence(latent).terms]
                divergence = torch.stack(terms).sum()
            loss = loss + self._weighted(divergence, latent)
        return torch.as_tensor(loss) / self.num_particles

    def _expected_weights(self, name: str, guide_sites: dict[str, Site], strata: Strata) -> Tensor:
        site = strata.sites[name]
        weights = guide_sites.get(site["infer"].get("mixture_weights", ""))
        if weights is None or not isinstance(site["fn"], DiagNormalMixture):
            raise ProgramError(
                name,
                "must be a DiagNormalMixture whose sticks are drawn at the site of the guide that "
                f"infer={{'mixture_weights': ...}} names; the guide has {', '.join(guide_sites)}",
            )
        if self.pairing == "own" and len(strata.weights) > 1:
            raise ValueError(f"pairing must be 'full' for more than one mixture, got sites {', '.join(strata.weights)}")
        mean = weights["fn"].mean_weights
        return strata.place(mean.movedim(-1, 0), strata.dim_of(name), mean.dim() - 1)

    def _of_mixture(self, name: str, q: Site, p: Site, strata: Strata, expected: dict[str, Tensor]) -> Tensor:
        """E log q(z) - E log p(z) of a mixture site, summed over its plates."""
        drawn = {**expected, name: strata.weights[name]}
        dim, scale, mask = strata.dim_of(name), q["scale"], q["mask"]
        loc, spread = _components(q["fn"], dim)
        if self.pairing == "own":
            tiny = torch.finfo(spread.dtype).tiny
            own = torch.distributions.Normal(loc, spread, validate_args=False).log_prob(q["value"]).sum(-1)
            log_weights = strata.weights[name].clamp(min=tiny).log()
            log_q = scale_and_mask((own + log_weights).logsumexp(dim), scale=scale, mask=mask).sum()
        else:
            log_q = strata.expectation(log_prob(q), q, drawn)
        base = getattr(p["fn"], "base_dist", None)
        if isinstance(base, torch.distributions.Normal):
            prior = base.loc, base.scale
        elif self.pairing == "own":
            prior = _components(p["fn"], dim)
        else:
            return log_q - strata.expectation(log_prob(p), p, drawn)
        cross_entropy = scale_and_mask(_cross_entropy((loc, spread), prior), scale=p["scale"], mask=p["mask"])
        return log_q + strata.expectation(cross_entropy, q, expected)


def _components(mixture: DiagNormalMixture, dim: int) -> tuple[Tensor, Tensor]:
    """Locations and scales with the components at ``dim`` of the batch: ``[K, *batch, D]``."""
    batch = len(mixture.batch_shape)
    loc, scale = (Strata.place(t.movedim(-2, 0), dim, batch) for t in (mixture.loc, mixture.scale))
    return loc, scale


def _cross_entropy(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    """-E_q log p of Normals given by location and scale, summed over their features."""
    square = (q[1].square() + (q[0] - p[0]).square()) / p[1].square()
    return (0.5 * square + p[1].log() + 0.5 * math.log(2 * math.pi)).sum(-1)
