"""The evidence lower bound, with exact divergences where they are known."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pyro.infer
import pyro.poutine as poutine
import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.elbo import logger
from pyro.infer.enum import config_enumerate, get_importance_trace
from pyro.infer.util import is_validation_enabled, torch_backward
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrodgm.arithmetic.arguments import callables, finite_number, one_of, whole_number
from pyrodgm.distributions import divergence_given, kl_mixture_bound
from pyrodgm.infer.estimators.free_bits import with_free_bits
from pyrodgm.infer.estimators.kl_weight import KLWeight
from pyrodgm.infer.estimators.protocols import Divergence, Program
from pyrodgm.infer.estimators.reading import Enumeration, Latent, fn_of, mask_of, read
from pyrodgm.infer.estimators.sites import is_enumerated, log_prob, samples
from pyrodgm.infer.tracing._compat import guess_max_plate_nesting, in_particle_plate
from pyrodgm.infer.tracing.contexts import fork_rng

Fallback = Literal["sample", "bound"]


class TensorLoss(pyro.infer.ELBO):
    """An objective of Pyro whose loss is a tensor all the way; a subclass gives ``differentiable_loss``.

    It works in :class:`pyro.infer.SVI` and, called with a model and a guide, as a module whose ``forward`` is the loss
    in nats, summed over the data.
    """

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define differentiable_loss")

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        torch_backward(loss, self.retain_graph)
        return float(loss.detach())

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        return poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs), guide_trace


class TensorELBO(TensorLoss):
    """Base of the bounds, for reparametrised guides.

    Attributes:
        kl_weight: Tensor ``[]`` that multiplies log p(z) - log q(z | x) or its exact divergence; a schedule updates
            it in place, and a number put there becomes such a tensor.
    """

    kl_weight = KLWeight()

    def __init__(self, kl_weight: float = 1.0, **kwargs: Any) -> None:
        kwargs["num_particles"] = whole_number("num_particles", kwargs.get("num_particles", 1))
        nesting = kwargs.get("max_plate_nesting", math.inf)
        if nesting != math.inf:
            kwargs["max_plate_nesting"] = whole_number("max_plate_nesting", nesting, 0)
        super().__init__(**kwargs)
        self.kl_weight = finite_number("kl_weight", kl_weight, least=0.0)

    def in_particles(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Program, Program]:
        """Both programs inside a plate of the particles, left of all others; as they are for one particle."""
        if math.isinf(self.max_plate_nesting):
            guess_max_plate_nesting(self, (model, guide), args, kwargs)
        return in_particle_plate(self, model), in_particle_plate(self, guide)

    def _get_traces(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[tuple[Any, Any]]:
        if math.isinf(self.max_plate_nesting) and not self.vectorize_particles:
            # enumerated values go to the left of all plates; Pyro itself looks for these only where there are particles
            with fork_rng(next((a.device for a in args if isinstance(a, Tensor)), torch.device("cpu"))):
                self._guess_max_plate_nesting(model, guide, args, kwargs)
        return super()._get_traces(model, guide, args, kwargs)

    def _guess_max_plate_nesting(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        silent, logger.disabled = logger.disabled, True  # Pyro writes its guess to the terminal
        try:
            super()._guess_max_plate_nesting(model, guide, args, kwargs)
        except NotImplementedError:
            self._name_site(model, guide, args, kwargs)
            raise
        finally:
            logger.disabled = silent

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any]:
        guide = poutine.enum(config_enumerate(guide, "parallel"), first_available_dim=-1 - self.max_plate_nesting)
        if not is_validation_enabled() and not isinstance(poutine.unwrap(guide), Messenger):
            # the same without checks, and without log-probabilities that an exact divergence replaces
            return super()._get_trace(model, guide, args, kwargs)
        with warnings.catch_warnings():
            # Pyro's own reading: here sites of the model alone cancel, and `read` refuses those of the guide alone
            warnings.filterwarnings("ignore", "Found (vars in model but not guide|non-auxiliary vars in guide)")
            try:
                return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)
            except NotImplementedError:
                self._name_site(model, guide, args, kwargs)
                raise

    def _name_site(self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the error of a site without density again with its name, which Pyro leaves out."""
        for trace in super()._get_trace(model, guide, args, kwargs):
            for site in samples(trace):
                log_prob(site)


class ELBO(TensorELBO):
    r"""The evidence lower bound, each divergence exact where one is registered and sampled otherwise.

    .. math:: \mathcal L(x) = \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - w\, \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    A registered :func:`torch.distributions.kl_divergence` serves a site only if every latent site that the model draws
    before it comes before it in the guide too, where masks and scales of the two sites agree, and where the two
    distributions transform others by bijections alone (or are both half-normal or half-Cauchy); only then is the sum
    over sites of expected divergences the divergence of the whole. :meth:`describe` tells which sites are served so. A
    latent site that the guide lacks is drawn from the model and cancels.

    A discrete site of the guide that takes finitely many values is summed out exactly, all of them in one batched pass.

    Args:
        kl_weight: The weight w, 1 for the evidence bound itself.
        kl_fallback: What serves a site without a registered divergence: ``"sample"``, or ``"bound"``, an upper bound of
            the divergence where there is one (:func:`pyrodgm.distributions.kl_mixture_bound`, for a Normal against a
            mixture of Normals) and a sample elsewhere. The loss then bounds the evidence less tightly, with less noise.
        divergence: Called with the distributions of a site in guide and model and the value there, in place of the
            registered divergence (:func:`pyrodgm.distributions.divergence_given`); raises NotImplementedError where it
            knows none. :func:`pyrodgm.distributions.bits_divergence` makes the bound that of DVAE and DVAE++.
        free_bits: Nats per datum that each latent site has for free, f: its KL, the mean over the batch, is replaced by
            max(f, KL), so that nothing is gained by a posterior closer to the prior than that. The loss then bounds
            the evidence less tightly.
        num_particles: Number of samples of the latents to average over.
        vectorize_particles: Whether these are drawn in one vectorised pass.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: For an unknown ``kl_fallback``; from the loss (a :class:`ProgramError`), for a site that
            :func:`~pyrodgm.infer.estimators.reading.read` refuses, and, where the loss is differentiated, for a latent
            site that has neither a reparametrised sampler nor, in the guide, finitely many values.

    Source: Kingma and Welling (2013), arXiv 1312.6114, eq. 3; Kingma et al. (2016), arXiv 1606.04934, eq. 15 (free
    bits, with each latent site as one group).

    Example:
        >>> import pyro, torch, pyro.distributions as dist
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(0.0, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.7))
        >>> ELBO().describe(model, guide, torch.zeros(3))
        {'z': 'exact'}
    """

    def __init__(
        self,
        kl_weight: float = 1.0,
        kl_fallback: Fallback = "sample",
        divergence: Divergence = divergence_given,
        free_bits: float = 0.0,
        **kwargs: Any,
    ) -> None:
        one_of("kl_fallback", kl_fallback, get_args(Fallback))
        callables(divergence=divergence)
        super().__init__(kl_weight, **kwargs)
        self.kl_fallback, self.divergence = kl_fallback, divergence
        self.free_bits = finite_number("free_bits", free_bits, least=0.0)

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor | float = 0.0
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            reading = read(model_trace, guide_trace)
            reading.require_gradients(type(self).__name__)
            enumeration = Enumeration(reading)
            for site in reading.observed:
                loss = loss - enumeration.expectation(log_prob(site))
            for latent in reading.latents:
                terms = self._divergence(latent).terms
                divergence = torch.as_tensor(sum(enumeration.expectation(term) for term in terms))
                loss = loss + self._weighted(divergence, latent)
        return torch.as_tensor(loss) / self.num_particles

    def _weighted(self, divergence: Tensor, latent: Latent) -> Tensor:
        """What a site adds to the loss: its divergence, summed over its plates, with the free bits and the weight."""
        if self.free_bits:
            divergence = with_free_bits(divergence, latent.q, self.free_bits)
        return self.kl_weight.to(divergence) * divergence

    def describe(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> dict[str, str]:
        """How each latent site is served: its divergence ``"exact"``, ``"sampled"`` or a ``"bound"``.

        A site that only the model has is ``"drawn from the model"``, and counts as neither prior nor posterior.
        """
        with torch.no_grad():
            reading = read(*next(self._get_traces(model, guide, args, kwargs)))
            kinds = {}
            for latent in reading.latents:
                term = self._divergence(latent)
                kinds[latent.name] = term.kind if bool(torch.as_tensor(term.holds).all()) else "sampled"
            return kinds | {site["name"]: "drawn from the model" for site in reading.from_model}

    def _divergence(self, latent: Latent) -> "_Term":
        """The divergence of one site, exact where a registered one stands for the difference of log-densities."""
        q, p = latent.q, latent.p
        if p is None:
            return _Term([log_prob(q)], "sampled")
        agreement = latent.has_divergence() and latent.agreement()
        kl, kind = (None, "") if agreement is False else self._known(fn_of(q), fn_of(p), q["value"])
        if kl is None:
            return _Term([log_prob(q), -log_prob(p)], "exact" if is_enumerated(q) else "sampled")
        exact = scale_and_mask(kl, scale=q["scale"], mask=mask_of(q))
        if isinstance(agreement, Tensor):
            exact = torch.where(agreement, exact, log_prob(q) - log_prob(p))
        return _Term([exact], kind, agreement)

    def _known(self, q: Any, p: Any, value: Tensor) -> tuple[Tensor | None, str]:
        if q.batch_shape != p.batch_shape:  # some divergences are written for equal shapes alone
            shape = torch.broadcast_shapes(q.batch_shape, p.batch_shape)
            q, p = (fn if fn.batch_shape == shape else fn.expand(shape) for fn in (q, p))
        try:
            return self.divergence(q, p, value), "exact"
        except NotImplementedError:
            pass
        if self.kl_fallback == "bound":
            try:
                return kl_mixture_bound(q, p), "bound"
            except TypeError:
                pass
        return None, "sampled"


@dataclass(frozen=True)
class _Term:
    """A site's divergence: terms that add up to it, and how they came; where it does not hold it was sampled."""

    terms: list[Tensor]
    kind: str
    holds: bool | Tensor = True
