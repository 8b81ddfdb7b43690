"""The result of a log-likelihood estimate."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyrodgm import plots
from pyrodgm.infer.evaluation.diagnostics import LEAST_ESS, LIMIT, is_flagged

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LogLikelihood:
    """Importance-sampling estimates of log p(x) per datum, with diagnostics.

    Attributes:
        values: Estimated log p(x) of each datum in nats, ``[N]``, float64.
        ess: Effective sample size of each datum's importance weights, between 1 and ``num_samples``, ``[N]``.
        k_hat: Pareto shape of the tail of each datum's weights, ``[N]``; above 0.7 the estimate cannot be trusted
            (Vehtari et al. 2015, arXiv 1507.02646). Minus infinity where all weights are equal; infinity with fewer
            than 25 samples, where no tail can be fitted, and where weights are equal because all draws are the same
            point. With fewer than 2,000 samples it is noisy: look at ``ess`` too.
        stage: The stage that gave each datum's estimate, ``[N]``: 0, draws of the guide; 1, draws of a refined
            proposal; 2, draws of a second fit with a search for the mode; 3, annealed importance sampling.
        num_samples: Number of importance samples per datum in the first stage.
        evaluations: Mean number of evaluations of the likelihood's network per datum, fits and later stages included.
        x: The data, ``[N, *event]``.
        log_weights: Log importance weights, ``[num_samples, N]``, with ``keep=True``.
        draws: Draws of the proposal by latent site, ``[num_samples, N, *plates, *event]``, with ``keep=True``;
            ``plates`` are those inside the data plate.
        pointwise: log p(x | z) of each draw, ``[num_samples, N]``, with ``keep=True``.
        attributes: Names and versions that go into exports.
        shared_error: Standard error in nats common to all data, from estimated log-partition functions.
    """

    values: Tensor
    ess: Tensor
    k_hat: Tensor
    stage: Tensor
    num_samples: int
    evaluations: float
    x: Tensor
    log_weights: Tensor | None
    draws: dict[str, Tensor] | None
    pointwise: Tensor | None
    attributes: dict[str, Any]
    shared_error: float = 0.0

    @property
    def mean(self) -> float:
        """Mean log-likelihood per datum, in nats."""
        return float(self.values.mean())

    @property
    def standard_error(self) -> float:
        """Standard error of the mean over the data, in nats, ``shared_error`` included; NaN for a single datum."""
        count = len(self.values)
        return math.hypot(float(self.values.std()) / math.sqrt(count), self.shared_error) if count > 1 else math.nan

    @property
    def untrusted(self) -> Tensor:
        """Whether each datum's weights are flagged, ``[N]``: k-hat above 0.7 or effective sample size below 30."""
        return is_flagged(self.ess, self.k_hat)

    @property
    def untrusted_share(self) -> float:
        """Share of the data whose weights are flagged."""
        return float(self.untrusted.double().mean())

    @property
    def fallback_share(self) -> float:
        """Share of the data whose estimate comes from a stage after the first of a refined proposal."""
        return float((self.stage > 1).double().mean())

    def __str__(self) -> str:
        fallback = f", {100 * self.fallback_share:.1f} % by a later stage" if bool((self.stage > 0).any()) else ""
        count = len(self.values)
        error, data = (f" ± {self.standard_error:.2f}", f"{count} data") if count > 1 else ("", "1 datum")
        return (
            f"log p(x) = {self.mean:.2f}{error} nats ({data}, "
            f"{self.num_samples} samples of {'a refined proposal' if fallback else 'the guide'}{fallback}, "
            f"{100 * self.untrusted_share:.1f} % with k-hat > {LIMIT} or effective sample size < {LEAST_ESS:.0f}, "
            f"median effective sample size {self.ess.median():.0f})"
        )

    def plot(self, title: str | None = None) -> "Figure":
        """Histograms of log-likelihoods, k-hat and effective sample sizes, with the limits used for flagging."""
        return plots.likelihood_diagnostics(self.values, self.k_hat, self.ess, limits=(LIMIT, LEAST_ESS), title=title)

    def to_datatree(self) -> Any:
        """Export to an ArviZ ``DataTree``; see :func:`pyrodgm.infer.evaluation.export.to_datatree`."""
        from pyrodgm.infer.evaluation.export import to_datatree

        return to_datatree(self)
