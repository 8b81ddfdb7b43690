"""The KL weight of an objective."""

from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number


class KLWeight:
    """An attribute that is a tensor ``[]``, which a schedule updates in place; a number put there becomes one.

    Raises:
        TypeError, ValueError: Where it is set to a number that is negative or not finite, or to something else.
    """

    def __get__(self, objective: Any, kind: type | None = None) -> Tensor:
        if objective is None or "kl_weight" not in vars(objective):
            raise AttributeError("kl_weight")
        weight: Tensor = vars(objective)["kl_weight"]
        return weight

    def __set__(self, objective: Any, weight: float | Tensor) -> None:
        if not isinstance(weight, Tensor):
            number, before = finite_number("kl_weight", weight, least=0.0), vars(objective).get("kl_weight")
            with torch.inference_mode(False):  # gradients are to see it
                weight = torch.tensor(number) if before is None else torch.full_like(before, number)
        vars(objective)["kl_weight"] = weight
