"""The evidence lower bound, with exact divergences where they are known."""

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

import pyro.infer
import pyro.poutine as poutine
import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.elbo import logger
from pyro.infer.enum import config_enumerate, get_importance_trace
from pyro.infer.util import torch_backward
from torch import Tensor

from pyrodgm.distributions import divergence_given, kl_mixture_bound
from pyrodgm.infer.estimators.sites import expectation, is_enumerated, samples
from pyrodgm.infer.tracing.contexts import fork_rng

Program = Callable[..., Any]
Divergence = Callable[[Any, Any, Tensor], Tensor]
Site = dict[str, Any]
Fallback = Literal["sample", "bound"]


class TensorELBO(pyro.infer.ELBO):
    """Base of the estimators: a Pyro ELBO whose loss is a tensor all the way, for reparametrised guides.

    A subclass gives ``differentiable_loss``. It works in :class:`pyro.infer.SVI` and, called with a model and a guide,
    as a module whose ``forward`` is the loss in nats, summed over the data.

    Attributes:
        kl_weight: Tensor ``[]`` that multiplies log p(z) - log q(z | x) or its exact divergence; a schedule updates
            it in place.
    """

    def __init__(self, kl_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.num_particles < 1:
            raise ValueError(f"num_particles must be at least 1, got {self.num_particles}")
        self.kl_weight = torch.tensor(float(kl_weight))

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define differentiable_loss")

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        with torch.no_grad():
            return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        torch_backward(loss, self.retain_graph)
        return float(loss.detach())

    def _get_traces(self, model: Program, guide: Program, args: tuple, kwargs: dict) -> Iterator[tuple[Any, Any]]:
        if math.isinf(self.max_plate_nesting) and not self.vectorize_particles:
            # enumerated values go to the left of all plates; Pyro itself looks for these only where there are particles
            with fork_rng(next((a.device for a in args if isinstance(a, Tensor)), torch.device("cpu"))):
                self._guess_max_plate_nesting(model, guide, args, kwargs)
        return super()._get_traces(model, guide, args, kwargs)

    def _guess_max_plate_nesting(self, model: Program, guide: Program, args: tuple, kwargs: dict) -> None:
        silent, logger.disabled = logger.disabled, True  # Pyro writes its guess to the terminal
        try:
            super()._guess_max_plate_nesting(model, guide, args, kwargs)
        finally:
            logger.disabled = silent

    def _get_trace(self, model: Program, guide: Program, args: tuple, kwargs: dict) -> tuple[Any, Any]:
        guide = poutine.enum(config_enumerate(guide, "parallel"), first_available_dim=-1 - self.max_plate_nesting)
        return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)

    def _require_reparametrized(self, site: Site) -> None:
        if torch.is_grad_enabled() and not site["fn"].has_rsample:
            family = type(_base(site["fn"])).__name__
            raise ValueError(
                f"{type(self).__name__} needs reparametrised guide sites, but site '{site['name']}' is {family}, which "
                "has no rsample; train this pair with pyro.infer.Trace_ELBO or TraceEnum_ELBO"
            )


class ELBO(TensorELBO):
    r"""The evidence lower bound, each divergence exact where one is registered and sampled otherwise.

    .. math:: \mathcal L(x) = \mathbb E_{q(z \mid x)}[\log p(x \mid z)] - w\, \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    A registered :func:`torch.distributions.kl_divergence` serves a site only if every latent site that the model draws
    before it comes before it in the guide too; only then is the sum over sites of expected divergences the divergence
    of the whole. :meth:`describe` tells which sites are served so.

    A discrete site of the guide that takes finitely many values is summed out exactly, all of them in one batched pass.

    Args:
        kl_weight: The weight w, 1 for the evidence bound itself.
        kl_fallback: What serves a site without a registered divergence: ``"sample"``, or ``"bound"``, an upper bound of
            the divergence where there is one (:func:`pyrodgm.distributions.kl_mixture_bound`, for a Normal against a
            mixture of Normals) and a sample elsewhere. The loss then bounds the evidence less tightly, with less noise.
        divergence: Called with the distributions of a site in guide and model and the value there, in place of the
            registered divergence (:func:`pyrodgm.distributions.divergence_given`); raises NotImplementedError where it
            knows none. :func:`pyrodgm.distributions.bits_divergence` makes the bound that of DVAE and DVAE++.
        num_particles: Number of samples of the latents to average over.
        vectorize_particles: Whether these are drawn in one vectorised pass.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: For an unknown ``kl_fallback``; from the loss where it is differentiated, if a latent site of the
            guide has neither a reparametrised sampler nor finitely many values; from the loss, if sites with finitely
            many values lie in different plates.

    Source: Kingma and Welling (2013), arXiv 1312.6114, eq. 3.

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
        **kwargs: Any,
    ) -> None:
        if kl_fallback not in get_args(Fallback):
            raise ValueError(f"kl_fallback must be one of {', '.join(get_args(Fallback))}, got {kl_fallback!r}")
        super().__init__(kl_weight, **kwargs)
        self.kl_fallback, self.divergence = kl_fallback, divergence

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor | float = 0.0
        for model_trace, guide_trace in self._get_traces(model, guide, args, kwargs):
            for site in samples(model_trace):
                if site["is_observed"]:
                    loss = loss - expectation(site["log_prob"], guide_trace, self.max_plate_nesting)
            for _, terms, _ in self._divergences(model_trace, guide_trace):
                divergence = sum(expectation(term, guide_trace, self.max_plate_nesting) for term in terms)
                loss = loss + self.kl_weight.to(divergence) * divergence
        return torch.as_tensor(loss) / self.num_particles

    def describe(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> dict[str, str]:
        """For each latent site whether its divergence is ``"exact"``, ``"sampled"`` or a ``"bound"``."""
        with torch.no_grad():
            model_trace, guide_trace = next(self._get_traces(model, guide, args, kwargs))
            return {name: kind for name, _, kind in self._divergences(model_trace, guide_trace)}

    def _divergences(self, model_trace: Any, guide_trace: Any) -> Iterator[tuple[str, list[Tensor], str]]:
        """Name, terms of the divergence (summed over nothing yet), and kind, for each latent site of the guide."""
        model_order, guide_order = _latent_names(model_trace), _latent_names(guide_trace)
        for i, name in enumerate(guide_order):
            q = guide_trace.nodes[name]
            if not is_enumerated(q):
                self._require_reparametrized(q)
            if name not in model_order:  # an auxiliary site, which only the guide has
                yield name, [q["log_prob"]], "sampled"
                continue
            p = model_trace.nodes[name]
            earlier = model_order[: model_order.index(name)]
            if set(earlier) <= set(guide_order[:i]):
                kl, kind = self._known(q["fn"], p["fn"], q["value"])
                if kl is not None:
                    yield name, [scale_and_mask(kl, scale=q["scale"], mask=q["mask"])], kind
                    continue
            yield name, [q["log_prob"], -p["log_prob"]], "exact" if is_enumerated(q) else "sampled"

    def _known(self, q: Any, p: Any, value: Tensor) -> tuple[Tensor | None, str]:
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


def _latent_names(trace: Any) -> list[str]:
    return [site["name"] for site in samples(trace) if not site["is_observed"]]


def _base(fn: Any) -> Any:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return fn
