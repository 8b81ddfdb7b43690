"""The refined proposal as a Pyro guide."""

from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import programs, tensors, whole_number
from pyrodgm.infer.estimators.side_by_side import DATA, require_side_by_side
from pyrodgm.infer.estimators.sites import traces
from pyrodgm.infer.evaluation.refined.centring import evenly
from pyrodgm.infer.evaluation.refined.choice import coordinates_of
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError, joint_sites
from pyrodgm.infer.evaluation.refined.student import Mixture
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng
from pyrodgm.infer.training.feeds.columns import Columns, device_and_dtype
from pyrodgm.infer.training.feeds.support import check_support

JOINT = "_refined"  # name of the auxiliary site that holds all latents


class Joint(TorchDistribution):
    """Pyro distribution of a refined proposal: per datum, a mixture of Student's t distributions around its modes.

    Args:
        mixture: The mixtures of N data, in float64.
        dtype: Dtype of draws and log-densities.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector

    def __init__(self, mixture: Mixture, dtype: torch.dtype, batch_shape: torch.Size | None = None) -> None:
        count, size = mixture.gaussians[0].mean.shape
        super().__init__(batch_shape or torch.Size([count]), torch.Size([size]), validate_args=False)
        self.mixture, self.dtype = mixture, dtype

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> "Joint":
        return Joint(self.mixture, self.dtype, torch.Size(batch_shape))

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 - an immutable one
        shape = torch.Size(sample_shape) + self.batch_shape
        u = self.mixture.draw_independent(shape[:-1].numel())
        return u.reshape(*shape, -1).to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        points = value.double().reshape(-1, *value.shape[-2:])
        return self.mixture.log_density(points).to(self.dtype).reshape(value.shape[:-1])


class RefinedGuide:
    """Pyro guide that draws the latents of given data from proposals fitted to each datum's posterior.

    The proposal of a datum is a Student's t or, with several modes, an equal mixture of t's. As in
    :class:`pyro.infer.autoguide.AutoContinuous`, an auxiliary site, ``"_refined"``, holds all latents of a datum as one
    vector, and the latent sites are parts of it, mapped through a bijection for constrained latents and logits of
    sticks.

    Attributes:
        mean: The centre of each datum's first component, by latent site, ``[N, *event]``. This is the fit that starts
            from the pair's guide, unless its mass is negligible; it need not be the largest mode.
    """

    def __init__(self, coordinates: Coordinates, proposal: Mixture, x: Tensor) -> None:
        self.coordinates, self.proposal, self.x = coordinates, proposal, x

    @property
    def mean(self) -> dict[str, Tensor]:
        """Centre of the first component of each datum, by latent site."""
        largest = self.proposal.gaussians[0]
        centre = largest.place(torch.zeros_like(largest.mean).unsqueeze(0)).squeeze(0).to(self.x)
        with torch.no_grad():
            return {name: value for name, (value, _) in self._placed(centre).items()}

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        if x.shape != self.x.shape or not torch.equal(x.to(self.x), self.x):
            raise ValueError(f"x must be the {len(self.x)} data that the guide was refined on, got others")
        values = {}
        plate = pyro.plate("data", len(x), dim=-1)
        with plate:
            u = pyro.sample(JOINT, Joint(self.proposal, self.x.dtype), infer={"is_auxiliary": True})
        placed = self._placed(u)
        with plate:
            for place in self.coordinates.places.values():
                value, log_density = placed[place.name]
                values[place.name] = pyro.sample(place.name, dist.Delta(value, log_density, event_dim=len(place.shape)))
        return values

    def _placed(self, u: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Site values at u ``[*, N, D]`` and the log-densities of their Delta sites, ``[*, N]``."""
        with poutine.block():  # run the model for the values only, hidden from outer handlers
            return self.coordinates.placed(self.x, u)


def refine(
    pair: nn.Module, x: Tensor, num_samples: int | None = None, *, max_bytes: int = 2**27, seed: int | None = None
) -> RefinedGuide:
    """Fit a guide to the posterior of each datum: the proposal of the first stage of :func:`log_likelihood`.

    It leaves out the draws of the prior that :func:`log_likelihood` mixes in where the posterior is near the prior.

    Pyro's :func:`~pyro.infer.importance.vectorized_importance_weights`, :func:`~pyro.infer.importance.psis_diagnostic`
    and :class:`~pyro.infer.Predictive` take it in place of the pair's guide, and its ``mean`` starts
    :class:`~pyro.infer.NUTS`.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``, of continuous latents, whose sites all have a known
            curvature (docs/likelihood.md lists the families).
        x: Data ``[N, *event]``; the guide runs on exactly these.
        num_samples: Evaluations of the likelihood's network per datum, of which the fit takes up to half; by default
            the usual fit.
        max_bytes: Bound on the memory.
        seed: Seed of the fit; the caller's random state is restored. None draws from the current state.

    Raises:
        ValueError: If the pair does not allow it, with the reason, its data plate is subsampled, ``num_samples`` is too
            small, or a datum lies outside the support of its likelihood.

    Example:
        >>> from pyro.infer.importance import psis_diagnostic
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> _ = torch.manual_seed(1)
        >>> vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), GaussianPosterior(mlp(9, [8], 4)))
        >>> x = torch.ones(1, 9)
        >>> psis_diagnostic(vae.model, refine(vae, x, seed=0), x, num_particles=1000, max_plate_nesting=1) < 0.7
        True
    """
    programs(pair, "model", "guide")
    tensors(x=x)
    if x.dim() == 0 or len(x) == 0 or not x.isfinite().all():
        raise ValueError(f"x must be finite and hold at least one datum, got shape {list(x.shape)}")
    num_samples = None if num_samples is None else whole_number("num_samples", num_samples)
    max_bytes, seed = whole_number("max_bytes", max_bytes), None if seed is None else whole_number("seed", seed, None)
    x = (x.clone() if x.is_inference() else x).to(*device_and_dtype(pair))
    with evaluating(pair), fork_rng(x.device) if seed is not None else torch.no_grad():
        if seed is not None:
            torch.manual_seed(seed)
        check_support(pair, Columns(x, pair, "x"), "x")
        probes = evenly(x)
        require_side_by_side(pair, (probes[:DATA],))
        coordinates = coordinates_of(pair, probes)
        _require_no_scale(pair, x[:1])
        sampler = RefinedSampler(coordinates, probes, len(x), coordinates.plan(num_samples), max_bytes, "auto")
        fitted = Mixture.cat([sampler.fitting.first(block).proposal for block in x.split(sampler.block)])
    return RefinedGuide(coordinates, fitted, x)


def _require_no_scale(pair: nn.Module, x: Tensor) -> None:
    """Raise UnsupportedError for a subsampled data plate, since the refined guide has no scale."""
    with fork_rng(x.device):
        for site in joint_sites(traces(pair, x)[1]):
            if site["scale"] != 1.0:
                raise UnsupportedError(f"site '{site['name']}' is scaled, which its refined guide would not be")
