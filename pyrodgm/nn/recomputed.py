"""Parts of a network that are computed again in the backward pass, so that their inner results need not be kept."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pyrodgm.arithmetic._compat import in_transform


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """``function(*inputs)``, of which the backward pass finds the inputs alone and computes the rest again.

    Args:
        function: Draws nothing and changes nothing. All tensors that it reads are among its inputs, parameters too:
            those of a module may be others by the time of the backward pass.
        inputs: Its arguments.

    Within transforms of :mod:`torch.func` and forward mode, whose passes keep nothing, it is simply called.

    >>> x = torch.ones(3, requires_grad=True)
    >>> recomputed(lambda x: x.exp().sin(), x).sum().backward()
    >>> bool(torch.allclose(x.grad, x.exp().cos() * x.exp()))
    True
    """
    if in_transform() or not torch.is_grad_enabled() or not any(x.requires_grad for x in inputs):
        return function(*inputs)
    result: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return result
