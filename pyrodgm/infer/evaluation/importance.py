"""The log-likelihood of each datum by importance sampling with the guide."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrodgm.datasets.split import aligned
from pyrodgm.infer.evaluation.sampler import ImportanceSampler
from pyrodgm.infer.tracing.contexts import evaluating, flushing_denormals, fork_rng
from pyrodgm.infer.training.step import Compile, check_compile

COMPILE_AFTER = 1_000_000  # samples from which "auto" compiles


@dataclass(frozen=True)
class LogLikelihood:
    """Log-likelihoods estimated by importance sampling, and how far to trust them.

    Attributes:
        values: Estimated log p(x) of each datum in nats, ``[N]``, float64.
        ess: Effective sample size of its importance weights, between 1 and ``num_samples``, ``[N]``.
        k_hat: Pareto shape of their tail, ``[N]``; above 0.7 the estimate cannot be trusted (Vehtari et al. 2015,
            arXiv 1507.02646). Minus infinity for a flat tail, infinity with fewer than 25 samples.
        num_samples: Importance samples a datum.
        x: The data, ``[N, *event]``.
        log_weights: Log importance weights, ``[num_samples, N]``, if they were kept.
        draws: Samples of the guide a latent site, ``[num_samples, N, *event]``, if they were kept.
        pointwise: log p(x | z) of each draw, ``[num_samples, N]``, if they were kept.
        attributes: Names and versions that go into exports.
        shared_error: Standard error in nats of what all data share: of estimated log-partitions of the pair.
    """

    values: Tensor
    ess: Tensor
    k_hat: Tensor
    num_samples: int
    x: Tensor
    log_weights: Tensor | None
    draws: dict[str, Tensor] | None
    pointwise: Tensor | None
    attributes: dict[str, Any]
    shared_error: float = 0.0

    @property
    def mean(self) -> float:
        """Mean log-likelihood a datum, in nats."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, in nats, over the data and of what they share; NaN for a single datum."""
        return math.hypot(float(self.values.std()) / math.sqrt(len(self.values)), self.shared_error)

    @property
    def untrusted_share(self) -> float:
        """Share of the data whose k-hat exceeds 0.7."""
        return float((self.k_hat > 0.7).double().mean())

    def __str__(self) -> str:
        return (
            f"log p(x) = {self.mean:.2f} ± {self.standard_error:.2f} nats ({len(self.values)} data, "
            f"{self.num_samples} samples, {100 * self.untrusted_share:.1f} % with k-hat > 0.7)"
        )

    def to_datatree(self) -> Any:
        """Export to an ArviZ ``DataTree``; see :func:`pyrodgm.infer.evaluation.export.to_datatree`."""
        from pyrodgm.infer.evaluation.export import to_datatree

        return to_datatree(self)


def log_likelihood(  # noqa: PLR0913 - a budget, a memory bound, and how to run: independent of each other
    pair: nn.Module,
    x: Tensor,
    num_samples: int = 5000,
    *,
    max_bytes: int = 2**27,
    keep: bool = False,
    sum_out: bool = False,
    seed: int | None = None,
    compile: Compile = "auto",  # noqa: A002
    config: dict[str, Any] | None = None,
    progress: bool | None = None,
) -> LogLikelihood:
    r"""Estimate the log-likelihood of each datum.

    .. math:: \log p(x) \approx \log \frac 1S \sum_{s=1}^S \frac{p(x, z_s)}{q(z_s \mid x)}, \qquad z_s \sim q(z \mid x)

    A pair whose prior has an estimated log-partition says how far to trust that in a buffer ``log_partition_error``,
    which the standard error of the mean contains. The estimate is a lower bound in expectation and consistent in S. The
    guide runs once a datum and the prior once in all; the likelihood runs on as many samples of as many data at a time
    as fit the memory.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)`` whose sites all lie in the data plate, at dimension -1. If
            that is subsampled, its scale is taken out. Latent sites that the guide lacks are drawn from the model.
        x: Data ``[N, *event]``; moved to the device and dtype of the pair in blocks.
        num_samples: Importance samples a datum, S.
        max_bytes: Bound on the memory for samples and activations; at least one datum and one sample at a time are
            held whatever the bound.
        keep: Whether the result keeps all draws, weights and log p(x | z), S values a datum and latent dimension.
        sum_out: Sum guide sites with finitely many values (labels, say) out exactly, and not draw them: the weight of a
            sample is then :math:`\sum_y p(x, y, z_{s,y}) / q(z_{s,y} \mid x, y)`. Costs a run of the likelihood a
            value.
        seed: Seed of the samples; the caller's random state is left as it was. None takes the state as it is.
        compile: How the pair runs: ``"eager"`` through Pyro each time; ``"traced"``, guide and model each as one graph
            of tensor operations; ``"compiled"`` with the model's graph compiled. ``"auto"`` compiles from a million
            samples of all data together on and traces below, where compiling would take longer than it saves.
        config: Goes into the exported attributes.
        progress: Whether to show a progress bar; by default where the output is a terminal.

    Raises:
        ValueError: If an argument is out of range; for a site (a :class:`ProgramError`) that lies outside the data
            plate, is scaled otherwise than by it or masked in one program alone, or that
            :func:`~pyrodgm.infer.estimators.reading.read` refuses.
        FloatingPointError: If a log-weight is NaN or infinite; names the datum.

    Source: Burda et al. (2015), arXiv 1509.00519.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    if keep and sum_out:
        raise ValueError("keep: draws of sites that are summed out cannot be kept; got keep=True with sum_out=True")
    check_compile(compile)
    if len(x) == 0:
        raise ValueError(f"x must hold at least one datum, got shape {list(x.shape)}")
    from tqdm.auto import tqdm

    first = next(pair.parameters())
    device, dtype = first.device, first.dtype
    x = aligned(x)
    # Filled block by block: results kept apart would lie between the freed samples and scatter the heap.
    joined: dict[str, Any] = {}
    kept: dict[str, Any] = {"log_weights": None, "draws": None, "pointwise": None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(pair))
        stack.enter_context(flushing_denormals())
        if seed is not None:
            stack.enter_context(fork_rng(device))
            torch.manual_seed(seed)
        long = len(x) * num_samples >= COMPILE_AFTER
        mode = ("compiled" if long else "traced") if compile == "auto" else compile
        sampler = ImportanceSampler(pair, x[:1].to(device, dtype), len(x), num_samples, max_bytes, mode, sum_out)
        disable = None if progress is None else not progress
        with tqdm(total=len(x), unit="datum", disable=disable) as bar:
            for i, block in enumerate(x.split(sampler.block)):
                result = sampler.weigh(block.to(device, dtype), keep)
                begin = i * sampler.block
                bad = ~torch.isfinite(result["values"])
                if bad.any():
                    n = begin + int(bad.nonzero()[0])
                    raise FloatingPointError(f"the importance weights of datum {n} of x are not finite")
                for key in ("values", "ess", "k_hat"):
                    _put(joined, key, result[key], begin, len(x), 0)
                if keep:
                    kept["draws"] = kept["draws"] or {}
                    for key in ("log_weights", "pointwise"):
                        _put(kept, key, result[key], begin, len(x), 1)
                    for name, draw in result["draws"].items():
                        _put(kept["draws"], name, draw, begin, len(x), 1)
                bar.update(len(block))
    versions = {"torch": str(torch.__version__), "pyro": pyro.__version__}
    attributes = {"model": type(pair).__name__, "num_samples": num_samples, "seed": -1 if seed is None else seed}
    attributes |= {**versions, "config": str(config or {})}
    shared = math.hypot(*(float(b) for n, b in pair.named_buffers() if n.split(".")[-1] == "log_partition_error"))
    return LogLikelihood(num_samples=num_samples, x=x, attributes=attributes, shared_error=shared, **joined, **kept)


def _put(into: dict[str, Any], key: str, part: Tensor, begin: int, total: int, dim: int) -> None:
    """Write a part into the whole, which the first part makes."""
    if into.get(key) is None:
        into[key] = part.new_empty(*part.shape[:dim], total, *part.shape[dim + 1 :])
    into[key].narrow(dim, begin, part.shape[dim]).copy_(part)
