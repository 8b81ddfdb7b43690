"""Bounds for mixture posteriors that draw from every component instead of choosing one."""

import math
from typing import Any

import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrodgm.infer.estimators.elbo import ELBO, TensorELBO
from pyrodgm.infer.estimators.protocols import Program, is_stratified
from pyrodgm.infer.estimators.reading import Reading, plates, read
from pyrodgm.infer.estimators.rows import Rows
from pyrodgm.infer.estimators.sites import Site, checked, log_prob
from pyrodgm.infer.tracing.program_error import ProgramError


class StratifiedELBO(ELBO):
    r"""The evidence lower bound with one draw from every component of a mixture posterior, weighted.

    .. math:: \mathcal L(x) = \sum_k w_k(x)\, \mathbb E_{q_k(z \mid x)}
              \Bigl[\log p(x, z) - \log \sum_j w_j(x)\, q_j(z \mid x)\Bigr]

    Same value as :class:`ELBO`, but which component is drawn adds no noise, and the gradient with respect to the
    weights is exact given the draws. It serves every site of the guide whose distribution has ``rsample_stratified``,
    as :class:`~pyrodgm.distributions.DiagNormalMixture` has: each gets a dimension of its own, of size K, left of all
    plates, over which all later sites broadcast, so that one pass of the networks serves all components. With several
    such sites all combinations of components are drawn. Other sites are served as by :class:`ELBO`.

    Args:
        kl_weight, kl_fallback, divergence, free_bits: As in :class:`ELBO`.
        num_particles: Number of draws from each component, in one vectorised pass.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: For an unknown ``kl_fallback``; from the loss, if a latent site of the guide has no reparametrised
            sampler, or a site that depends on a component lies outside a plate of that component's site.

    Source: Roeder et al. (2017), arXiv 1703.09194, §5.1; Morningstar et al. (2020), arXiv 2003.01687.

    Example:
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianMixturePosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> posterior = GaussianMixturePosterior(mlp(64, [32], 3 * (1 + 2 * 8)), num_components=3)
        >>> vae = VAE(StandardNormal(8), BernoulliLikelihood(mlp(8, [32], 64)), posterior)
        >>> StratifiedELBO().differentiable_loss(vae.model, vae.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, kl_weight: float = 1.0, num_particles: int = 1, **kwargs: Any) -> None:
        super().__init__(kl_weight, num_particles=num_particles, vectorize_particles=True, **kwargs)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        reading, strata = read_stratified(self, model, guide, args, kwargs)
        loss: Tensor | float = 0.0
        for site in reading.observed:
            loss = loss - strata.expectation(log_prob(site), site)
        for latent in reading.latents:
            terms = self._divergence(latent).terms
            divergence = torch.as_tensor(sum(strata.expectation(term, latent.q) for term in terms))
            loss = loss + self._weighted(divergence, latent)
        return torch.as_tensor(loss) / self.num_particles


class StratifiedIWELBO(TensorELBO):
    r"""The importance-weighted bound with one draw from every component of a mixture posterior in each sample.

    .. math:: \mathcal L_T(x) = \log \frac 1T \sum_{t=1}^T \sum_k w_k(x) \frac{p(x, z_{kt})}{q(z_{kt} \mid x)},
              \qquad z_{kt} \sim q_k(z \mid x), \qquad q = \sum_j w_j q_j

    At least as tight as :class:`IWELBO` with T samples. Sites are served as by :class:`StratifiedELBO`, each
    divergence sampled; the data are the rows of the plates that all sites share, as in :class:`IWELBO`.

    Args:
        num_particles: Number T of draws from each component, in one vectorised pass.
        kl_weight: Multiplies log p(z) - log q(z | x) in each weight.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: From the loss, if a site of the guide has no reparametrised sampler, a mixture lies in a plate that
            not all sites share, or such a plate is subsampled.

    Source: Morningstar et al. (2020), arXiv 2003.01687 ("SIWAE").
    """

    def __init__(self, num_particles: int, kl_weight: float = 1.0, max_plate_nesting: float = math.inf) -> None:
        super().__init__(
            kl_weight, num_particles=num_particles, vectorize_particles=True, max_plate_nesting=max_plate_nesting
        )

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        reading, strata = read_stratified(self, model, guide, args, kwargs)
        rows = Rows.of(reading)
        for name in strata.weights:
            outside = {frame.dim for frame in plates(strata.sites[name])} - rows.dims
            if outside:
                raise ProgramError(name, f"is a mixture in a plate (dim {max(outside)}) that not all sites share")
        rows.dims |= set(strata.dims)
        prior = rows.total(latent.p for latent in reading.latents if latent.p is not None)
        divergence = prior - rows.total(latent.q for latent in reading.latents)
        log_w = rows.total(reading.observed) + self.kl_weight.to(divergence) * divergence
        for weights in strata.weights.values():
            # a component whose weight underflows has no gradient, instead of none that is a number
            log_w = log_w + weights.clamp(min=torch.finfo(weights.dtype).tiny).log().to(log_w.dtype)
        averaged = strata.dims + ([-self.max_plate_nesting] if self.num_particles > 1 else [])
        bound = log_w.logsumexp(averaged) if averaged else log_w
        return -rows.scale * (bound - math.log(self.num_particles)).sum()


class Strata(Messenger):
    """Draws from every component at each mixture site of the guide, into a dimension of its own.

    Attributes:
        weights: Weights of the components at each such site, ``[K, ...]``, K at the site's dimension.
        dims: These dimensions, counted from the right.
    """

    def __init__(self, plates: int) -> None:
        super().__init__()
        self.plates = plates
        self.sites: dict[str, Site] = {}
        self.weights: dict[str, Tensor] = {}
        self.dims: list[int] = []

    def _pyro_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        kind: Any = type(fn)
        if msg["done"] or msg["is_observed"] or not is_stratified(kind):
            return
        dim = -self.plates - 1 - len(self.dims)
        value, weights = fn.rsample_stratified()
        msg["value"], msg["done"] = self.place(value, dim, len(fn.batch_shape)), True
        self.sites[msg["name"]], self.weights[msg["name"]] = msg, self.place(weights, dim, len(fn.batch_shape))
        self.dims.append(dim)

    def dim_of(self, name: str) -> int:
        """The dimension of a site's components."""
        return self.dims[list(self.weights).index(name)]

    @staticmethod
    def place(tensor: Tensor, dim: int, batch_dims: int) -> Tensor:
        """``[K, *batch, ...]`` with K moved left, to ``dim`` of the batch."""
        return tensor.reshape(tensor.shape[:1] + (1,) * (-dim - 1 - batch_dims) + tensor.shape[1:])

    def expectation(self, term: Tensor, site: Site, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Sum of a term over its plates, averaged over the components that it depends on."""
        for name, dim in zip(self.weights, self.dims, strict=True):
            if term.dim() < -dim or term.shape[dim] == 1 != self.weights[name].shape[dim]:
                continue
            if not plates(self.sites[name]) <= plates(site):
                raise ProgramError(site["name"], f"must lie in all plates of '{name}', a mixture that it depends on")
            term = term * (self.weights if weights is None else weights)[name]
        return term.sum()


def read_stratified(
    elbo: TensorELBO, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Reading, Strata]:
    """The sites of a model and of a guide that draws from every component, with their log-probabilities."""
    model, guide = elbo.in_particles(model, guide, args, kwargs)
    strata = Strata(int(elbo.max_plate_nesting))
    guide_trace = poutine.trace(strata(guide)).get_trace(*args, **kwargs)
    model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs)
    reading = read(checked(model_trace), checked(guide_trace))
    reading.require_gradients(type(elbo).__name__)
    return reading, strata
