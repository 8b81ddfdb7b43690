"""Whether the programs of a pair give draws that lie side by side the densities that each has alone."""

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrodgm.distributions import NoDensityError
from pyrodgm.infer.estimators.reading import base_of, counted, plates
from pyrodgm.infer.estimators.sites import Trace, exchange, log_prob, traces
from pyrodgm.infer.tracing.arguments import Batch, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.program_error import ProgramError

COUNT = 2  # draws side by side
DATA = 3  # data that are enough for it
NUDGE, ROUNDINGS = 1e-4, 30.0  # a relative change of draws, and the multiple of its effect that rounding may have
RULE = (
    "draws lie side by side in a plate to the left of all others, so that programs must count dimensions from the "
    "right: dim=-1 in place of dim=1, z[..., 0] in place of z[:, 0]"
)

Densities = dict[tuple[str, str, str], Tensor]  # by program, site and kind


def require_side_by_side(pair: Any, batch: Batch) -> None:
    """Refuse a pair with a site whose density in a plate of two draws is not that with each of the two alone.

    A softmax over ``dim=1`` of latents ``[batch, features]``, say, is one over the data in such a plate. What rounding
    may do is let pass, and so are programs that draw more than their sites. The random state is left as it was.

    Args:
        pair: A module with ``model`` and ``guide``, in evaluation mode.
        batch: Their arguments.

    Raises:
        ProgramError: Names the site, and says what programs must do.
    """
    with fork_rng(first_tensor(batch).device), torch.no_grad(), pyro.validation_enabled(False):
        programs = _Programs(pair, batch)
        for i in range(COUNT):
            values = programs.values(i)
            beside, alone = programs.densities(programs.beside, i), programs.densities(programs.alone(values))
            gaps = {key: _gap(beside[key], density) for key, density in alone.items() if key in beside}
            if not any(gaps.values()):
                continue
            nudged = {name: v * (1.0 - NUDGE) if v.is_floating_point() else v for name, v in values.items()}
            moved = programs.densities(programs.alone(nudged))
            for key in filter(moved.__contains__, gaps):  # in the order of the programs
                if gaps[key] > ROUNDINGS * float(_distance(alone[key], moved[key]).nan_to_num(math.inf).max()):
                    raise ProgramError(key[1], f"has another density beside other draws than alone: {RULE}")


class _Programs:
    """Guide and model of a pair on a batch, with one draw and with some side by side.

    Attributes:
        single: Their traces of one draw.
        beside: Those of several, at a dimension left of all plates.
    """

    def __init__(self, pair: Any, batch: Batch) -> None:
        self.programs = {"guide": pair.guide, "model": pair.model}
        self.args, self.kwargs = split_arguments(batch)
        guide, model = traces(pair, *self.args, **self.kwargs)
        self.single: dict[str, Trace] = {"guide": guide, "model": model}
        dims = [frame.dim for trace in (guide, model) for site in counted(trace) for frame in plates(site)]
        self.dim = min(dims, default=0) - 1
        plate = pyro.plate("side_by_side", COUNT, dim=self.dim)
        guide = self._run(plate(pair.guide), guide)
        model = self._run(poutine.replay(plate(pair.model), trace=guide), model)
        self.beside: dict[str, Trace] = {"guide": guide, "model": model}

    def alone(self, values: dict[str, Tensor]) -> dict[str, Trace]:
        """Traces of one draw, at these values; points that a program computes from other draws are its own."""
        found = {}
        for name, program in self.programs.items():
            given = exchange(self.beside[name], {n: v for n, v in values.items() if n in self.beside[name]})
            for site in counted(given):
                computed = name == "guide" or site["name"] not in self.beside["guide"]
                if computed and not site["is_observed"] and isinstance(base_of(site), Delta):
                    given.remove_node(site["name"])
            found[name] = poutine.trace(poutine.replay(program, trace=given)).get_trace(*self.args, **self.kwargs)
        return found

    def values(self, i: int) -> dict[str, Tensor]:
        """One draw of those that lie side by side, in the shape that it has alone."""
        found = {}
        for name, trace in self.beside.items():
            for site in counted(trace):
                if site["is_observed"]:
                    continue
                value = self._take(site["value"], site["fn"].event_dim, i)
                single = self.single[name].nodes.get(site["name"])
                if single is None or value.numel() != single["value"].numel():
                    raise ProgramError(site["name"], f"has another shape beside other draws than alone: {RULE}")
                found[site["name"]] = value.reshape(single["value"].shape)
        return found

    def densities(self, traces: dict[str, Trace], i: int | None = None) -> Densities:
        """Log-density of each site that has one; of a point itself and what it counts. Those of draw ``i`` of several.

        The point is what rounding changes, its log-density at a given value is all or nothing.
        """
        found: Densities = {}
        for name, trace in traces.items():
            for site in counted(trace):
                fn, event_dim = base_of(site), site["fn"].event_dim
                if isinstance(fn, Delta):
                    parts = {"point": (fn.v, event_dim), "counts": (fn.log_density, event_dim - fn.event_dim)}
                else:
                    try:
                        parts = {"density": (log_prob(site), 0)}
                    except NoDensityError:
                        continue
                for kind, (part, dims) in parts.items():
                    found[name, site["name"], kind] = part if i is None else self._take(part, dims, i)
        return found

    def _take(self, value: Tensor, event_dim: int, i: int) -> Tensor:
        axis = value.dim() - event_dim + self.dim
        return value if axis < 0 else value.select(axis, i if value.shape[axis] == COUNT else 0)

    def _run(self, program: Callable[..., Any], single: Trace) -> Trace:
        """A trace; where the program fails, the error names the site that it has not come to."""
        with poutine.trace() as tracer:
            try:
                program(*self.args, **self.kwargs)
            except (IndexError, RuntimeError, ValueError) as error:
                names = [site["name"] for site in counted(single)]
                missing = next((name for name in names if name not in tracer.trace), names[-1])
                raise ProgramError(missing, f"is not reached with draws side by side ({error}): {RULE}") from error
        return tracer.trace


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Of two densities element by element, 0 where both are the same infinity."""
    one, other = one.double(), other.double()
    return torch.where(one == other, 0.0, (one - other).abs())


def _gap(beside: Tensor, alone: Tensor) -> float:
    """The largest distance beyond half of the digits; 0 where there is none, infinity where shapes do not agree."""
    try:
        distance = _distance(beside, alone)
    except RuntimeError:
        return math.inf
    digits = torch.finfo(alone.dtype).eps ** 0.5 if alone.is_floating_point() else 0.0
    size = 1.0 + alone.double().abs().nan_to_num(posinf=0.0)
    return float((distance.nan_to_num(0.0, math.inf) - digits * size).clamp(min=0.0).max())
