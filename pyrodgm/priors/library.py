"""The prior of library sizes."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_tensor
from pyrodgm.nn import log_library_size
from pyrodgm.processes import register_state


class LibraryPrior(nn.Module):
    r"""Log-normal prior of the library size, fitted to the training data, per experimental batch if given.

    .. math:: \log \ell \sim \mathcal N(m_b, s_b^2)

    The latent is the logarithm, so the distribution is Normal. The standard deviation is at least 0.05.

    Args:
        counts: Training counts ``[N, G]``.
        batches: The batch of each datum, one-hot ``[N, B]``.

    Called with nothing, or with rows ``[*, B]`` where there are batches, it returns a distribution with batch shape
    ``[]`` or ``[*]`` and event shape ``[1]``.

    Raises:
        ValueError: If ``counts`` or ``batches`` has another shape or negative values, or a batch has no data.

    Source: Lopez et al. (2018), "Deep generative modeling for single-cell transcriptomics".

    Example:
        >>> LibraryPrior(torch.full((7, 4), 25.0))().mean
        tensor([4.6052])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, counts: Tensor, batches: Tensor | None = None) -> None:
        super().__init__()
        finite_tensor("counts", counts)
        if batches is not None:
            finite_tensor("batches", batches)
        if counts.dim() != 2 or not len(counts) or bool((counts < 0).any()):
            raise ValueError(f"counts must be numbers from 0 as [N, G] with N at least 1, got {list(counts.shape)}")
        each = torch.ones_like(counts[:, :1]) if batches is None else batches.to(counts)
        if each.dim() != 2 or len(each) != len(counts) or bool((each < 0).any()) or not bool((each.sum(0) > 0).all()):
            raise ValueError(f"batches must be one-hot as [{len(counts)}, B], none empty, got {list(each.shape)}")
        share, log_library = each / each.sum(0), log_library_size(counts)
        loc = (share * log_library).sum(0)
        variance = (share * (log_library - loc).square()).sum(0)
        register_state(self, "replicated", "loc", loc.unsqueeze(-1))
        register_state(self, "replicated", "scale", variance.sqrt().clamp(min=0.05).unsqueeze(-1))

    def forward(self, batches: Tensor | None = None) -> dist.TorchDistribution:
        if batches is None:
            if len(self.loc) > 1:
                raise ValueError(f"batches must be given to a prior of {len(self.loc)} batches, got None")
            return dist.Normal(self.loc[0], self.scale[0]).to_event(1)
        return dist.Normal(batches @ self.loc, batches @ self.scale).to_event(1)
