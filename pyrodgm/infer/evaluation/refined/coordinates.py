"""The latents of a pair as one real vector a datum, and what the programs are in it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent, constraints
from torch.func import grad, jvp, vmap

from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.estimators.reading import counted, mask_of
from pyrodgm.infer.estimators.sites import Site, Trace, traces
from pyrodgm.infer.evaluation.refined.bijections import Identity, bijection
from pyrodgm.infer.evaluation.refined.components import most_responsible
from pyrodgm.infer.evaluation.refined.curvature import NoCurvatureError, curvature, observed_features, prior_features
from pyrodgm.infer.evaluation.refined.gates import GatesInParts
from pyrodgm.infer.evaluation.refined.gauss_newton import Plan
from pyrodgm.infer.evaluation.refined.gaussian import Skew

PARTICLES = -2  # dimension of the points, left of the data plate


class UnsupportedError(PyrodgmError, ValueError):
    """A pair whose latents are no real vector a datum, or that says nothing of its curvature."""


@dataclass(frozen=True)
class Place:
    """Where a latent site lies in the vector, whether its values are its coordinates, and its prior a mixture."""

    name: str
    start: int
    stop: int
    event_shape: torch.Size
    identity: bool
    is_mixture: bool

    def of(self, u: Tensor) -> Tensor:
        """The site's part ``[*, *event]`` of vectors ``[*, D]``."""
        return u[..., self.start : self.stop].unflatten(-1, self.event_shape)


class Coordinates:
    """The joint density of a pair as a function of one real vector u ``[points, B, D]``.

    Its parts are the latent sites, which must be real, in the order in which the model draws them: real sites as they
    stand, logits of sticks in the coordinates in which their prior is a standard normal (:mod:`.bijections`).

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: One datum, ``[1, *event]``.

    Raises:
        UnsupportedError: For latents that are discrete or constrained, in further plates, scaled, masked, or in one of
            the two programs alone, and for a site whose curvature is not known; says which. Observed sites may be
            masked, and what ``obs_mask`` leaves unobserved is integrated out.
    """

    def __init__(self, pair: Any, x: Tensor) -> None:
        self.pair, self.datum = pair, x
        guide, model = traces(pair, x)
        drawn = {site["name"] for site in counted(guide)}
        latents = [site for site in _joint(model) if not site["is_observed"]]
        if not latents or drawn != {site["name"] for site in latents}:
            raise UnsupportedError("its two programs must draw the same latents, at least one")
        self.places: list[Place] = []
        start = 0
        for site in _joint(model):
            check_site(site, constraints.real)
            if not site["is_observed"]:
                fn, shape = site["fn"], site["fn"].event_shape
                identity, mixture = isinstance(bijection(fn), Identity), most_responsible(fn, site["value"]) is not None
                self.places.append(Place(site["name"], start, start + shape.numel(), shape, identity, mixture))
                start += shape.numel()
        self.size = start
        try:
            self.moments(x, torch.zeros(2, 1, self.size, dtype=x.dtype, device=x.device))
        except NoCurvatureError as error:
            raise UnsupportedError(str(error)) from error
        except (NotImplementedError, RuntimeError) as error:  # what PyTorch raises for what it cannot differentiate
            reason = str(error).strip().split("\n")[0]
            raise UnsupportedError(f"it has no forward-mode derivatives: {reason}") from error

    def plan(self, budget: int | None) -> Plan:
        """How a budget of decoder evaluations a datum is spent.

        Raises:
            UnsupportedError: If it is too small.
        """
        sticks = not self.is_identity
        plan = Plan.of_budget(budget, self.size, is_damped=sticks, can_skew=sticks and self.has_second_derivatives)
        if plan is None:
            least = Plan.least_budget(self.size)
            raise UnsupportedError(f"num_samples must be at least {least} for {self.size} latents, got {budget}")
        return plan

    @property
    def is_identity(self) -> bool:
        """Whether the values of all sites are their coordinates."""
        return all(place.identity for place in self.places)

    def values(self, x: Tensor, u: Tensor) -> dict[str, Tensor]:
        """Values ``[points, B, *event]`` of the sites at u."""
        return {name: value for name, (value, _) in self.placed(x, u).items()}

    def placed(self, x: Tensor, u: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Values ``[*, B, *event]`` of the sites at u ``[*, B, D]``, and minus the log-Jacobians by u, ``[*, B]``.

        The model runs in its own plate alone, so that plates to the left may be those of a caller.
        """
        if self.is_identity:
            return {place.name: (place.of(u), u.new_zeros(u.shape[:-1])) for place in self.places}
        nodes, found = poutine.trace(Placed(self._parts(u))(self.pair.model)).get_trace(x).nodes, {}
        for place in self.places:
            fn, value = nodes[place.name]["fn"], nodes[place.name]["value"]
            log_density = bijection(fn).log_density(place.of(u), value)
            found[place.name] = value, (fn.log_prob(value) - log_density).expand(u.shape[:-1])
        return found

    def log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(x, u) and log p(x | u), ``[points, B]``."""
        with torch.no_grad():
            return self._log_joint(x, u)

    def gradient(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient ``[points, B, D]`` of log p(x, u) in u, and log p(x, u) itself, ``[points, B]``."""
        return _gradient(lambda v: self._log_joint(x, v)[0], u)

    def moments(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means over points u of gradient ``[B, D]``, curvature ``[B, D, D]`` and value ``[B]``.

        The curvature is the Gauss-Newton one, by forward derivatives.
        """
        slope, joint = self.gradient(x, u)
        return slope.mean(0), curvature(_tangents(lambda v: self._features(x, v), u)), joint.mean(0)

    def second_moments(self, x: Tensor, u: Tensor, skew: Skew | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`moments` with minus the Hessian itself, which need not be positive definite, as the curvature.

        With a transformation all are those of the density in w, of which the points are given.
        """

        def density(points: Tensor) -> Tensor:
            if skew is None:
                return self._log_joint(x, points)[0]
            return self._log_joint(x, skew.place(points))[0] + skew.log_slope(points).sum(-1)

        slope, joint = _gradient(density, u)
        hessian = _tangents(grad(lambda v: density(v).sum()), u)  # [D, points, B, D]
        return slope.mean(0), -hessian.mean(1).transpose(0, 1), joint.mean(0)

    @cached_property
    def has_second_derivatives(self) -> bool:
        """Whether PyTorch can differentiate the joint density twice, forward over reverse."""
        try:
            self.second_moments(self.datum, torch.zeros(2, 1, self.size).to(self.datum))
        except (NotImplementedError, RuntimeError):  # what it raises for what it cannot differentiate
            return False
        return True

    def components(self, x: Tensor, u: Tensor) -> Tensor:
        """Points u ``[points, B, D]`` moved to the component most responsible for them, where a prior is a mixture."""
        nodes, parts = self._run(x, u).nodes, []
        for place in self.places:
            moved = most_responsible(nodes[place.name]["fn"], place.of(u))
            parts.append((place.of(u) if moved is None else moved).flatten(2))
        return torch.cat(parts, -1)

    @property
    def has_components(self) -> bool:
        """Whether the prior of a site is a mixture."""
        return any(place.is_mixture for place in self.places)

    def guide_draws(self, x: Tensor, count: int) -> Tensor:
        """Draws of the guide in these coordinates, ``[count, B, D]``."""
        guide = poutine.trace(particles(self.pair.guide, count)).get_trace(x)
        model = poutine.trace(poutine.replay(particles(self.pair.model, count), trace=guide)).get_trace(x)
        return self.from_trace(model, count, len(x))

    def from_trace(self, trace: Trace, *shape: int) -> Tensor:
        """The vectors ``[*shape, D]`` of the values that a trace of the model has."""
        parts = []
        for place in self.places:
            site = trace.nodes[place.name]
            part = bijection(site["fn"]).standardise(site["value"])
            parts.append(part.expand(*shape, *place.event_shape).reshape(*shape, -1))
        return torch.cat(parts, -1)

    def _log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        given: Any = 0.0
        prior: Any = 0.0
        parts = self._parts(u)
        for site in _joint(self._run(x, u)):
            fn, value = site["fn"], site["value"]
            if site["is_observed"]:
                given = given + scale_and_mask(fn.log_prob(value), mask=site["mask"])
            else:
                prior = prior + bijection(fn).log_density(parts[site["name"]], value)
        return given + prior, given

    def _parts(self, u: Tensor) -> dict[str, Tensor]:
        return {place.name: place.of(u) for place in self.places}

    def _run(self, x: Tensor, u: Tensor) -> Trace:
        return poutine.trace(Placed(self._parts(u))(particles(self.pair.model, len(u)))).get_trace(x)

    def _features(self, x: Tensor, u: Tensor) -> list[Tensor]:
        """Features of all sites, ``[points, B, n]`` each."""
        found, coordinates = [], self._parts(u)
        for site in _joint(self._run(x, u)):
            fn, name = site["fn"], site["name"]
            if site["is_observed"]:
                parts = observed_features(fn, site["value"])
                if isinstance(site["mask"], Tensor):
                    parts = [part * site["mask"].unsqueeze(-1) for part in parts]
            elif isinstance(bijection(fn), Identity):
                parts = prior_features(fn, site["value"])
            else:
                parts = [coordinates[name].flatten(2)]  # of a standard normal
            found += [part.expand(*u.shape[:2], *part.shape[2:]).flatten(2) for part in parts]
        return found


def _gradient(density: Callable[[Tensor], Tensor], u: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        value = density(u)
        return torch.autograd.grad(value.sum(), u)[0], value.detach()


def _tangents(function: Callable[[Tensor], Any], u: Tensor) -> Any:
    """Forward derivatives of what a function gives at u, stacked over the coordinates, in one batched pass."""
    basis = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
    with GatesInParts():
        return vmap(lambda direction: jvp(function, (u,), (direction.expand_as(u),))[1], randomness="same")(basis)


class Placed(Messenger):
    """Gives latent sites their values from coordinates, by name."""

    def __init__(self, parts: dict[str, Tensor]) -> None:
        super().__init__()
        self.parts = parts

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.parts:
            msg["value"], msg["done"] = bijection(msg["fn"]).place(self.parts[msg["name"]]), True


def _joint(model: Trace) -> list[Site]:
    """The sites of the joint density: all that count but what an ``obs_mask`` leaves unobserved, which integrates to 1.

    A mask of False takes a site's density out.
    """
    sites = counted(model)
    names = {site["name"] for site in sites}
    halves = ("_observed", "_unobserved")  # as Pyro calls the two parts of such a site
    missing = {n for n in names if n.endswith(halves[1]) and n.removesuffix(halves[1]) + halves[0] in names}
    return [site for site in sites if site["name"] not in missing and site["mask"] is not False]


def particles(program: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The program for ``count`` points side by side."""
    return pyro.plate("num_particles_vectorized", count, dim=PARTICLES)(program)


def _base(fn: Any) -> Any:
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def check_site(site: Site, allowed: Any) -> None:
    """Refuse a site that lies in further plates or is scaled, and a latent one that is masked or of another support."""
    name, fn = site["name"], site["fn"]
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    if [frame.dim for frame in frames] != [-1]:
        raise UnsupportedError(f"site '{name}' must lie in the data plate at dimension -1 alone")
    if isinstance(site["scale"], Tensor) or site["scale"] != 1.0:
        raise UnsupportedError(f"site '{name}' is scaled")
    if site["is_observed"]:
        return
    if mask_of(site) is not True:
        raise UnsupportedError(f"site '{name}' is masked")
    support: Any = fn.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is not allowed:
        what = "real" if allowed is constraints.real else "binary"
        raise UnsupportedError(f"site '{name}', of family {type(_base(fn)).__name__}, is not {what}")
