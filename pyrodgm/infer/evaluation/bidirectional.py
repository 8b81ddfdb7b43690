"""Bidirectional bounds of the log-likelihood on data simulated from the model."""

import math
from dataclasses import dataclass

import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, tensors, whole_number
from pyrodgm.infer.estimators.reading import counted
from pyrodgm.infer.estimators.require_observed import require_observed
from pyrodgm.infer.estimators.side_by_side import DATA, require_side_by_side
from pyrodgm.infer.estimators.sites import traces
from pyrodgm.infer.evaluation.by_row import by_row
from pyrodgm.infer.evaluation.importance import log_likelihood
from pyrodgm.infer.evaluation.refined.centring import evenly
from pyrodgm.infer.evaluation.refined.choice import refined_sampler
from pyrodgm.infer.evaluation.result import LogLikelihood
from pyrodgm.infer.tracing.arguments import called_with
from pyrodgm.infer.tracing.contexts import evaluating, flushing_denormals, fork_rng
from pyrodgm.infer.training.feeds.columns import device_and_dtype


@dataclass(frozen=True)
class Certificate:
    """Stochastic lower and upper bounds of log p(x) on simulated data.

    Attributes:
        lower: The log-likelihood estimates and their diagnostics, lower bounds in expectation.
        upper: Upper bounds in expectation, ``[N]``, float64.
    """

    lower: LogLikelihood
    upper: Tensor

    @property
    def gap(self) -> float:
        """Mean of the upper minus the lower bound, in nats: in expectation it bounds the estimate's mean error."""
        return float(self._gaps.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the gap over the data; NaN for a single datum."""
        return _standard_error(self._gaps)

    @property
    def trusted_gap(self) -> float:
        """The gap over the data whose weights are not flagged, a check of the flags themselves; NaN if all are."""
        return float(self._trusted_gaps.mean())

    @property
    def trusted_standard_error(self) -> float:
        """Standard error of :attr:`trusted_gap`; NaN for fewer than two unflagged data."""
        return _standard_error(self._trusted_gaps)

    @property
    def _gaps(self) -> Tensor:
        return self.upper - self.lower.values

    @property
    def _trusted_gaps(self) -> Tensor:
        return self._gaps[~self.lower.untrusted]

    def __str__(self) -> str:
        trusted, count = "", len(self._trusted_gaps)
        if 0 < count < len(self.upper):
            trusted = f", {self.trusted_gap:.3f} ± {self.trusted_standard_error:.3f} of the {count} not flagged"
        return (
            f"gap {self.gap:.3f} ± {self.standard_error:.3f} nats between bounds from both sides "
            f"({len(self.upper)} simulated data{trusted}); below: {self.lower}"
        )


def _standard_error(gaps: Tensor) -> float:
    return float(gaps.std()) / math.sqrt(len(gaps)) if len(gaps) > 1 else math.nan


def bidirectional(
    pair: nn.Module,
    num_data: int,
    like: Tensor,
    num_samples: int | None = None,
    *,
    chains: int = 4,
    temperatures: int = 1600,
    max_bytes: int = 2**27,
    seed: int | None = None,
) -> Certificate:
    r"""Bound log p(x) from below and above on data simulated from the model (bidirectional Monte Carlo).

    The lower bound is :func:`log_likelihood`. The upper bound is reverse annealed importance sampling: chains start at
    the latents that generated the datum, an exact draw of its posterior, and are annealed to the fitted proposal (to
    the guide, for binary latents). Their mean weight has the expectation :math:`1 / p(x)`, so minus its logarithm is an
    upper bound in expectation. The gap certifies the estimate on data simulated from the model; whether it carries over
    to real data depends on how similar those are. As the chains start at exact latents, the upper bound covers all
    modes, and a mode that the proposal misses shows as a gap.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``. Its latents are either continuous, with a known curvature of
            all sites, or all binary (:meth:`pyrodgm.models.DVAE.discrete`); with binary latents the estimate that is
            certified is the guide's.
        num_data: Number of data to simulate, N.
        like: A tensor ``[*, *event]`` with the event shape of the data; its values do not matter.
        num_samples: Budget per datum of the lower bound, as in :func:`log_likelihood`.
        chains: Number of chains per datum of the upper bound; all start at the datum's known latents.
        temperatures: Number of annealing steps per chain; with few, the upper bound is loose.
        max_bytes: Bound on the memory.
        seed: Seed; the caller's random state is restored. None draws from the current state.

    Raises:
        ValueError: If a number is not positive, the model observes anything but its data argument at one site, or the
            pair does not allow a refined proposal, with the reason.

    Source: Grosse, Ghahramani and Adams (2015), arXiv 1511.02543; Wu, Burda, Salakhutdinov and Grosse (2016), arXiv
    1611.04273, for decoders.

    Example:
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), GaussianPosterior(mlp(9, [8], 4)))
        >>> abs(bidirectional(vae, 4, torch.zeros(1, 9), 1000, seed=0).gap) < 0.1
        True
    """
    programs(pair, "model", "guide")
    tensors(like=like)
    num_data, chains = whole_number("num_data", num_data), whole_number("chains", chains)
    temperatures, max_bytes = whole_number("temperatures", temperatures), whole_number("max_bytes", max_bytes)
    num_samples = None if num_samples is None else whole_number("num_samples", num_samples)
    seed = None if seed is None else whole_number("seed", seed, None)
    device, dtype = device_and_dtype(pair)
    with evaluating(pair), flushing_denormals(), fork_rng(device) if seed is not None else torch.no_grad():
        if seed is not None:
            torch.manual_seed(seed)
        blank = torch.zeros(num_data, *like.shape[1:], dtype=dtype, device=device)
        name = _data_site(pair, blank[:1])
        simulated = poutine.trace(poutine.uncondition(pair.model)).get_trace(blank)
        x = simulated.nodes[name]["value"]
        program, rows = by_row(pair, x)  # as in log_likelihood: symbols are integers
        require_side_by_side(program, (rows[:DATA],))
        sampler = refined_sampler(program, evenly(rows), num_data, num_samples, max_bytes, "auto")
        exact = sampler.exact(simulated, num_data)
        betas = torch.linspace(1.0, 0.0, temperatures + 1, dtype=torch.float64)
        upper = math.log(chains) - sampler.reverse(rows, exact, chains, betas).logsumexp(0).cpu()
        lower = log_likelihood(pair, x, num_samples, max_bytes=max_bytes, progress=False)
    return Certificate(lower, upper)


def _data_site(pair: nn.Module, x: Tensor) -> str:
    """Name of the model's only observed site, whose value must be the data argument itself."""
    with fork_rng(x.device), called_with((x,), "like"):
        sites = counted(traces(pair, x)[1])
    require_observed(sites)
    found = [site for site in sites if site["is_observed"]]
    if len(found) != 1 or found[0]["value"] is not x:
        names = ", ".join(f"'{site['name']}'" for site in found)
        raise ValueError(
            "pair must have a model that observes its data argument, unchanged, at one site and nothing else, so that "
            f"data can be simulated; got the observed sites {names}"
        )
    return str(found[0]["name"])
