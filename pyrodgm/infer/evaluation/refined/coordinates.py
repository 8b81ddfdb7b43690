"""The latents of a pair as one real vector a datum, and what the programs are in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent, constraints
from torch.func import jvp, vmap
from torch.overrides import TorchFunctionMode

from pyrodgm.infer.estimators.sites import Site, Trace, samples
from pyrodgm.infer.evaluation.refined.curvature import NoCurvatureError, curvature, fisher_features, prior_features

PARTICLES = -2  # dimension of the points, left of the data plate


class UnsupportedError(ValueError):
    """A pair whose latents are no real vector a datum, or that says nothing of its curvature."""


@dataclass(frozen=True)
class Place:
    """Where a latent site lies in the vector."""

    name: str
    start: int
    stop: int
    event_shape: torch.Size


class Coordinates:
    """The joint density of a pair as a function of one real vector u ``[points, B, D]``.

    Its parts are the latent sites, which must be real, in the order in which the model draws them.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: One datum, ``[1, *event]``.

    Raises:
        UnsupportedError: For latents that are discrete or constrained, in further plates, scaled, masked, or in one of
            the two programs alone, and for a site whose curvature is not known; says which.
    """

    def __init__(self, pair: Any, x: Tensor) -> None:
        self.pair = pair
        guide = poutine.trace(pair.guide).get_trace(x)
        model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x)
        drawn = {site["name"] for site in samples(guide)}
        latents = [site for site in samples(model) if not site["is_observed"]]
        if not latents or drawn != {site["name"] for site in latents}:
            raise UnsupportedError("its two programs must draw the same latents, at least one")
        self.places: list[Place] = []
        start = 0
        for site in samples(model):
            _check(site)
            if not site["is_observed"]:
                shape = site["fn"].event_shape
                self.places.append(Place(site["name"], start, start + shape.numel(), shape))
                start += shape.numel()
        self.size = start
        try:
            self.moments(x, torch.zeros(2, 1, self.size, dtype=x.dtype, device=x.device))
        except NoCurvatureError as error:
            raise UnsupportedError(str(error)) from error
        except (NotImplementedError, RuntimeError) as error:  # what PyTorch raises for what it cannot differentiate
            reason = str(error).strip().split("\n")[0]
            raise UnsupportedError(f"it has no forward-mode derivatives: {reason}") from error

    def values(self, x: Tensor, u: Tensor) -> dict[str, Tensor]:
        """Values ``[points, B, *event]`` of the sites at u."""
        trace = self._run(x, u)
        return {place.name: trace.nodes[place.name]["value"] for place in self.places}

    def log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(x, u) and log p(x | u), ``[points, B]``."""
        with torch.no_grad():
            return self._log_joint(x, u)

    def gradient(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient ``[points, B, D]`` of log p(x, u) in u, and log p(x, u) itself, ``[points, B]``."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            joint = self._log_joint(x, u)[0]
            return torch.autograd.grad(joint.sum(), u)[0], joint.detach()

    def moments(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Mean gradient ``[B, D]`` and Gauss-Newton curvature ``[B, D, D]`` over points u, by forward derivatives."""
        basis = torch.eye(self.size, dtype=u.dtype, device=u.device)

        def tangents(direction: Tensor) -> list[Tensor]:
            return jvp(lambda v: self._features(x, v), (u,), (direction.expand_as(u),))[1]

        with _GatesInParts():
            return self.gradient(x, u)[0].mean(0), curvature(vmap(tangents)(basis))

    def guide_draws(self, x: Tensor, count: int) -> Tensor:
        """Draws of the guide in these coordinates, ``[count, B, D]``."""
        guide = poutine.trace(_particles(self.pair.guide, count)).get_trace(x)
        model = poutine.trace(poutine.replay(_particles(self.pair.model, count), trace=guide)).get_trace(x)
        return self.from_trace(model, count, len(x))

    def from_trace(self, trace: Trace, *shape: int) -> Tensor:
        """The vectors ``[*shape, D]`` of the values that a trace of the model has."""
        parts = []
        for place in self.places:
            site = trace.nodes[place.name]
            parts.append(site["value"].expand(*shape, *place.event_shape).reshape(*shape, -1))
        return torch.cat(parts, -1)

    def _log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        given: Any = 0.0
        prior: Any = 0.0
        for site in samples(self._run(x, u)):
            if site["is_observed"]:
                given = given + site["fn"].log_prob(site["value"])
            else:
                prior = prior + site["fn"].log_prob(site["value"])
        return given + prior, given

    def _part(self, u: Tensor, name: str) -> Tensor:
        place = next(place for place in self.places if place.name == name)
        return u[..., place.start : place.stop].unflatten(-1, place.event_shape)

    def _run(self, x: Tensor, u: Tensor) -> Trace:
        parts = {place.name: self._part(u, place.name) for place in self.places}
        return poutine.trace(_Placed(parts)(_particles(self.pair.model, len(u)))).get_trace(x)

    def _features(self, x: Tensor, u: Tensor) -> list[Tensor]:
        """Features of all sites, ``[points, B, n]`` each."""
        found = []
        for site in samples(self._run(x, u)):
            fn, seen = site["fn"], site["is_observed"]
            parts = fisher_features(fn) if seen else prior_features(fn, site["value"])
            found += [part.expand(*u.shape[:2], *part.shape[2:]).flatten(2) for part in parts]
        return found


class _GatesInParts(TorchFunctionMode):
    """Computes gated linear units as a product: their forward-mode derivative has no batching rule in PyTorch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.glu:
            return _gated(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _gated(input: Tensor, dim: int = -1) -> Tensor:  # noqa: A002
    value, gate = input.chunk(2, dim)
    return value * gate.sigmoid()


class _Placed(Messenger):
    """Gives latent sites their values from coordinates."""

    def __init__(self, parts: dict[str, Tensor]) -> None:
        super().__init__()
        self.parts = parts

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.parts:
            msg["value"], msg["done"] = self.parts[msg["name"]], True


def _particles(program: Callable[..., Any], count: int) -> Callable[..., Any]:
    return pyro.plate("num_particles_vectorized", count, dim=PARTICLES)(program)


def _base(fn: Any) -> Any:
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def _check(site: Site) -> None:
    name, fn = site["name"], site["fn"]
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    if [frame.dim for frame in frames] != [-1]:
        raise UnsupportedError(f"site '{name}' must lie in the data plate at dimension -1 alone")
    if site["mask"] is not None or isinstance(site["scale"], Tensor) or site["scale"] != 1.0:
        raise UnsupportedError(f"site '{name}' is masked or scaled")
    support: Any = fn.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if not site["is_observed"] and support is not constraints.real:
        raise UnsupportedError(f"site '{name}', of family {type(_base(fn)).__name__}, is not real")
