"""Optimisers of the published systems that PyTorch does not have."""

from collections.abc import Callable
from typing import Any

import torch


class AdamNormGrad(torch.optim.Adam):
    r"""Adam on gradients that are divided, one parameter tensor at a time, by their Euclidean norm.

    .. math:: g \leftarrow g / (\lVert g \rVert_2 + 10^{-7})

    The gradients are replaced in place. Arguments are those of :class:`torch.optim.Adam`.

    Source: Yu et al. (2017), arXiv 1707.04822, as used by Tomczak and Welling (2017), arXiv 1705.07120.

    Example:
        >>> w = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = AdamNormGrad([w], lr=0.1)
        >>> (100.0 * w.sum()).backward()
        >>> optimizer.step()
        >>> w.grad.norm().allclose(torch.ones(()))
        True
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            torch._foreach_div_(gradients, torch._foreach_add(torch._foreach_norm(gradients), 1e-7))
        super().step()
        return loss
