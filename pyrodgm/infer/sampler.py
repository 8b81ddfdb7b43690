"""Drawing and weighing importance samples within a memory bound."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyrodgm.distributions._numeric import keep_logs, kept_logs
from pyrodgm.infer.contexts import fork_rng
from pyrodgm.infer.graph import UntraceableError, flatten
from pyrodgm.infer.rows import Trace, exchange, samples, sum_rows


class ImportanceSampler:
    """Draws and weighs importance samples, a block of data at a time, within a memory bound."""

    def __init__(self, pair: Any, x: Tensor, count: int, num_samples: int, max_bytes: int, mode: str) -> None:
        self.pair, self.num_samples = pair, num_samples
        self.mode = "eager"  # for the probes of the memory
        self.graphs: dict[tuple[int, int], Callable[..., Any]] = {}
        self.block = self.chunk = 0
        with fork_rng(x.device):
            bare = poutine.trace(pair.guide).get_trace(x)
            bare_model = poutine.trace(poutine.replay(pair.model, trace=bare)).get_trace(x)
            for site in samples(bare) + samples(bare_model):
                if not any(f.dim == -1 and f.size == 1 for f in site["cond_indep_stack"]):
                    raise ValueError(f"site '{site['name']}' lies outside the data plate at dimension -1")
            depth = max(-f.dim for s in samples(bare_model) for f in s["cond_indep_stack"] if f.vectorized)
            self.particle_dim = -depth - 1
            guide_bytes = _growth(lambda n: self._guide(x, n))
            model_bytes = _growth(lambda n: self._model(x, self._guide(x, n), slice(None)))
        self.block = _even(count, int(max_bytes / 2 / (guide_bytes * num_samples)))
        self.chunk = _even(num_samples, int(max_bytes / 2 / ((model_bytes - guide_bytes) * self.block)))
        self.graphs.clear()
        self.mode = mode

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size and k-hat of a block ``[B, *event]``, on the CPU."""
        guide_trace = self._guide(x, self.num_samples)
        log_w, pointwise = [], []
        for begin in range(0, self.num_samples, self.chunk):
            joint, given = self._model(x, guide_trace, slice(begin, begin + self.chunk))
            log_w.append(joint)
            pointwise.append(given)
        log_weights = torch.cat(log_w) - self._rows(samples(guide_trace))
        result: dict[str, Any] = {**_summarise(log_weights.double())}
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), torch.cat(pointwise).cpu()
            result["draws"] = {s["name"]: s["value"].cpu() for s in samples(guide_trace)}
        return result

    def _guide(self, x: Tensor, num_samples: int) -> Trace:
        trace = poutine.trace(self._particles(self.pair.guide, num_samples)).get_trace(x)
        trace.compute_log_prob()
        return trace

    def _model(self, x: Tensor, guide_trace: Trace, part: slice) -> tuple[Tensor, Tensor]:
        """log p(x, z) and log p(x | z), ``[samples, B]``, of some of the samples."""
        values = {s["name"]: s["value"][part] for s in samples(guide_trace)}
        logs = {s["name"]: [log[part] for log in kept_logs(s["value"]) or ()] for s in samples(guide_trace)}
        count = len(next(iter(values.values())))

        def joint(x: Tensor, values: dict[str, Tensor], logs: dict[str, list[Tensor]]) -> tuple[Tensor, Tensor]:
            # A part of a draw has lost what the draw knew of itself where it underflows.
            values = {name: keep_logs(z, *logs[name]) if logs[name] else z for name, z in values.items()}
            replayed = poutine.replay(self._particles(self.pair.model, count), trace=exchange(guide_trace, values))
            trace = poutine.trace(replayed).get_trace(x)
            trace.compute_log_prob()
            given = self._rows([s for s in samples(trace) if s["is_observed"]])
            return given + self._rows([s for s in samples(trace) if not s["is_observed"]]), given

        shape = (len(x), count)
        if shape not in self.graphs:
            self.graphs[shape] = self._traced(joint, (x, values, logs), shape == (self.block, self.chunk))
        return self.graphs[shape](x, values, logs)

    def _traced(self, joint: Callable[..., Any], inputs: tuple, usual: bool) -> Callable[..., Any]:
        if self.mode != "eager":
            try:
                return flatten(joint, inputs, compiled=usual and self.mode == "compiled")
            except UntraceableError as error:
                warnings.warn(f"this pair cannot be traced and is evaluated eagerly: {error}", stacklevel=5)
                self.mode = "eager"
        return joint

    def _particles(self, program: Callable[..., Any], count: int) -> Callable[..., Any]:
        return pyro.plate("num_particles_vectorized", count, dim=self.particle_dim)(program)

    def _rows(self, sites: list[Any]) -> Tensor:
        return torch.stack([sum_rows(s["log_prob"], (self.particle_dim, -1)).flatten(1) for s in sites]).sum(0)


def _even(total: int, limit: int) -> int:
    """A size of at most ``limit`` (and at least 1) for parts of ``total``, a divisor where there is a large one."""
    limit = min(max(limit, 1), total)
    divisors = [size for size in range(limit, limit // 2, -1) if total % size == 0]
    return divisors[0] if divisors else math.ceil(total / math.ceil(total / limit))


def _summarise(log_weights: Tensor) -> dict[str, Tensor]:
    total = log_weights.logsumexp(0)
    ess = (2 * total - (2 * log_weights).logsumexp(0)).exp()
    values = total - math.log(len(log_weights))
    return {"values": values.cpu(), "ess": ess.cpu(), "k_hat": _pareto_k_hat(log_weights.cpu())}


def _pareto_k_hat(log_weights: Tensor) -> Tensor:
    """Pareto shape of each column's upper tail: minus infinity if that is flat, infinity if there is no fit."""
    import numpy as np
    from arviz_stats.base import array_stats

    count = math.ceil(min(0.2 * len(log_weights), 3 * math.sqrt(len(log_weights))))
    k_hat = torch.full(log_weights.shape[1:], math.inf, dtype=torch.float64)
    if count < 5:
        return k_hat
    tail = log_weights.topk(count, dim=0).values
    flat = tail[0] - tail[-1] < 1e-9
    with np.errstate(all="ignore"):
        k_hat[~flat] = torch.as_tensor(array_stats.psislw(-log_weights[:, ~flat].T.numpy())[1])
    return k_hat.nan_to_num(nan=math.inf).masked_fill(flat, -math.inf)


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
