"""Importance sampling with the guide as the proposal, in blocks that fit a memory bound."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from pyro.infer import config_enumerate
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from pyrodgm.infer.estimators.reading import Reading, counted, fn_of, mask_of, plates, read
from pyrodgm.infer.estimators.rows import Rows
from pyrodgm.infer.estimators.sites import Site, Trace, exchange, is_enumerated, traces
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.graphs import Graphs
from pyrodgm.infer.evaluation.memory import even, growth
from pyrodgm.infer.evaluation.per_datum import data_first, in_data_plate
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.program_error import ProgramError

Values = dict[str, Tensor]


class ImportanceSampler:
    """Draws samples of the guide and computes their importance weights, one block of data at a time.

    The block sizes keep memory within ``max_bytes``. With ``sum_out``, guide sites with finitely many values are
    enumerated along dimensions left of the samples, and the weight of a sample is the sum over these values.
    """

    def __init__(
        self, pair: Any, x: Tensor, count: int, num_samples: int, max_bytes: int, mode: str, sum_out: bool = False
    ) -> None:
        self.pair, self.num_samples, self.sum_out = pair, num_samples, sum_out
        self.graphs = Graphs("eager")  # for measuring memory
        self.template: Trace = None  # the guide's sites, with the values of the first run
        self.block = self.chunk = 0
        with fork_rng(x.device):
            sites = self._checked(x)
            for site in sites:
                if not in_data_plate(site, 1):
                    raise ProgramError(site["name"], "lies outside the data plate at dimension -1")
            self.particle_dim = min(frame.dim for site in sites for frame in plates(site)) - 1
            self.masked = any(isinstance(mask_of(site), Tensor) for site in sites if not site["is_observed"])
            guide_bytes = growth(lambda n: self._guide(x, n))
            model_bytes = growth(lambda n: self._model(x, self._guide(x, n)[0], slice(0, n)))
        self.block = even(count, int(max_bytes / 2 / (guide_bytes * num_samples)))
        self.chunk = even(num_samples, int(max_bytes / 2 / ((model_bytes - guide_bytes) * self.block)))
        self.graphs = Graphs(mode, pair)

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """Log-likelihood, effective sample size and k-hat of a block ``[B, *event]``, on the CPU."""
        if self.masked:  # masks may depend on the data
            with fork_rng(x.device):
                self._checked(x)
        values, log_q = self._guide(x, self.num_samples)
        log_w, pointwise = [], []
        chunk = self.chunk if values else self.num_samples
        for begin in range(0, self.num_samples, chunk):
            part = slice(begin, min(begin + chunk, self.num_samples))
            joint, given = self._model(x, values, part)
            log_w.append(joint)
            pointwise.append(given)
        log_weights = torch.cat(log_w, -2) - log_q
        log_weights = log_weights.flatten(0, -3).logsumexp(0) if log_weights.dim() > 2 else log_weights
        result: dict[str, Any] = summarise(log_weights, lambda: self._differ(x, values))
        result["stage"] = torch.zeros(len(x), dtype=torch.long)
        result["evaluations"] = torch.full((len(x),), float(self.num_samples), dtype=torch.float64)
        if keep:
            result["log_weights"], result["pointwise"] = log_weights.cpu(), torch.cat(pointwise).cpu()
            result["draws"] = {name: self._per_datum(name, z).cpu() for name, z in values.items()}
        return result

    def _per_datum(self, name: str, value: Tensor) -> Tensor:
        """A site's draws ``[samples, B, *plates, *event]``: plates inside the data plate follow it."""
        site = self.template.nodes[name]
        batch_dims = value.dim() - site["fn"].event_dim
        if batch_dims < -self.particle_dim:  # it has no dimension of samples
            return value
        return data_first(site, value, before=1)

    def _differ(self, x: Tensor, values: Values) -> Tensor:
        """Whether each site that is drawn (not summed out) has draws that differ, ``[B]``."""
        drawn = [(v, self.template.nodes[n]) for n, v in values.items() if not is_enumerated(self.template.nodes[n])]
        with fork_rng(x.device):  # draws of latents of the model alone are not kept: draw them again
            count = self.chunk if values else self.num_samples
            reading = self._joint(x, self._parts(values, slice(0, count)), count)[1]
            drawn += [(site["value"], site) for site in reading.from_model]
        differ = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for value, site in drawn:
            batch_dims = value.dim() - site["fn"].event_dim
            axis = batch_dims + self.particle_dim
            other = value != (value if axis < 0 else value.narrow(axis, 0, 1))
            differ = differ & other.movedim(batch_dims - 1, 0).unsqueeze(-1).flatten(1).any(1)
        return differ

    def _checked(self, x: Tensor) -> list[Site]:
        """All sites of the pair; raises if one of them has no weight per datum."""
        guide, model = traces(self.pair, x)
        with pyro.validation_enabled(True):
            Rows.of(read(model, guide), {-1})
        return counted(guide) + counted(model)

    def _guide(self, x: Tensor, num_samples: int) -> tuple[Values, Tensor]:
        """Values of all latent sites of the guide, and log q(z | x) of the sampled ones, ``[samples, B]``."""
        guide = self._particles(self.pair.guide, num_samples)
        if self.sum_out:
            guide = poutine.enum(config_enumerate(guide, "parallel"), first_available_dim=self.particle_dim - 1)

        def draw(x: Tensor) -> tuple[Values, Tensor]:
            trace = poutine.trace(guide).get_trace(x)
            trace.compute_log_prob()
            self.template = self.template or prune_subsample_sites(trace)  # its plates have the sizes of the first run
            sites = [site for site in counted(trace) if not site["is_observed"]]
            log_q = self._total([site for site in sites if not is_enumerated(site)], x)
            for site in sites:
                if is_enumerated(site) and mask_of(site) is not True:  # masked values are weighted by q instead of p
                    whole = {**site, "log_prob": fn_of(site).log_prob(site["value"]) * site["scale"]}
                    log_q = log_q + self._total([site], x) - self._total([whole], x)
            return {s["name"]: s["value"] for s in sites}, log_q

        return self.graphs.run(len(x), draw, (x,))

    def _model(self, x: Tensor, values: Values, part: slice) -> tuple[Tensor, Tensor]:
        """Log p(x, z) and log p(x | z), ``[*values, samples, B]``, for a slice of the samples."""
        values, count = self._parts(values, part), part.stop - part.start

        def joint(x: Tensor, values: Values) -> tuple[Tensor, Tensor]:
            trace, reading = self._joint(x, values, count)
            trace.compute_log_prob()
            given = self._total(reading.observed, x)
            return given + self._total([s.p for s in reading.latents if s.p is not None], x), given

        usual = (len(x), count) == (self.block, self.chunk)
        return self.graphs.run((len(x), count), joint, (x, values), compiled=usual)

    def _joint(self, x: Tensor, values: Values, count: int) -> tuple[Trace, Reading]:
        """The model's trace replayed at values of the guide's sites, and its reading."""
        replayed = poutine.replay(self._particles(self.pair.model, count), trace=exchange(self.template, values))
        trace = poutine.trace(replayed).get_trace(x)
        return trace, read(trace, self.template)

    def _parts(self, values: Values, part: slice) -> Values:
        """A slice of the samples; values with a sample dimension of size 1 are left whole."""
        found = {}
        for name, value in values.items():
            axis = value.dim() - self.template.nodes[name]["fn"].event_dim + self.particle_dim
            found[name] = value if value.shape[axis] == 1 else value[(slice(None),) * axis + (part,)]
        return found

    def _particles(self, program: Callable[..., Any], count: int) -> Callable[..., Any]:
        return pyro.plate("num_particles_vectorized", count, dim=self.particle_dim)(program)

    def _total(self, sites: list[Site], x: Tensor) -> Tensor:
        """Sum of the log-probabilities of sites, ``[*values, samples, B]``, without the scale of the data plate."""
        if not sites:
            return x.new_zeros(())
        rows = Rows(sites, dims=(-1, self.particle_dim))
        rows.dims |= set(range(-max(s["log_prob"].dim() for s in sites), self.particle_dim + 1))
        return rows.total(sites).flatten(self.particle_dim + 1)
