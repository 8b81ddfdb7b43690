"""Export of log-likelihoods and their draws to ArviZ."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrodgm.extras import needs_extra

if TYPE_CHECKING:
    from pyrodgm.infer.evaluation.result import LogLikelihood


def to_datatree(result: "LogLikelihood") -> Any:
    """A ``DataTree`` of an importance-sampled log-likelihood.

    Groups:

    - ``observed_data``: ``x``.
    - ``importance``: ``log_likelihood``, ``ess``, ``k_hat`` and ``stage`` of each datum.
    - ``posterior``: draws of each latent from the posterior, as many as were weighed: those of the proposal, resampled
      for each datum by its weights, whose largest are smoothed (Vehtari et al. 2015, arXiv 1507.02646). Only as good
      as the datum's ``k_hat`` says; what summaries call the effective sample size does not know of it.
    - ``log_likelihood``: log p(x | z) of these draws. It does not serve leave-one-out cross-validation: each latent
      belongs to one datum, without which it has its prior.
    - ``guide``: the draws as the proposal made them, unweighted.
    - ``guide_stats``: their ``log_weight``, as drawn, and ``log_likelihood``, log p(x | z).

    The last four need ``keep=True`` in :func:`pyrodgm.infer.log_likelihood`; dimensions are ``chain``, ``draw``,
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

    The same each time: the result is a fixed set of draws, and its export should be too.
    """
    from pyrodgm.infer.evaluation.diagnostics import pareto_smooth

    count, data = log_weights.shape
    generator = torch.Generator().manual_seed(0)
    total = pareto_smooth(log_weights.double().cpu())[0].softmax(0).cumsum(0)
    points = (torch.arange(count).unsqueeze(-1) + torch.rand(data, generator=generator, dtype=torch.float64)) / count
    chosen = torch.searchsorted(total.T.contiguous(), points.T.contiguous()).T.clamp(max=count - 1)
    return chosen.gather(0, torch.rand(count, data, generator=generator).argsort(0))


def _chosen(values: Tensor, index: Tensor) -> Tensor:
    """Some of the draws ``[num_samples, N, *event]`` of each datum."""
    return values[index, torch.arange(values.shape[1])]


def _array(tensor: Tensor) -> Any:
    """As a NumPy array, which has no bfloat16."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).cpu().numpy()
