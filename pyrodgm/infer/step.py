"""One training step, usable alone in a loop of one's own."""

import pyro
import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.infer.contexts import own_parameters


class TrainStep:
    """One optimiser step on the objective of a model/guide pair.

    Calling it with a batch (the arguments of ``model`` and ``guide``) updates the parameters and returns the loss a
    datum, a tensor ``[]`` in nats without gradient; nothing in it waits for the device.

    Args:
        pair: The module with ``model`` and ``guide``.
        objective: Any :class:`pyro.infer.ELBO`; the loss is divided by the size of the batch.
        optimizer: Optimiser of the pair's parameters.
        clip_grad_norm: Largest Euclidean norm of the gradient of all parameters together; no limit by default.
    """

    def __init__(
        self,
        pair: nn.Module,
        objective: pyro.infer.ELBO,
        optimizer: torch.optim.Optimizer,
        clip_grad_norm: float | None = None,
    ) -> None:
        self.pair, self.objective, self.optimizer, self.clip_grad_norm = pair, objective, optimizer, clip_grad_norm

    def __call__(self, *batch: Tensor) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with own_parameters(), pyro.validation_enabled(False):
            loss = self.objective.differentiable_loss(self.pair.model, self.pair.guide, *batch) / len(batch[0])
        loss.backward()
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.pair.parameters(), self.clip_grad_norm)
        self.optimizer.step()
        return loss.detach()
