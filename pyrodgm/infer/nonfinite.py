"""Finding out where a NaN or an infinity came from."""

import math
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.infer.contexts import own_parameters


class NonFiniteError(FloatingPointError):
    """Training met a value that is not finite.

    Attributes:
        step: The optimiser step, from 0, or None for a pass over the validation data.
        causes: What was not finite, such as ``"log_prob of x"`` or ``"gradient of prior.loc"``.
    """

    def __init__(self, step: int | None, causes: list[str]) -> None:
        where = "in the validation bound" if step is None else f"at step {step}"
        super().__init__(f"not finite {where}: {', '.join(causes) or 'the loss'}; the last good state is kept")
        self.step, self.causes = step, causes


def nonfinite_sites(pair: nn.Module, *batch: Tensor) -> list[str]:
    """The sample sites whose values or log-probabilities are not finite in one run of guide and model."""
    causes = []
    with torch.no_grad(), own_parameters(), pyro.validation_enabled(False):
        guide_trace = poutine.trace(pair.guide).get_trace(*batch)
        model_trace = poutine.trace(poutine.replay(pair.model, trace=guide_trace)).get_trace(*batch)
        for part, trace in (("guide", guide_trace), ("model", model_trace)):
            trace.compute_log_prob()
            for name, site in trace.nodes.items():
                if site["type"] == "sample":
                    causes += [f"{what} of {name} in the {part}" for what in ("value", "log_prob") if _bad(site[what])]
    return causes


def nonfinite_parameters(pair: nn.Module) -> list[str]:
    """The parameters whose values or gradients are not finite."""
    named = list(pair.named_parameters())
    values = [f"value of {name}" for name, p in named if _bad(p)]
    return values + [f"gradient of {name}" for name, p in named if p.grad is not None and _bad(p.grad)]


def _bad(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and not bool(torch.isfinite(value).all())
    return isinstance(value, float) and not math.isfinite(value)
