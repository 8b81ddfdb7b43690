"""Drawing and weighing importance samples within a memory bound."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import config_enumerate
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from pyrodgm.infer.estimators.reading import ProgramError, counted, fn_of, mask_of, plates, read
from pyrodgm.infer.estimators.rows import Rows
from pyrodgm.infer.estimators.sites import Site, Trace, exchange, is_enumerated
from pyrodgm.infer.tracing._compat import TorchDispatchMode, tree_leaves
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.graph import UntraceableError, flatten

Values = dict[str, Tensor]


class ImportanceSampler:
    """Draws and weighs importance samples, a block of data at a time, within a memory bound.

    With ``sum_out``, guide sites with finitely many values take all of them, along dimensions left of the samples, and
    the weight of a sample is the sum of those of its values.
    """

    def __init__(
        self, pair: Any, x: Tensor, count: int, num_samples: int, max_bytes: int, mode: str, sum_out: bool = False
    ) -> None:
        self.pair, self.num_samples, self.sum_out = pair, num_samples, sum_out
        self.mode = "eager"  # for the probes of the memory
        self.graphs: dict[tuple[int, ...], Callable[..., Any]] = {}
        self.template: Trace = None  # the sites of the guide; their values are those of a probe
        self.block = self.chunk = 0
        with fork_rng(x.device):
            sites = self._checked(x)
            for site in sites:
                if not any(frame.dim == -1 and frame.size == 1 for frame in plates(site)):
                    raise ProgramError(site["name"], "lies outside the data plate at dimension -1")
            self.particle_dim = min(frame.dim for site in sites for frame in plates(site)) - 1
            self.masked = any(isinstance(mask_of(site), Tensor) for site in sites if not site["is_observed"])
            guide_bytes = _growth(lambda n: self._guide(x, n))
            model_bytes = _growth(lambda n: self._model(x, self._guide(x, n)[0], slice(0, n)))
        self.block = _even(count, int(max_bytes / 2 / (guide_bytes * num_samples)))
        self.chunk = _even(num_samples, int(max_bytes / 2 / ((model_bytes - guide_bytes) * self.block)))
        self.mode = mode

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size and k-hat of a block ``[B, *event]``, on the CPU."""
        if self.masked:  # by masks that may depend on the data
            with fork_rng(x.device):
                self._checked(x)
        values, log_q = self._guide(x, self.num_samples)
        log_w, pointwise = [], []
        for begin in range(0, self.num_samples, self.chunk):
            part = slice(begin, min(begin + self.chunk, self.num_samples))
            joint, given = self._model(x, values, part)
            log_w.append(joint)
            pointwise.append(given)
        log_weights = torch.cat(log_w, -2) - log_q
        log_weights = log_weights.flatten(0, -3).logsumexp(0) if log_weights.dim() > 2 else log_weights
        result: dict[str, Any] = {**_summarise(log_weights.double())}
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), torch.cat(pointwise).cpu()
            result["draws"] = {name: z.cpu() for name, z in values.items()}
        return result

    def _checked(self, x: Tensor) -> list[Site]:
        """All sites of the pair, each of which can be weighed per datum."""
        guide = poutine.trace(self.pair.guide).get_trace(x)
        model = poutine.trace(poutine.replay(self.pair.model, trace=guide)).get_trace(x)
        with pyro.validation_enabled(True):
            Rows.of(read(model, guide), {-1})
        return counted(guide) + counted(model)

    def _guide(self, x: Tensor, num_samples: int) -> tuple[Values, Tensor]:
        """Draws of all sites and log q(z | x) of what is drawn, ``[samples, B]``."""
        guide = self._particles(self.pair.guide, num_samples)
        if self.sum_out:
            guide = poutine.enum(config_enumerate(guide, "parallel"), first_available_dim=self.particle_dim - 1)

        def draw(x: Tensor) -> tuple[Values, Tensor]:
            trace = poutine.trace(guide).get_trace(x)
            trace.compute_log_prob()
            self.template = self.template or prune_subsample_sites(trace)  # plates have the sizes of the probe
            sites = [site for site in counted(trace) if not site["is_observed"]]
            log_q = self._total([site for site in sites if not is_enumerated(site)], x)
            for site in sites:
                if is_enumerated(site) and mask_of(site) is not True:  # its values are summed with their probabilities
                    whole = {**site, "log_prob": fn_of(site).log_prob(site["value"]) * site["scale"]}
                    log_q = log_q + self._total([site], x) - self._total([whole], x)
            return {s["name"]: s["value"] for s in sites}, log_q

        return self._graph((len(x),), draw, (x,))(x)

    def _model(self, x: Tensor, values: Values, part: slice) -> tuple[Tensor, Tensor]:
        """Log p(x, z) and log p(x | z), ``[*values, samples, B]``, of some of the samples."""
        sites = self.template.nodes
        values = {name: self._part(sites[name], value, part) for name, value in values.items()}
        count = part.stop - part.start

        def joint(x: Tensor, values: Values) -> tuple[Tensor, Tensor]:
            replayed = poutine.replay(self._particles(self.pair.model, count), trace=exchange(self.template, values))
            trace = poutine.trace(replayed).get_trace(x)
            trace.compute_log_prob()
            reading = read(trace, self.template)
            given = self._total(reading.observed, x)
            return given + self._total([s.p for s in reading.latents if s.p is not None], x), given

        usual = (len(x), count) == (self.block, self.chunk)
        compiled = usual and self.mode == "compiled"
        return self._graph((len(x), count), joint, (x, values), compiled)(x, values)

    def _graph(
        self, shape: tuple[int, ...], program: Callable[..., Any], inputs: tuple[Any, ...], compiled: bool = False
    ) -> Callable[..., Any]:
        """The program as a graph, made once a shape; as it is where it runs eagerly."""
        if self.mode == "eager":
            return program
        if shape not in self.graphs:
            try:
                with fork_rng(inputs[0].device):  # tracing draws too
                    self.graphs[shape] = flatten(program, inputs, compiled)
            except UntraceableError as error:
                warnings.warn(f"this pair cannot be traced and is evaluated eagerly: {error}", stacklevel=5)
                self.mode = "eager"
                return program
        return self.graphs[shape]

    def _part(self, site: Site, value: Tensor, part: slice) -> Tensor:
        """A site's values of some of the samples; what stands for all samples is left as is."""
        axis = value.dim() - site["fn"].event_dim + self.particle_dim
        return value if value.shape[axis] == 1 else value[(slice(None),) * axis + (part,)]

    def _particles(self, program: Callable[..., Any], count: int) -> Callable[..., Any]:
        return pyro.plate("num_particles_vectorized", count, dim=self.particle_dim)(program)

    def _total(self, sites: list[Site], x: Tensor) -> Tensor:
        """Sum of the log-probabilities of sites, ``[*values, samples, B]``, without the scale of the data plate."""
        if not sites:
            return x.new_zeros(())
        rows = Rows(sites, dims=(-1, self.particle_dim))
        rows.dims |= set(range(-max(s["log_prob"].dim() for s in sites), self.particle_dim + 1))
        return rows.total(sites).flatten(self.particle_dim + 1)


def _even(total: int, limit: int) -> int:
    """A size of at most ``limit`` (and at least 1) for parts of ``total``, a divisor where there is a large one."""
    limit = min(max(limit, 1), total)
    divisors = [size for size in range(limit, limit // 2, -1) if total % size == 0]
    return divisors[0] if divisors else math.ceil(total / math.ceil(total / limit))


def _summarise(log_weights: Tensor) -> dict[str, Tensor]:
    total = log_weights.logsumexp(0)
    ess = (2 * total - (2 * log_weights).logsumexp(0)).exp()
    values = total - math.log(len(log_weights))
    return {"values": values.cpu(), "ess": ess.cpu(), "k_hat": pareto_smooth(log_weights.cpu())[1]}


def pareto_smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Log-weights ``[num_samples, N]`` with the largest of each column smoothed, and the Pareto shape of their tails.

    The shape is minus infinity if a tail is flat, infinity if there is no fit; the weights then stay as they are.
    """
    import numpy as np
    from arviz_stats.base import array_stats

    smoothed, k_hat = log_weights.clone(), torch.full(log_weights.shape[1:], math.inf, dtype=torch.float64)
    if len(log_weights) < 25:
        return smoothed, k_hat
    count = math.ceil(min(0.2 * len(log_weights), 3 * math.sqrt(len(log_weights))))
    tail = log_weights.topk(count, dim=0).values
    flat = tail[0] - tail[-1] < 1e-9
    with np.errstate(all="ignore"):
        fits, shapes = array_stats.psislw(-log_weights[:, ~flat].T.numpy())
    k_hat[~flat] = torch.as_tensor(shapes)
    fitted = torch.as_tensor(fits).T
    smoothed[:, ~flat] = torch.where(torch.isfinite(fitted).all(0), fitted, smoothed[:, ~flat])
    return smoothed, k_hat.nan_to_num(nan=math.inf).masked_fill(flat, -math.inf)


class _Allocations(TorchDispatchMode):
    """Adds up the bytes of all tensors made under it, an upper bound of what is held at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        held = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for t in tree_leaves(out):
            if isinstance(t, Tensor) and t.untyped_storage().data_ptr() not in held:
                self.bytes += t.untyped_storage().nbytes()
        return out


def _growth(run: Callable[[int], Any]) -> float:
    """Bytes that each further sample costs."""
    used = []
    for count in (1, 3):
        with _Allocations() as allocations:
            run(count)
        used.append(allocations.bytes)
    return max(1.0, (used[1] - used[0]) / 2)
