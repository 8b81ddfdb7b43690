"""The Kumaraswamy distribution."""

import torch
from torch import Tensor

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.logits import KumaraswamyLogit
from pyrodgm.distributions.unit_interval import UnitInterval


class Kumaraswamy(UnitInterval):
    r"""Distribution on (0, 1) with density and distribution function in closed form.

    .. math:: p(v) = a b v^{a-1} (1 - v^a)^{b-1}, \qquad F(v) = 1 - (1 - v^a)^b

    with ``a = concentration1`` and ``b = concentration0``. Everything is computed through the logit of v, in float64 on
    devices that have it, and returned in the parameters' dtype: float32 results are good to 1e-5 and float64 ones to
    1e-10, relative, for a and b from 0.01 to 1,000. Draws lie strictly inside (0, 1); where v would round to 0 or 1,
    :class:`KumaraswamyLogit`, the distribution of the logit, has it exactly.

    Args:
        concentration1: ``[*batch]``, at least 1e-15; a.
        concentration0: ``[*batch]``, at least 1e-15; b.

    Raises:
        ValueError: a parameter is below 1e-15, or a value is outside [0, 1] (with validation on).

    Sources: Kumaraswamy (1980), J. Hydrology 46, 79; Wasserman and Mateos (2024), arXiv 2410.00660 (log space).

    >>> fractions = Kumaraswamy(torch.full((3,), 0.01), torch.full((3,), 0.01))
    >>> v = fractions.rsample()
    >>> bool(((v > 0) & (v < 1) & fractions.log_prob(v).isfinite()).all())
    True
    """

    concentration1: Tensor
    concentration0: Tensor

    arg_constraints = KumaraswamyLogit.arg_constraints
    family = KumaraswamyLogit

    def __init__(
        self, concentration1: Tensor | float, concentration0: Tensor | float, *, validate_args: bool | None = None
    ) -> None:
        super().__init__(concentration1, concentration0, validate_args=validate_args)

    @property
    def mode(self) -> Tensor:
        """Where the density is largest, ``[*batch]``: 0 or 1 where it grows without bound there, NaN if it has two."""
        a, b = wide(self.concentration1), wide(self.concentration0)
        inner = (a >= 1.0) & (b >= 1.0) & (a * b > 1.0)
        above, below = torch.where(inner, a - 1.0, 1.0), torch.where(inner, (a - 1.0) * b + (b - 1.0), 1.0)
        mode = torch.exp((above.log() - below.log()) / a)
        mode = torch.where(inner, mode, torch.where((a < 1.0) & (b >= 1.0), 0.0, 1.0))
        return self._narrow(torch.where((a <= 1.0) & (b <= 1.0) & ((a == 1.0) == (b == 1.0)), torch.nan, mode))
