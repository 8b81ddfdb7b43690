"""The logit-normal distribution."""

import torch
from torch import Tensor

from pyrodgm.distributions.logits import NormalLogit
from pyrodgm.distributions.unit_interval import UnitInterval


class LogitNormal(UnitInterval):
    r"""Distribution on (0, 1) of the logistic function of a Normal draw.

    .. math:: v = \sigma(t), \quad t \sim N(\text{loc}, \text{scale}^2), \qquad
        \log p(v) = \log N(\mathrm{logit}\, v) - \log v - \log(1 - v)

    Draws lie strictly inside (0, 1); where v would round to 0 or 1, its logit is Normal (:class:`NormalLogit`). Mean
    and variance are quadratures with an absolute error below 1e-10 in float64.

    Args:
        loc: ``[*batch]``, real; mean of the logit.
        scale: ``[*batch]``, positive; standard deviation of the logit.

    Raises:
        ValueError: ``scale`` is not positive, or a value is outside [0, 1] (with validation on).

    Source: Atchison and Shen (1980), Biometrika 67, 261.

    >>> LogitNormal(torch.zeros(3), torch.ones(3)).mean
    tensor([0.5000, 0.5000, 0.5000])
    """

    loc: Tensor
    scale: Tensor

    arg_constraints = NormalLogit.arg_constraints
    family = NormalLogit

    def __init__(self, loc: Tensor | float, scale: Tensor | float, *, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args=validate_args)

    @property
    def median(self) -> Tensor:
        """The logistic function of ``loc``, ``[*batch]``."""
        return self.icdf(torch.full_like(self.loc, 0.5))
