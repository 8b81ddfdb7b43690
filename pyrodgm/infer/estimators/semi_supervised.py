"""The objective of data of which some are labelled."""

from typing import Any

import pyro.poutine as poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.infer.estimators.elbo import ELBO
from pyrodgm.infer.estimators.labels import Labelled
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.sites import log_prob
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.tracing.rows_plate import full_size, plate_of


class SemiSupervisedELBO(ELBO):
    r"""The evidence lower bounds of labelled and unlabelled data and the classifier's log-likelihood, weighted.

    .. math:: \mathcal J = w\, \frac 1L \sum_{l=1}^{L} \bigl[\mathcal L(x_l, y_l) + \alpha \log q(y_l \mid x_l)\bigr]
              + (1 - w)\, \frac 1U \sum_{u=1}^{U} \mathcal L(x_u)

    The bound of unlabelled data sums the labels out exactly, as :class:`ELBO` does with any discrete site:
    :math:`\mathcal L(x) = \sum_y q(y \mid x)\, \mathcal L(x, y) + \mathcal H[q(y \mid x)]`.

    The programs are called with ``(x, y)`` where there are labels and with ``(x,)`` where there are none; the objective
    itself with ``(x, y)``, the labels ``y`` being those of the first ``len(y)`` rows of ``x``: numbers ``[L]`` or
    one-hot vectors ``[L, C]``, as the model takes them; the guide's site may be of either kind. The loss is
    :math:`-(L + U) \mathcal J`. Without any labels it is that of :class:`ELBO`, and :math:`w = 1` where all are
    labelled. :func:`fit` makes such batches with ``labelled_batch_size``.

    Args:
        labelled_weight: w, in [0, 1]; None: the share L / (L + U), so that each datum counts the same.
        classifier_weight: alpha, not negative. Nalisnick and Smyth have 1 (with w = 0.375); Kingma et al. a tenth of
            the number of data over that of labelled ones (with w None), and 0 is the bound alone.
        site: The guide's site of the labels.
        kl_weight, num_particles, vectorize_particles, max_plate_nesting: As in :class:`ELBO`.
        free_bits: As in :class:`ELBO`, of labelled data and of the others apart.

    Raises:
        TypeError: From the loss, if there are other tensors than ``(x, y)``, or these come by name.
        ValueError: If a weight is out of range; from the loss, if there are more labels than data, or (a
            :class:`ProgramError`) if the site of the labels lies in more plates than that of the data; where only some
            data are labelled, for a site outside a plate of the size of each part, which would count in both, and for
            one in a subsampled plate, whose scale would be another in each.

    Source: Kingma et al. (2014), arXiv 1406.5298, eq. 6-9; Nalisnick and Smyth (2017), arXiv 1605.06197, §4.3.
    """

    def __init__(
        self, labelled_weight: float | None = None, classifier_weight: float = 1.0, site: str = "y", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if labelled_weight is not None:
            labelled_weight = finite_number("labelled_weight", labelled_weight, 0.0, 1.0)
        classifier_weight = finite_number("classifier_weight", classifier_weight, least=0.0)
        self.labelled_weight, self.classifier_weight, self.site = labelled_weight, classifier_weight, site

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        x, y = _data_and_labels(args, kwargs)
        total, labelled = len(x), 0 if y is None else len(y)
        if labelled > total:
            raise ValueError(f"y: expected at most {total} labels, one a datum, got {labelled}")
        if y is None or labelled == 0:
            return super().differentiable_loss(model, guide, x, **kwargs)
        known, unknown = x[:labelled], x[labelled:]
        with _OwnRows(labelled, total):
            supervised = super().differentiable_loss(model, guide, known, y, **kwargs)
        if self.classifier_weight:
            supervised = supervised - self.classifier_weight * self._log_classifier(guide, known, y)
        if labelled == total:
            return supervised
        with _OwnRows(total - labelled, total):
            unsupervised = super().differentiable_loss(model, guide, unknown, **kwargs)
        weight = labelled / total if self.labelled_weight is None else self.labelled_weight
        return total * (weight * supervised / labelled + (1.0 - weight) * unsupervised / (total - labelled))

    def _log_classifier(self, guide: Program, x: Tensor, y: Tensor) -> Tensor:
        """Sum of log q(y | x)."""
        trace = poutine.trace(Labelled(self.site, y)(guide)).get_trace(x)
        if self.site not in trace.nodes:
            raise ValueError(f"site: expected a sample site of the guide, got {self.site!r}")
        found = log_prob(trace.nodes[self.site])
        if found.shape != y.shape[:1]:
            reason = f"must have one probability per label, {list(y.shape[:1])}, got {list(found.shape)}"
            raise ProgramError(self.site, reason)
        return found.sum()


def _data_and_labels(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    """The arguments of the objective; refuses tensors that it does not know how to part."""
    named = [name for name, value in kwargs.items() if isinstance(value, Tensor)]
    if not 1 <= len(args) <= 2 or named:
        names = f" and {', '.join(named)} by name" if named else ""
        raise TypeError(
            "SemiSupervisedELBO must be called with the data and the labels by position, (x, y), or the data alone, "
            f"(x,), got {len(args)} positional arguments{names}: what else there is for each datum, put into x"
        )
    return args[0], args[1] if len(args) == 2 else None


class _OwnRows(Messenger):
    """Context that refuses sites, where it is a part of the data, that do not lie in a plate of its rows as they are.

    Args:
        count: Rows of the part.
        total: Rows of all data.
    """

    def __init__(self, count: int, total: int) -> None:
        super().__init__()
        self.count, self.total = count, total
        self.outside: str | None = None

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg) or msg["infer"].get("_deterministic"):
            return
        plate = plate_of(msg, self.count)
        if plate is None or full_size(plate) != self.count:
            self.outside = self.outside or msg["name"]

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        if exc_type is None and self.outside is not None and self.count < self.total:
            raise ProgramError(
                self.outside,
                f"must lie in a plate of the {self.count} data that are a part of the {self.total}, and none that is "
                "subsampled: pyro.plate('data', len(x), dim=-1)",
            )
