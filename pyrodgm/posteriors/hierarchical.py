"""The hierarchical posterior of binary latents."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_tensor, whole_numbers
from pyrodgm.distributions import Hierarchical
from pyrodgm.posteriors.binary_latents import BinaryLatents
from pyrodgm.processes import register_state


class HierarchicalPosterior(nn.Module):
    r"""Groups of latents, each given the data and the groups before it, side by side in one vector.

    .. math:: q(\zeta \mid x) = \prod_{i=1}^G q(\zeta_i \mid x - m, \zeta_{<i})

    Args:
        nets: One network a group: from ``[*, D + D_1 + ... + D_(i-1)]`` to the outputs of its latents.
        latents: One module a group that turns outputs into a distribution.
        sizes: Number of latents in each group, D_1, ..., D_G.
        mean: What is taken from the data, ``[D]``: the mean of the training data; nothing by default.

    Called with data ``[*, D]`` it returns a distribution with batch shape ``[*]`` and event shape
    ``[D_1 + ... + D_G]``; :meth:`discrete` likewise.

    Raises:
        ValueError: If ``nets``, ``latents`` and ``sizes`` are not of one length, at least 1.

    Source: Rolfe (2017), arXiv 1609.02200, section 3; Vahdat et al. (2018), arXiv 1802.04920.

    Example:
        >>> from pyrodgm.distributions import ExponentialSmoothing
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import OverlappingLatents
        >>> latents = [OverlappingLatents(ExponentialSmoothing(10.0))] * 2
        >>> posterior = HierarchicalPosterior([mlp(784, [200], 50), mlp(784 + 50, [200], 30)], latents, [50, 30])
        >>> posterior(torch.zeros(5, 784)).sample().shape
        torch.Size([5, 80])
    """

    mean: Tensor | None

    def __init__(
        self,
        nets: Sequence[nn.Module],
        latents: Sequence[BinaryLatents],
        sizes: Sequence[int],
        mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        for name, parts in (("nets", nets), ("latents", latents)):
            if not isinstance(parts, Sequence):
                raise TypeError(f"{name} must be a sequence of modules, got {parts!r}")
            callables(**{f"{name}[{i}]": part for i, part in enumerate(parts)})
        sizes = whole_numbers("sizes", sizes)
        if mean is not None:
            finite_tensor("mean", mean)
        if not 0 < len(nets) == len(latents) == len(sizes):
            lengths = f"{len(nets)}, {len(latents)} and {len(sizes)}"
            raise ValueError(f"nets, latents and sizes must be one each a group, at least one; got {lengths}")
        self.nets, self.latents = nn.ModuleList(nets), nn.ModuleList(latents)
        self.sizes = list(sizes)
        register_state(self, "replicated", "mean", mean)

    def forward(self, x: Tensor) -> Hierarchical:
        return Hierarchical(lambda earlier: self.latents[len(earlier)](self._outputs(x, earlier)), self.sizes)

    def discrete(self, x: Tensor) -> Hierarchical:
        """The distribution of the bits in place of the smoothed latents."""
        latents: Any = self.latents
        return Hierarchical(lambda earlier: latents[len(earlier)].discrete(self._outputs(x, earlier)), self.sizes)

    def _outputs(self, x: Tensor, earlier: Sequence[Tensor]) -> Tensor:
        if self.mean is not None:
            x = x - self.mean
        if earlier:
            x = torch.cat([x.expand(*earlier[0].shape[:-1], x.shape[-1]), *earlier], -1)
        return self.nets[len(earlier)](x)
