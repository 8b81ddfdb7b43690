"""A whole training step captured in a CUDA graph."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.contexts import fork_rng

WARM_UP = 3  # runs that PyTorch asks for before a capture


def is_capturable(optimizer: torch.optim.Optimizer, batch: tuple[Tensor, ...]) -> bool:
    """Whether the batch is on a CUDA device and the optimiser keeps all its state there."""
    return batch[0].device.type == "cuda" and all(group.get("capturable") for group in optimizer.param_groups)


class CapturedStep:
    """Replays a training step (forward, backward, clipping, optimiser) with one launch.

    Args:
        step: The step, a function of a batch that returns the loss.
        pair: The module that it trains.
        optimizer: The optimiser that it calls; must be capturable.
        batch: Tensors with the shapes of the batches to come, on a CUDA device.
    """

    def __init__(
        self,
        step: Callable[..., Tensor],
        pair: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch: tuple[Tensor, ...],
    ) -> None:
        self.batch = tuple(x.clone() for x in batch)
        weights, momenta = copy.deepcopy(pair.state_dict()), copy.deepcopy(optimizer.state_dict())
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with fork_rng(batch[0].device), torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                step(*self.batch)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = step(*self.batch)
        _put_back(pair, optimizer, weights, momenta)

    def __call__(self, *batch: Tensor) -> Tensor:
        for held, x in zip(self.batch, batch, strict=True):
            held.copy_(x)
        self.graph.replay()
        return self.loss.clone()


def _put_back(
    pair: nn.Module, optimizer: torch.optim.Optimizer, weights: dict[str, Any], momenta: dict[str, Any]
) -> None:
    """Undo the warm-up in place: the graph keeps the addresses of parameters and of the optimiser's state."""
    pair.load_state_dict(weights)
    old = momenta["state"]
    for index, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        for key, value in optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                value.copy_(old[index][key]) if index in old else value.zero_()
