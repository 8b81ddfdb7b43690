"""Importance-sampling estimates of the log-likelihood of each datum."""

import contextlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, get_args

import pyro
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, whole_number
from pyrodgm.datasets.split import aligned
from pyrodgm.extras import needs_extra
from pyrodgm.infer.estimators.reading import counted, fn_of, mask_of
from pyrodgm.infer.estimators.require_observed import require_observed
from pyrodgm.infer.estimators.side_by_side import DATA, require_side_by_side
from pyrodgm.infer.estimators.sites import Trace, traces
from pyrodgm.infer.evaluation.by_row import ByRow, by_row
from pyrodgm.infer.evaluation.diagnostics import is_flagged
from pyrodgm.infer.evaluation.refined.centring import evenly
from pyrodgm.infer.evaluation.refined.choice import refined_sampler
from pyrodgm.infer.evaluation.refined.sampler import RefinedSampler
from pyrodgm.infer.evaluation.refined.sites import UnsupportedError
from pyrodgm.infer.evaluation.require_density import require_density
from pyrodgm.infer.evaluation.result import LogLikelihood
from pyrodgm.infer.evaluation.sampler import ImportanceSampler
from pyrodgm.infer.tracing.arguments import called_with
from pyrodgm.infer.tracing.contexts import evaluating, flushing_denormals, fork_rng
from pyrodgm.infer.training.feeds.columns import device_and_dtype
from pyrodgm.infer.training.parallel.log_partitions import estimate_log_partitions
from pyrodgm.infer.training.step import Compile, check_compile
from pyrodgm.processes import from_first, merged, world

Proposal: TypeAlias = Literal["auto", "refined", "guide"]

DRAWS = "draws of "
USUAL_DRAWS = 5000  # draws of the guide where no budget is given
WORSE = 7.0  # nats a later stage may lie below an earlier one, which exceeds log p(x) by this less than once in e^7
COMPILE_AFTER = 1_000_000  # number of samples in all from which "auto" compiles


class Sampler(Protocol):
    """Protocol of importance samplers that estimate log p(x) of a block of data.

    Attributes:
        block: Number of data per block.
        num_samples: Number of importance samples per datum.
    """

    block: int
    num_samples: int

    def weigh(self, x: Tensor, keep: bool) -> dict[str, Any]:
        """``values``, ``ess``, ``k_hat``, ``stage`` and ``evaluations`` of a block, each ``[B]`` on the CPU.

        With ``keep`` also ``log_weights`` and ``pointwise``, each ``[num_samples, B]``, and ``draws`` by site.
        """
        ...


def log_likelihood(  # noqa: PLR0913 - a budget, a memory bound, and how to run: independent of each other
    pair: nn.Module,
    x: Any,
    num_samples: int | None = None,
    *,
    proposal: Proposal = "auto",
    max_bytes: int = 2**27,
    keep: bool = False,
    sum_out: bool = False,
    seed: int | None = None,
    compile: Compile = "auto",  # noqa: A002
    config: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> LogLikelihood:
    r"""Estimate the log-likelihood of each datum by importance sampling.

    .. math:: \log p(x) \approx \log \frac 1S \sum_{s=1}^S \frac{p(x, z_s)}{q(z_s \mid x)}, \qquad z_s \sim q(z \mid x)

    By default the proposal q is refined for each datum where the pair allows it (``proposal="refined"``), because
    draws of the guide fall nats short on image models. A refined proposal is a Student's t around a full-covariance
    Gaussian, fitted by variational Gauss-Newton steps that start from the guide, mixed with t's around further modes
    that are found from draws of guide and prior. Data whose weights are flagged get a second fit with new draws, then
    annealed importance sampling; ``result.stage`` says which. docs/likelihood.md describes the method and its limits.

    The estimate is a lower bound in expectation and consistent in S. A prior with an estimated log-partition function
    keeps its standard error in a buffer ``log_partition_error``, which enters the standard error of the mean. With the
    guide as the proposal, the guide runs once per datum for all samples, a prior that is called without arguments once
    for all data, and the likelihood on as many samples of as many data at once as fit the memory.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)`` whose sites all lie in the data plate, at dimension -1. The
            scale of a subsampled data plate is taken out. Latent sites that the guide lacks are drawn from the model.
        x: Data ``[N, *event]``, or any that :func:`pyrodgm.infer.fit` takes, of one split. A single tensor is moved to
            the device and dtype of the pair block by block, other data as a whole.
        num_samples: Budget per datum, as a number of evaluations of the likelihood's network. With the guide all of
            them are importance samples; with a refined proposal the fit takes up to half, and the rest are samples.
            For D latent dimensions a refined proposal needs at least ``12 * (D + 3)``; the usual fit and the later
            stages need ``40 * (D + 3)``, and the search for modes at most 1,600 more. By default the usual fit and
            2,000 samples, or 5,000 samples of the guide.
        proposal: ``"refined"``; ``"guide"``; or ``"auto"``: refined where the latents are real, positive, fractions
            or weights on a simplex, the curvature of all sites is known and the budget is large enough, else the guide.
            Binary latents are annealed with ``"refined"`` only, since at equal budgets annealing can be worse than the
            guide. Where ``"refined"`` is impossible, the guide is used, with a warning that says why.
        max_bytes: Bound on the memory for samples and activations; at least one datum and one sample are held at a
            time whatever the bound.
        keep: Whether the result keeps all draws, weights and log p(x | z): S values per datum and latent dimension.
            All data then have the same number of draws, and the later stages are skipped.
        sum_out: Sum guide sites with finitely many values (labels, say) out exactly instead of sampling them: the
            weight of a sample is then :math:`\sum_y p(x, y, z_{s,y}) / q(z_{s,y} \mid x, y)`. Costs one likelihood
            evaluation per value.
        seed: Seed of the samples; the caller's random state is restored. None draws from the current state.
        compile: How the pair runs: ``"eager"``, through Pyro at each call; ``"traced"``, guide and model each as one
            graph of tensor operations; ``"compiled"``, with the model's graph compiled. ``"auto"`` compiles for a
            million samples in all or more and traces otherwise, as compiling would take longer than it saves; refined
            proposals of few data run eagerly, as tracing would too.
        config: Configuration to put into the exported attributes.
        progress: Whether to show a progress bar; by default if the output is a terminal.

    Raises:
        ValueError: If an argument is out of range, or a datum lies outside the support of the likelihood; as a
            :class:`ProgramError` for a site that lies outside the data plate, has a scale other than that of the
            plate, is masked in one program only, counts dimensions from the left (``dim=1``), or is rejected by
            :func:`~pyrodgm.infer.estimators.reading.read`.
        FloatingPointError: If the estimate of a datum is NaN or infinite; names the datum.
        NoDensityError: If a site of the model has draws but no density; names it.

    Source: Burda et al. (2015), arXiv 1509.00519; Khan and Rue (2023), arXiv 2107.04562, for the fit.
    """
    with needs_extra("evaluation"):
        import arviz_stats  # noqa: F401  # for k-hat; fail before drawing, not after
    programs(pair, "model", "guide")
    num_samples = None if num_samples is None else whole_number("num_samples", num_samples)
    if keep and sum_out:
        raise ValueError("keep: draws of sites that are summed out cannot be kept; got keep=True with sum_out=True")
    if proposal not in get_args(Proposal):
        raise ValueError(f"proposal must be one of {', '.join(get_args(Proposal))}, got {proposal!r}")
    check_compile(compile)
    max_bytes = whole_number("max_bytes", max_bytes)
    seed = None if seed is None else whole_number("seed", seed, None)
    whole, pair, x = pair, *by_row(pair, x)
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"x must hold at least one datum, got shape {list(x.shape)}")
    from tqdm.auto import tqdm

    device, dtype = device_and_dtype(pair)
    x = aligned(x)
    # Preallocated and filled block by block: a list of results would fragment the heap between freed samples.
    joined: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(pair))
        stack.enter_context(flushing_denormals())
        drawn = int(from_first(float(torch.empty((), device="cpu").double().random_(2**53)))) if seed is None else seed
        stack.enter_context(fork_rng(device))
        x = x.clone() if x.is_inference() else x  # autograd refuses inference tensors
        one = x[:1].to(device, dtype)
        estimate_log_partitions(pair)
        with fork_rng(device), called_with((one,), "x"):
            guide, model = traces(pair, one)
        require_observed(counted(model))
        require_density(guide, model)
        supports, budget = _supports(model, one), num_samples or USUAL_DRAWS
        rows = evenly(torch.arange(len(x)))
        probes = x[rows].to(one)
        for n, datum in zip(rows.tolist(), probes.split(1), strict=True):  # log_prob fails on labels out of range
            for name, support in supports.items():
                _check_support(pair, datum, n, name, support)
        require_side_by_side(pair, (probes[:DATA],))
        long = len(x) * budget >= COMPILE_AFTER
        mode = ("compiled" if long else "auto") if compile == "auto" else compile
        refined: Any = None
        if not sum_out and proposal != "guide":
            try:
                bits = proposal == "refined" and not keep
                refined = refined_sampler(pair, probes, len(x), num_samples, max_bytes, mode, bits)
            except UnsupportedError as error:
                if proposal == "refined":
                    warnings.warn(f"the proposal is not refined, the guide serves: {error}", stacklevel=2)
        if refined is None:
            require_density(guide, model, of_guide=True)
        mode = "traced" if mode == "auto" else mode
        sampler: Sampler = refined or ImportanceSampler(pair, one, len(x), budget, max_bytes, mode, sum_out)
        team = world()
        disable = True if team.rank > 0 else None if progress is None else not progress
        blocks = list(enumerate(x.split(sampler.block)))[team.rank :: team.size]
        with tqdm(total=sum(len(block) for _, block in blocks), unit="datum", disable=disable) as bar:
            for i, block in blocks:
                torch.manual_seed(_block_seed(drawn, i))
                begin = i * sampler.block
                block = block.to(device, dtype)
                for name, support in supports.items():
                    _check_support(pair, block, begin, name, support)
                result = sampler.weigh(block, keep)
                _check_finite(result["values"], range(begin, begin + len(block)))
                for key in ("values", "ess", "k_hat", "stage", "evaluations", "modes"):
                    if key in result:
                        _put(joined, key, result[key], begin, len(x), 0)
                if keep:
                    for key in ("log_weights", "pointwise"):
                        _put(joined, key, result[key], begin, len(x), 1)
                    for name, draw in result["draws"].items():
                        _put(joined, DRAWS + name, draw, begin, len(x), 1)
                bar.update(len(block))
        joined = merged(joined)
        if isinstance(refined, RefinedSampler) and not keep and not refined.plan.is_quick:
            torch.manual_seed(_block_seed(drawn, math.ceil(len(x) / sampler.block)))
            _weigh_flagged_again(refined, x, joined, one)
        joined.pop("modes", None)
    draws = {name.removeprefix(DRAWS): joined.pop(name) for name in [*joined] if name.startswith(DRAWS)}
    evaluations = float(joined.pop("evaluations").mean())
    versions = {"torch": str(torch.__version__), "pyro": pyro.__version__}
    attributes = {
        "model": type(whole).__name__,
        "num_samples": sampler.num_samples,
        "seed": -1 if seed is None else seed,
    }
    attributes |= {**versions, "config": str(config or {}), "proposal": "guide" if refined is None else "refined"}
    shared = math.hypot(*(float(b) for n, b in pair.named_buffers() if n.split(".")[-1] == "log_partition_error"))
    if isinstance(pair, ByRow):
        x = pair.columns.values[0]
    return LogLikelihood(
        num_samples=sampler.num_samples,
        x=x,
        attributes=attributes,
        shared_error=shared,
        evaluations=evaluations,
        draws=draws if keep else None,
        log_weights=joined.pop("log_weights", None),
        pointwise=joined.pop("pointwise", None),
        **joined,
    )


def _weigh_flagged_again(sampler: RefinedSampler, x: Tensor, joined: dict[str, Any], like: Tensor) -> None:
    """Run the later stages on flagged data; a stage replaces an estimate unless it is far below it."""

    def take(rows: Tensor) -> tuple[Tensor, Tensor]:
        return x[rows].to(like), joined["modes"][rows].to(like)

    def put(rows: Tensor, result: dict[str, Any]) -> None:
        joined["evaluations"][rows] += result.pop("evaluations")
        better = result["values"] > joined["values"][rows] - WORSE
        for key, value in result.items():
            joined[key][rows[better]] = value[better]

    flagged = is_flagged(joined["ess"], joined["k_hat"]).nonzero().squeeze(-1)
    if len(flagged):
        sampler.weigh_again(flagged, take, put)


def _check_finite(values: Tensor, rows: Sequence[int]) -> None:
    bad = ~torch.isfinite(values)
    if bad.any():
        n = rows[int(bad.nonzero()[0])]
        raise FloatingPointError(f"the importance weights of datum {n} of x are not finite")


def _supports(model: Trace, one: Tensor) -> dict[str, Any]:
    """Supports, by name, of the unmasked sites whose observed value is the data argument itself."""
    sites = [s for s in counted(model) if s["is_observed"] and s["value"] is one and mask_of(s) is True]
    return {site["name"]: fn_of(site).support for site in sites}


def _check_support(pair: Any, x: Tensor, begin: int, name: str, support: Any) -> None:
    """Raise ValueError for data outside the support of a site; NaN passes, as the weights show it.

    The support may depend on the data, so data that look wrong are checked again with the model run on them.
    """
    wrong = _outside(x, support)
    if len(wrong):
        rows = x[wrong]
        with contextlib.suppress(Exception), fork_rng(x.device):  # the model may fail on data outside its support
            support = _supports(traces(pair, rows)[1], rows).get(name, support)
        wrong = wrong[_outside(rows, support)]
    if len(wrong):
        n = begin + int(wrong[0])
        raise ValueError(f"x must lie in the support of site '{name}', {support}, but datum {n} does not")


def _outside(x: Tensor, support: Any) -> Tensor:
    fine = support.check(x.nan_to_num(0.0) if x.is_floating_point() else x).reshape(len(x), -1).all(-1)
    return (~fine).nonzero().squeeze(-1)


def _block_seed(seed: int, block: int) -> int:
    """A seed per block; they differ in their lower 32 bits, the only ones that the CPU generator uses."""
    return seed if block == 0 else (seed + 0x9E3779B97F4A7C15 * block) % 2**63


def _put(into: dict[str, Tensor], key: str, part: Tensor, begin: int, total: int, dim: int) -> None:
    """Write ``part`` into the preallocated whole at ``begin`` of ``dim``; the first part allocates it as zeros."""
    if key not in into:
        into[key] = part.new_zeros(*part.shape[:dim], total, *part.shape[dim + 1 :])
    into[key].narrow(dim, begin, part.shape[dim]).copy_(part)
