"""Batched Gaussians fitted to a block of data, with an optional skew along each axis."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MEAN_OF_ROOT = 1.35453080648131  # E sqrt(1 + w^2) for standard normal w
THIRD = 1.69467254173697  # skewness per unit of epsilon: 3 E (w^2 - 1) sqrt(1 + w^2)
LARGEST = 1.5  # largest |epsilon|: slopes differ by a factor of 20 between the tails


@dataclass(frozen=True)
class Skew:
    r"""A sinh-arcsinh transformation of each axis, ``[B, D]`` each: u from w, which is a Gaussian vector.

    .. math:: u = m + \tau\, \bigl[ w \cosh \varepsilon
        + (\sqrt{1 + w^2} - \mathbb E \sqrt{1 + w^2}) \sinh \varepsilon \bigr]

    Its slope is between :math:`\tau e^{-|\varepsilon|}` and :math:`\tau e^{|\varepsilon|}`, so tails decay like w's.

    Attributes:
        loc: m.
        scale: :math:`\tau`.
        epsilon: :math:`\varepsilon`; to first order the skewness of u is 1.69 times this.

    Source: Jones and Pewsey (2009), Biometrika 96, 761.
    """

    loc: Tensor
    scale: Tensor
    epsilon: Tensor

    @classmethod
    def of_skewness(cls, loc: Tensor, scale: Tensor, skewness: Tensor) -> "Skew":
        """The transformation with given skewnesses, to first order; epsilon is clamped to :data:`LARGEST`."""
        return cls(loc, scale, (skewness / THIRD).clamp(-LARGEST, LARGEST))

    def place(self, w: Tensor) -> Tensor:
        """The point u ``[*, B, D]`` at w."""
        root = (1.0 + w.square()).sqrt() - MEAN_OF_ROOT
        return self.loc + self.scale * (self.epsilon.cosh() * w + self.epsilon.sinh() * root)

    def standardise(self, u: Tensor) -> Tensor:
        """The inverse of :meth:`place`."""
        moved = (u - self.loc) / self.scale + self.epsilon.sinh() * MEAN_OF_ROOT
        return self.epsilon.cosh() * moved - self.epsilon.sinh() * (1.0 + moved.square()).sqrt()

    def log_slope(self, w: Tensor) -> Tensor:
        """Logarithm of du/dw for each axis, ``[*, B, D]``."""
        return (self.scale * (self.epsilon.cosh() + self.epsilon.sinh() * w / (1.0 + w.square()).sqrt())).log()

    def slope_gradient(self, w: Tensor) -> Tensor:
        """Derivative of :meth:`log_slope` by w."""
        root = (1.0 + w.square()).sqrt()
        return self.epsilon.sinh() / (root.square() * (self.epsilon.cosh() * root + self.epsilon.sinh() * w))

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three tensors ``loc``, ``scale`` and ``epsilon``."""
        return self.loc, self.scale, self.epsilon

    def to(self, dtype: torch.dtype) -> "Skew":
        """Convert to another dtype."""
        return Skew(*(part.to(dtype) for part in self.parts))

    def __getitem__(self, rows: Tensor | slice) -> "Skew":
        """Select data by index."""
        return Skew(*(part[rows] for part in self.parts))


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian per datum of a block, in coordinates u or, with a skew, in w.

    Attributes:
        mean: ``[B, D]``, float64.
        factor: Cholesky factor of the precision, ``[B, D, D]``, float64.
        skew: The transformation from w to u; None for a Gaussian in u.
    """

    mean: Tensor
    factor: Tensor
    skew: Skew | None = None

    def place(self, standard: Tensor) -> Tensor:
        """Map standardised points ``[*, B, D]`` to u: mean + factor^-T standard, then the skew."""
        w = self._unskewed(standard)
        return w if self.skew is None else self.skew.place(w)

    def standardise(self, points: Tensor) -> Tensor:
        """The inverse of :meth:`place`."""
        w = points if self.skew is None else self.skew.standardise(points)
        return torch.einsum("...bi,bij->...bj", w - self.mean, self.factor)

    def pull_back(self, gradient: Tensor, standard: Tensor) -> Tensor:
        """Convert the gradient ``[*, B, D]`` of log p(u) to that of the log-density in standardised coordinates."""
        if self.skew is not None:
            w = self._unskewed(standard)
            gradient = self.skew.log_slope(w).exp() * gradient + self.skew.slope_gradient(w)
        return self._solve(self.factor, gradient, upper=False)

    def log_det(self, standard: Tensor) -> Tensor:
        """Log-Jacobian of :meth:`standardise` (from u to standardised points) at ``standard``, ``[*, B]``."""
        constant = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if self.skew is None:
            return constant
        return constant - self.skew.log_slope(self._unskewed(standard)).sum(-1)

    def _unskewed(self, standard: Tensor) -> Tensor:
        """The points w, before the skew."""
        return self.mean + self._solve(self.factor.mT, standard, upper=True)

    def _solve(self, factor: Tensor, right: Tensor, upper: bool) -> Tensor:
        columns = right.movedim(-2, 0)  # one triangular solve per datum, with all points as columns
        solved = torch.linalg.solve_triangular(factor, columns.flatten(1, -2).mT, upper=upper)
        return solved.mT.reshape(columns.shape).movedim(0, -2)

    def __getitem__(self, rows: Tensor | slice) -> "Gaussian":
        """Select data by index."""
        return Gaussian(self.mean[rows], self.factor[rows], None if self.skew is None else self.skew[rows])

    def put(self, rows: Tensor, other: "Gaussian") -> "Gaussian":
        """Replace the Gaussians at ``rows`` by ``other``; neither may be skewed."""
        return Gaussian(self.mean.index_put((rows,), other.mean), self.factor.index_put((rows,), other.factor))

    @staticmethod
    def cat(parts: Sequence["Gaussian"]) -> "Gaussian":
        """Concatenate blocks, of which all or none are skewed."""
        mean, factor = torch.cat([part.mean for part in parts]), torch.cat([part.factor for part in parts])
        skews = [part.skew.parts for part in parts if part.skew is not None]
        return Gaussian(mean, factor, Skew(*map(torch.cat, zip(*skews, strict=True))) if skews else None)

    @staticmethod
    def choose(condition: Tensor, one: "Gaussian", other: "Gaussian") -> "Gaussian":
        """Select ``one`` or ``other`` per datum by a condition ``[B]``; neither may be skewed."""
        mean = torch.where(condition.unsqueeze(-1), one.mean, other.mean)
        return Gaussian(mean, torch.where(condition[:, None, None], one.factor, other.factor))
