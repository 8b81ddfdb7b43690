"""A figure of a sampler's chains."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_tensor
from pyrodgm.plots.style import BLUE, GREY, VERMILION, charts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHAINS = 20  # that are drawn one by one


def sampler_chains(
    negative_energy: Tensor, exchange_rates: Tensor | None = None, *, title: str | None = None
) -> "Figure":
    """Minus the energies of chains over the calls of a sampler, and how often neighbouring temperatures exchange.

    Args:
        negative_energy: -E in nats of each chain at each call, ``[num_calls, N]``.
        exchange_rates: Of each pair of neighbouring temperatures, ``[T - 1]`` in [0, 1], if the sampler has any.
        title: Text above.

    Raises:
        ValueError: If ``negative_energy`` has another number of dimensions.
    """
    finite_tensor("negative_energy", negative_energy)
    if exchange_rates is not None:
        finite_tensor("exchange_rates", exchange_rates, (None,))
    if negative_energy.dim() != 2:
        raise ValueError(f"negative_energy must have shape [num_calls, N], got {list(negative_energy.shape)}")
    values = negative_energy.detach().double().cpu().numpy()
    calls = np.arange(1, len(values) + 1)
    figure, axes = charts(title, [3.0] if exchange_rates is None else [3.0, 1.0])
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=1)
    axes[0].plot(calls, values[:, :CHAINS], color=GREY, linewidth=0.5, alpha=0.6)
    axes[0].fill_between(calls, low, high, color=BLUE, alpha=0.2, linewidth=0.0, label="90 % of the chains")
    axes[0].plot(calls, middle, color=BLUE, label="median")
    axes[0].set_ylabel("minus energy (nats)")
    axes[0].set_xlabel("call of the sampler")
    axes[0].legend(frameon=False, loc="lower right")
    if exchange_rates is not None:
        rates = exchange_rates.detach().double().cpu().numpy()
        axes[1].plot(np.arange(1, len(rates) + 1), rates, color=VERMILION, marker=".")
        axes[1].set_ylim(0.0, 1.0)
        axes[1].set_ylabel("exchanged")
        axes[1].set_xlabel("pair of temperatures, from the hottest")
    return figure
