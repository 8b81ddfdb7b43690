"""Export of log-likelihoods and their draws to ArviZ."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrodgm.extras import needs_extra

if TYPE_CHECKING:
    from pyrodgm.infer.evaluation.result import LogLikelihood


def to_datatree(result: "LogLikelihood") -> Any:
    """Convert an importance-sampled log-likelihood to an ArviZ ``DataTree``.

    Groups:

    - ``observed_data``: ``x``.
    - ``importance``: ``log_likelihood``, ``ess``, ``k_hat`` and ``stage`` of each datum.
    - ``posterior``: ``num_samples`` posterior draws of each latent, resampled per datum from the proposal's draws by
      Pareto-smoothed importance weights (Vehtari et al. 2015, arXiv 1507.02646). They can be trusted only where the
      datum's ``k_hat`` says so; the effective sample size in ArviZ summaries does not account for the weights.
    - ``log_likelihood``: log p(x | z) of these draws. Do not use it for leave-one-out cross-validation: each latent
      belongs to one datum, and without that datum its posterior is the prior.
    - ``guide``: the unweighted draws of the proposal.
    - ``guide_stats``: their unsmoothed ``log_weight``, and ``log_likelihood``, log p(x | z).

    The last four need ``keep=True`` in :func:`pyrodgm.infer.log_likelihood`. Dimensions are ``chain``, ``draw``,
    ``datum`` and those of the event. ``attrs`` holds model, configuration, seed and versions.
    """
    with needs_extra("export"):
        import arviz_base
        import xarray

    groups: dict[str, dict[str, Any]] = {"observed_data": {"x": _array(result.x)}}
    draws = result.draws or {}
    if result.log_weights is not None and result.pointwise is not None:
        chosen = _resample(result.log_weights)
        posterior = {name: _chosen(z, chosen) for name, z in draws.items()}
        groups["posterior"] = {name: _array(z)[None] for name, z in posterior.items()}
        groups["log_likelihood"] = {"x": _array(_chosen(result.pointwise, chosen))[None]}
        groups["guide"] = {name: _array(z)[None] for name, z in draws.items()}
        groups["guide_stats"] = {
            "log_weight": _array(result.log_weights)[None],
            "log_likelihood": _array(result.pointwise)[None],
        }
    dims = {name: ["datum"] for name in ("log_weight", "log_likelihood", "x", *draws)}
    tree = arviz_base.from_dict(groups, dims=dims, attrs={"/": result.attributes})
    summary = {"log_likelihood": result.values, "ess": result.ess, "k_hat": result.k_hat, "stage": result.stage}
    tree["importance"] = xarray.DataTree(
        xarray.Dataset({name: ("datum", _array(value)) for name, value in summary.items()})
    )
    return tree


def _resample(log_weights: Tensor) -> Tensor:
    """Indices ``[num_samples, N]`` of draws, by systematic resampling with smoothed weights, in random order.

    The generator has a fixed seed, so that exporting the same result twice gives the same draws.
    """
    from pyrodgm.infer.evaluation.diagnostics import pareto_smooth

    count, data = log_weights.shape
    generator = torch.Generator().manual_seed(0)
    total = pareto_smooth(log_weights.double().cpu())[0].softmax(0).cumsum(0)
    points = (torch.arange(count).unsqueeze(-1) + torch.rand(data, generator=generator, dtype=torch.float64)) / count
    chosen = torch.searchsorted(total.T.contiguous(), points.T.contiguous()).T.clamp(max=count - 1)
    return chosen.gather(0, torch.rand(count, data, generator=generator).argsort(0))


def _chosen(values: Tensor, index: Tensor) -> Tensor:
    """Select draws ``[num_samples, N, *event]`` of each datum by ``index`` ``[num_samples, N]``."""
    return values[index, torch.arange(values.shape[1])]


def _array(tensor: Tensor) -> Any:
    """The tensor as a NumPy array; bfloat16, which NumPy lacks, becomes float32."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
