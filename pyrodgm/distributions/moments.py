"""Base class of distributions that compute mean and variance together."""

from torch import Tensor


class FromMoments:
    """Takes mean and variance from ``_moments``, the expectations of the value and of its square, ``[*batch]`` each."""

    def _moments(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        mean, square = self._moments()
        return square - mean.square()
