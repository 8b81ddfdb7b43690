"""Comparisons of two sets of draws by nearest neighbours: a two-sample test, precision and recall."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import tensors, whole_number

BLOCK = 1000  # rows of the distance matrix computed at once
TIED = 1e-9  # relative difference of squared distances that can be due to rounding
NEAR = 1e-5  # squared distance over squared norm, below which distances from inner products have a larger error


@dataclass(frozen=True)
class TwoSample:
    """Result of a nearest-neighbour two-sample test.

    Attributes:
        real: Share of the real data whose neighbours are mostly real, in [0, 1].
        fake: Share of the fake data whose neighbours are mostly fake, in [0, 1].
        count: Number of real data, and of fake data.
    """

    real: float
    fake: float
    count: int

    @property
    def accuracy(self) -> float:
        """Share classified correctly: 1/2 in the limit for equal distributions, 1 for disjoint ones, 0 for copies."""
        return 0.5 * (self.real + self.fake)

    @property
    def standard_error(self) -> float:
        """Standard deviation of the accuracy for equal distributions, if the data were classified independently."""
        return 0.5 / math.sqrt(2 * self.count)


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall of generated data.

    Attributes:
        precision: Share of the fake data within the manifold of the real data, in [0, 1].
        recall: Share of the real data within the manifold of the fake data, in [0, 1].
    """

    precision: float
    recall: float


def knn_two_sample(real: Tensor, fake: Tensor, k: int = 1) -> TwoSample:
    """Two-sample test: classify each datum as real or fake by its k nearest neighbours (leave-one-out).

    Equal distributions have an accuracy of 1/2. Above 1/2, neighbours tend to be of the same kind: the distributions
    differ, or each has modes that the other lacks. Below 1/2, the fakes are copies of the real data. ``real`` and
    ``fake`` distinguish further: where fakes crowd around few real data, most neighbours of real and of fake data are
    fake. Ties count half.

    Args:
        real: Data or features of them, ``[N, *event]``.
        fake: The same number of fakes, ``[N, *event]``.
        k: Number of neighbours, odd.

    Raises:
        ValueError: If the shapes differ, a value is not finite, there are fewer than k + 1 data, or k is even.

    Source: Lopez-Paz and Oquab (2017), arXiv 1610.06545; Xu et al. (2018), arXiv 1806.07755, section 2.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> knn_two_sample(torch.randn(100, 2), torch.randn(100, 2) + 20.0).accuracy
        1.0
    """
    k = whole_number("k", k)
    if k % 2 == 0:
        raise ValueError(f"k must be odd, got {k}")
    real, fake = _checked(real, fake, k)
    if len(real) != len(fake):
        raise ValueError(f"real and fake must be as many, got {len(real)} and {len(fake)}")
    middle = (k + 1) // 2  # a kind has the majority of k if its middle-th neighbour is nearer than that of the other
    shares = []
    for own, other in ((real, fake), (fake, real)):
        near, far = _kth(own, own, middle, others=True), _kth(own, other, middle)
        tied = (near - far).abs() <= TIED * torch.maximum(near, far)
        shares.append(float(((near < far) & ~tied).double().add(0.5 * tied).mean()))
    return TwoSample(shares[0], shares[1], len(real))


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    r"""Precision and recall: the share of the fakes within the manifold of the real data, and vice versa.

    .. math:: \mathrm{precision} = \frac 1{|F|} \sum_{f \in F} \max_{r \in R} 1[\lVert f - r \rVert \le d_k(r)], \qquad
        \mathrm{recall} = \frac 1{|R|} \sum_{r \in R} \max_{f \in F} 1[\lVert f - r \rVert \le d_k(f)]

    Here :math:`d_k` is the distance of a datum to its k-th nearest neighbour in its own set. Precision measures how
    realistic the fakes are, recall how much of the data they cover. Both grow with the number of data and with k, so
    compare only sets of one size at one k. For high-dimensional data, pass features. Both are below 1 for equal
    distributions.

    Args:
        real: Data or features of them, ``[N, *event]``.
        fake: Fakes, ``[M, *event]``.
        k: Number of neighbours.

    Raises:
        ValueError: If the event shapes differ, a value is not finite, or a set has fewer than k + 1 data.

    Source: Kynkäänniemi et al. (2019), arXiv 1904.06991, eqs. 1 and 2.

    Example:
        >>> points = torch.arange(10.0).unsqueeze(1)
        >>> precision_recall(points, points[:5])
        PrecisionRecall(precision=1.0, recall=0.8)
    """
    k = whole_number("k", k)
    real, fake = _checked(real, fake, k)
    return PrecisionRecall(_covered(fake, real, k), _covered(real, fake, k))


def _covered(points: Tensor, centres: Tensor, k: int) -> float:
    """Share of the points that lie in the ball of any centre, whose radius is its k-th nearest-neighbour distance."""
    radii = _kth(centres, centres, k, others=True)
    near, reach = _is_near(radii, centres), radii * (1.0 + TIED)
    inside = [
        (_squares(rows, centres[~near]) <= reach[~near]).any(1) | (_exact(rows, centres[near]) <= reach[near]).any(1)
        for rows in points.split(BLOCK)
    ]
    return float(torch.cat(inside).double().mean())


def _kth(points: Tensor, among: Tensor, k: int, others: bool = False) -> Tensor:
    """Squared distance of each point to its k-th nearest in ``among``; ``others`` excludes the point itself.

    With ``others``, ``among`` must be ``points``.
    """
    found = []
    for numbers in torch.arange(len(points), device=points.device).split(BLOCK):
        kth = _kth_of(_squares, points, numbers, among, k, others)
        near = _is_near(kth, points[numbers])
        if bool(near.any()):
            kth[near] = _kth_of(_exact, points, numbers[near], among, k, others)
        found.append(kth)
    return torch.cat(found)


def _kth_of(
    squares: Callable[[Tensor, Tensor], Tensor], points: Tensor, numbers: Tensor, among: Tensor, k: int, others: bool
) -> Tensor:
    distances = squares(points[numbers], among)
    if others:
        distances[torch.arange(len(numbers), device=numbers.device), numbers] = math.inf
    return distances.kthvalue(k, dim=1).values


def _is_near(squares: Tensor, points: Tensor) -> Tensor:
    return squares <= NEAR * points.square().sum(1)


def _squares(rows: Tensor, among: Tensor) -> Tensor:
    """Squared distances by inner products, with an error of about 1e-15 of the squared norms."""
    products = torch.addmm(among.square().sum(1), rows, among.T, alpha=-2.0)
    return products + rows.square().sum(1, keepdim=True)


def _exact(rows: Tensor, among: Tensor) -> Tensor:
    """Squared distances by differences: exact, but much slower."""
    return torch.cdist(rows, among, compute_mode="donot_use_mm_for_euclid_dist").square()


def _checked(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Both as float64 rows, shifted by their joint median and scaled to a joint mean squared norm of 1."""
    tensors(real=real, fake=fake)
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"real and fake must have one event shape, got {list(real.shape)} and {list(fake.shape)}")
    both = []
    for name, data in (("real", real), ("fake", fake)):
        if data.dim() < 1 or len(data) < k + 1:
            raise ValueError(f"{name} must hold at least {k + 1} data for k = {k}, got shape {list(data.shape)}")
        if not torch.isfinite(data).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
        both.append(data.detach().double().reshape(len(data), -1))
    real, fake = both[0], both[1].to(both[0].device)
    middle = torch.cat([real, fake]).median(0).values  # robust to outliers
    size = torch.cat([real - middle, fake - middle]).square().sum(1).mean().sqrt().clamp(min=1e-300)
    return (real - middle) / size, (fake - middle) / size
