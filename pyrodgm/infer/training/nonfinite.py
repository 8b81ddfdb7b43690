"""Finding out where a NaN or an infinity came from."""

import contextlib
import math
from typing import Any

import pyro
import pyro.infer
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyrodgm.distributions import NoDensityError
from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.tracing.contexts import loss_of
from pyrodgm.infer.tracing.parameters import trained_parameters


class NonFiniteError(PyrodgmError, FloatingPointError):
    """Training met a value that is not finite.

    Attributes:
        step: The optimiser step, from 0, or None where it was in no single step.
        causes: What was not finite, such as ``"log_prob of x"`` or ``"gradient of prior.loc"``.
    """

    def __init__(self, step: int | None, causes: list[str], where: str = "in the validation") -> None:
        where = where if step is None else f"at step {step}"
        super().__init__(f"not finite {where}: {', '.join(causes) or 'the loss'}; the last good state is kept")
        self.step, self.causes = step, causes


class _Inspector(Messenger):
    """Notes the sample sites of a program whose values or log-probabilities are not finite."""

    def __init__(self, part: str, causes: list[str]) -> None:
        super().__init__()
        self.part, self.causes = part, causes

    def _pyro_post_sample(self, msg: Any) -> None:
        if isinstance(msg["value"], Tensor):
            found = {"value": msg["value"]}
            with contextlib.suppress(NoDensityError):
                found["log_prob"] = msg["fn"].log_prob(msg["value"])
            new = [f"{what} of {msg['name']} in the {self.part}" for what, value in found.items() if _bad(value)]
            self.causes += [cause for cause in new if cause not in self.causes]


def nonfinite_sites(pair: nn.Module, objective: pyro.infer.ELBO, batch: Batch) -> list[str]:
    """The sample sites whose values or log-probabilities are not finite when the objective runs guide and model."""
    causes: list[str] = []
    model, guide = _Inspector("model", causes)(pair.model), _Inspector("guide", causes)(pair.guide)
    with torch.no_grad(), trained_parameters(pair), pyro.validation_enabled(False):
        loss_of(objective, model, guide, batch)
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
