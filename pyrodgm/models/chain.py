"""What models of several stochastic layers in a chain share."""

from collections.abc import Sequence
from typing import Any

import pyro
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables


def draw_chain(prior: nn.Module, conditional_priors: Sequence[Any] | nn.ModuleList) -> Tensor:
    """Draw zL from the prior and each layer below given that above it; returns z1."""
    z = pyro.sample(f"z{len(conditional_priors) + 1}", prior())
    for i in reversed(range(len(conditional_priors))):
        z = pyro.sample(f"z{i + 1}", conditional_priors[i](z))
    return z


def check_layers(name: str, parts: Sequence[nn.Module], expected: int | None) -> None:
    """Require one part for each layer but the top one, if their number is known.

    Raises:
        ValueError: If there are more or fewer; names the argument.
    """
    if not isinstance(parts, (Sequence, nn.ModuleList)):
        raise TypeError(f"{name} must be a sequence of modules, got {parts!r}")
    callables(**{f"{name}[{i}]": part for i, part in enumerate(parts)})
    if expected is not None and len(parts) != expected:
        raise ValueError(f"{name} must hold {expected} modules, one for each layer but the top one, got {len(parts)}")
