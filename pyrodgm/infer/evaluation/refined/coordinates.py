"""The joint density of a pair, its derivatives and draws, as functions of one real vector of latents per datum."""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import pyro.poutine as poutine
import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import constraints
from torch.func import grad

from pyrodgm.infer.estimators.reading import counted
from pyrodgm.infer.estimators.sites import Trace, traces
from pyrodgm.infer.evaluation.refined.bijections import Bijection, Identity, bijection
from pyrodgm.infer.evaluation.refined.centring import (
    HALF,
    NormalPrior,
    PartlyCentred,
    centredness,
    is_conditional,
    normal_of,
)
from pyrodgm.infer.evaluation.refined.components import between_sites, most_responsible
from pyrodgm.infer.evaluation.refined.constrained import Fractions
from pyrodgm.infer.evaluation.refined.curvature import NoCurvatureError, curvature, observed_features
from pyrodgm.infer.evaluation.refined.derivatives import forward_derivatives, value_gradient
from pyrodgm.infer.evaluation.refined.gauss_newton import Plan
from pyrodgm.infer.evaluation.refined.gaussian import Skew
from pyrodgm.infer.evaluation.refined.programs import Placed, particles
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError, check_site, joint_sites
from pyrodgm.infer.evaluation.refined.sticks import SticksFromNormal

STICKS = (SticksFromNormal, Fractions)  # coordinates whose posteriors are skewed


@dataclass(frozen=True)
class Place:
    """Position of a latent site in the vector, with its kind of coordinates and centredness.

    ``shape`` is the shape of the coordinates of one event; a point of a simplex has one coordinate fewer than weights.
    """

    name: str
    start: int
    stop: int
    shape: torch.Size
    kind: type[Bijection]
    is_mixture: bool
    centredness: Tensor | None = None

    def of(self, u: Tensor) -> Tensor:
        """The site's coordinates ``[*, *shape]`` in vectors ``[*, D]``."""
        return u[..., self.start : self.stop].reshape(*u.shape[:-1], *self.shape)

    def bijection(self, fn: Any) -> Bijection:
        """The bijection between these coordinates and the values of the site, whose prior is ``fn``."""
        normal = normal_of(fn)
        if self.centredness is None or normal is None or (normal.whitened and self.centredness.mean() > HALF):
            return bijection(fn)  # a multivariate normal is either centred or not, with nothing in between
        return PartlyCentred(normal.fn, self.centredness, len(self.shape), normal.transform)


class Coordinates:
    """The joint density of a pair as a function of one real vector u ``[points, B, D]``.

    The vector concatenates the latent sites in the order in which the model draws them: real latents unchanged, latents
    that are normal given others partly centred (:mod:`.centring`), constrained ones through a bijection
    (:mod:`.constrained`), logits of sticks in coordinates in which their prior is standard normal (:mod:`.sticks`).

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: One datum, ``[1, *event]``.

    Raises:
        UnsupportedError: For latents that are discrete or of another unsupported kind, in further plates, scaled,
            masked, or in only one of the two programs, and for a site whose curvature is not known; says which.
            Observed sites may be masked, and values that an ``obs_mask`` leaves unobserved are integrated out.
    """

    def __init__(self, pair: Any, x: Tensor) -> None:
        self.pair, self.datum = pair, x
        guide, model = traces(pair, x)
        drawn = {site["name"] for site in counted(guide)}
        latents = [site for site in joint_sites(model) if not site["is_observed"]]
        if not latents or drawn != {site["name"] for site in latents}:
            raise UnsupportedError("its two programs must draw the same latents, at least one")
        self.places: dict[str, Place] = {}
        start = 0
        for site in joint_sites(model):
            fn, value, name = site["fn"], site["value"], site["name"]
            between = bijection(fn)
            check_site(site, constraints.real if isinstance(between, Identity) else None)
            if not site["is_observed"]:
                shape = between.standardise(value).shape[value.dim() - fn.event_dim :]
                mixture = most_responsible(fn, value) is not None
                self.places[name] = Place(name, start, start + shape.numel(), shape, type(between), mixture)
                start += shape.numel()
        self.size = start
        u = torch.linspace(-1.7, 1.3, 3 * start, dtype=x.dtype, device=x.device).reshape(3, 1, start)
        try:
            for name, (prior, value) in self._normals(x, u).items():
                if is_conditional(prior):
                    self.places[name] = replace(self.places[name], centredness=torch.full_like(value[0, 0], HALF))
            self.moments(x, u[:2])
        except NoCurvatureError as error:
            raise UnsupportedError(str(error)) from error
        except (NotImplementedError, RuntimeError) as error:  # PyTorch's errors for what it cannot differentiate
            reason = str(error).strip().split("\n")[0]
            raise UnsupportedError(f"it has no forward-mode derivatives: {reason}") from error

    def plan(self, budget: int | None) -> Plan:
        """The :class:`Plan` for a budget of decoder evaluations per datum.

        Raises:
            UnsupportedError: If the budget is too small.
        """
        sticks = any(issubclass(place.kind, STICKS) for place in self.places.values())
        plan = Plan.of_budget(budget, self.size, is_damped=sticks, can_skew=sticks and self.has_second_derivatives)
        if plan is None:
            least = Plan.least_budget(self.size)
            raise UnsupportedError(f"num_samples must be at least {least} for {self.size} latents, got {budget}")
        return plan

    def values(self, x: Tensor, u: Tensor) -> dict[str, Tensor]:
        """Values ``[points, B, *event]`` of the sites at u."""
        return {name: value for name, (value, _) in self.placed(x, u).items()}

    def placed(self, x: Tensor, u: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Values ``[*, B, *event]`` of the sites at u ``[*, B, D]``, and minus the log-Jacobians by u, ``[*, B]``.

        The model runs in its own plate only, so that a caller may have plates to the left.
        """
        if all(place.kind is Identity and place.centredness is None for place in self.places.values()):
            return {name: (place.of(u), u.new_zeros(u.shape[:-1])) for name, place in self.places.items()}
        nodes, found = poutine.trace(self._placed(u)(self.pair.model)).get_trace(x).nodes, {}
        for name, place in self.places.items():
            fn, value = nodes[name]["fn"], nodes[name]["value"]
            log_density = place.bijection(fn).log_density(place.of(u), value)
            found[name] = value, (fn.log_prob(value) - log_density).expand(u.shape[:-1])
        return found

    def log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Log p(x, u) and log p(x | u), ``[points, B]``."""
        with torch.no_grad():
            return self._log_joint(x, u)

    def gradient(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient ``[points, B, D]`` of log p(x, u) in u, and log p(x, u) itself, ``[points, B]``."""
        return value_gradient(lambda v: self._log_joint(x, v)[0], u)

    def moments(self, x: Tensor, u: Tensor) -> tuple[Tensor, ...]:
        """Means over points u of gradient ``[B, D]``, curvature ``[B, D, D]`` and value ``[B]`` of log p(x, u).

        The curvature is the Gauss-Newton one, by forward derivatives. Where a prior is a mixture, a fourth result is
        the curvature between its components, to be subtracted, ``[B, D, D]`` (:func:`~.components.between_components`).
        """
        lacking: list[Tensor] = []

        def density(v: Tensor) -> Tensor:
            trace = self._run(x, v)
            lacking.extend([between_sites(trace, self.places, v)] if self.has_components else [])
            return self._densities(trace, v)[0]

        slope, joint = value_gradient(density, u)
        return slope.mean(0), curvature(forward_derivatives(lambda v: self._features(x, v), u)), joint.mean(0), *lacking

    def second_moments(self, x: Tensor, u: Tensor, skew: Skew | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """:meth:`moments` with minus the Hessian, which need not be positive definite, as the curvature.

        With ``skew``, points and results are in w: those of the density of w.
        """

        def density(points: Tensor) -> Tensor:
            if skew is None:
                return self._log_joint(x, points)[0]
            return self._log_joint(x, skew.place(points))[0] + skew.log_slope(points).sum(-1)

        slope, joint = value_gradient(density, u)
        hessian = forward_derivatives(grad(lambda v: density(v).sum()), u)  # [D, points, B, D]
        return slope.mean(0), -hessian.mean(1).transpose(0, 1), joint.mean(0)

    @cached_property
    def has_second_derivatives(self) -> bool:
        """Whether PyTorch can differentiate the joint density twice, forward over reverse."""
        try:
            self.second_moments(self.datum, torch.zeros(2, 1, self.size).to(self.datum))
        except (NotImplementedError, RuntimeError):  # PyTorch's errors for operations that it cannot differentiate
            return False
        return True

    def components(self, x: Tensor, u: Tensor) -> Tensor:
        """Points u ``[points, B, D]`` with sites of mixture priors moved to their most responsible component."""
        nodes, parts = self._run(x, u).nodes, []
        for name, place in self.places.items():
            moved = most_responsible(nodes[name]["fn"], place.of(u))
            parts.append((place.of(u) if moved is None else moved).reshape(*u.shape[:2], -1))
        return torch.cat(parts, -1)

    @property
    def is_hierarchical(self) -> bool:
        """Whether a site has a normal prior that depends on other sites."""
        return any(place.centredness is not None for place in self.places.values())

    def centre(self, x: Tensor, u: Tensor) -> None:
        """Set the centredness of hierarchical sites from posterior draws u ``[points, B, D]`` of some data."""
        found = [self._normals(x[i : i + 1], u[:, i : i + 1]) for i in range(len(x))]
        for name, place in self.places.items():
            if place.centredness is not None:
                self.places[name] = replace(place, centredness=centredness([each[name] for each in found]))

    def _normals(self, x: Tensor, u: Tensor) -> dict[str, tuple[NormalPrior, Tensor]]:
        """Normal priors by site, and values of the normals, both expanded to ``[points, B, *event]``, at u."""
        with torch.no_grad():
            nodes, found = self._run(x, u).nodes, {}
        for name, place in self.places.items():
            normal = normal_of(nodes[name]["fn"])
            if normal is not None:
                shape = torch.Size((*u.shape[:2], *place.shape))
                value = normal.transform.inv(nodes[name]["value"])
                found[name] = normal.expand(shape), value.expand(shape)
        return found

    @property
    def has_components(self) -> bool:
        """Whether the prior of a site is a mixture."""
        return any(place.is_mixture for place in self.places.values())

    def guide_draws(self, x: Tensor, count: int) -> Tensor:
        """Draws of the guide in these coordinates, ``[count, B, D]``."""
        guide = poutine.trace(particles(self.pair.guide, count)).get_trace(x)
        model = poutine.trace(poutine.replay(particles(self.pair.model, count), trace=guide)).get_trace(x)
        return self.from_trace(model, count, len(x))

    def prior_draws(self, x: Tensor, count: int) -> Tensor:
        """Draws of the prior in these coordinates, ``[count, B, D]``."""
        return self.from_trace(poutine.trace(particles(self.pair.model, count)).get_trace(x), count, len(x))

    @cached_property
    def can_draw(self) -> bool:
        """Whether the priors can be drawn from."""
        try:
            self.prior_draws(self.datum, 1)
        except NotImplementedError:
            return False
        return True

    def from_trace(self, trace: Trace, *shape: int) -> Tensor:
        """The coordinates ``[*shape, D]`` of the site values in a model trace."""
        parts = []
        for name, place in self.places.items():
            site = trace.nodes[name]
            part = place.bijection(site["fn"]).standardise(site["value"])
            parts.append(part.expand(*shape, *place.shape).reshape(*shape, -1))
        return torch.cat(parts, -1)

    def _log_joint(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return self._densities(self._run(x, u), u)

    def _densities(self, trace: Trace, u: Tensor) -> tuple[Tensor, Tensor]:
        given: Any = 0.0
        prior: Any = 0.0
        for site in joint_sites(trace):
            fn, value = site["fn"], site["value"]
            if site["is_observed"]:
                given = given + scale_and_mask(fn.log_prob(value), mask=site["mask"])
            else:
                place = self.places[site["name"]]
                prior = prior + place.bijection(fn).log_density(place.of(u), value)
        return given + prior, given

    def _placed(self, u: Tensor) -> Placed:
        return Placed({name: partial(_value, place, place.of(u)) for name, place in self.places.items()})

    def _run(self, x: Tensor, u: Tensor) -> Trace:
        return poutine.trace(self._placed(u)(particles(self.pair.model, len(u)))).get_trace(x)

    def _features(self, x: Tensor, u: Tensor) -> list[Tensor]:
        """Features of all sites, ``[points, B, n]`` each."""
        found = []
        for site in joint_sites(self._run(x, u)):
            fn = site["fn"]
            if site["is_observed"]:
                parts = observed_features(fn, site["value"])
                if isinstance(site["mask"], Tensor):
                    parts = [part * site["mask"].unsqueeze(-1) for part in parts]
            else:
                place = self.places[site["name"]]
                parts = place.bijection(fn).features(place.of(u), site["value"])
            found += [part.expand(*u.shape[:2], *part.shape[2:]).flatten(2) for part in parts]
        return found


def _value(place: Place, u: Tensor, fn: Any) -> Tensor:
    return place.bijection(fn).place(u)
