"""Training where the caller has turned gradients off, be it by ``torch.no_grad`` or ``torch.inference_mode``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


@contextmanager
def with_gradients() -> Iterator[None]:
    """Context in which losses have gradients, whatever the caller is in."""
    if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():  # so that steps take no longer
        yield
        return
    with torch.inference_mode(False), torch.enable_grad():
        yield


def ordinary(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments without tensors made in inference mode, which no gradient may see."""
    return tuple([x.clone() if isinstance(x, Tensor) and x.is_inference() else x for x in inputs])


def refuse_inference_tensors(pair: nn.Module) -> None:
    """Raise ValueError for a pair that was made, or moved, in inference mode: nothing may change its tensors."""
    for name, tensor in (*pair.named_parameters(), *pair.named_buffers()):
        if not is_lazy(tensor) and tensor.is_inference():
            raise ValueError(
                f"pair must be made outside of torch.inference_mode to be trained, got '{name}' from within it: "
                "outside of it, copy.deepcopy(pair) makes one"
            )
