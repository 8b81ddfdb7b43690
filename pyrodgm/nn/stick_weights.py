"""Stick weights as the first layer of a network."""

from torch import Tensor, nn

from pyrodgm.arithmetic import stick_weights

__all__ = ["StickWeights", "stick_weights"]


class StickWeights(nn.Module):
    r"""Stick weights from the logits of their fractions.

    .. math:: \pi_k = v_k \prod_{j<k} (1 - v_j), \qquad v_k = \sigma(y_k)

    Latents of sticks are logits; this layer stands in front of whatever network takes weights.

    Shape:
        ``[*, K - 1]`` to ``[*, K]``, on the simplex and at least 1e-30.

    Example:
        >>> import torch
        >>> StickWeights()(torch.zeros(2))
        tensor([0.5000, 0.2500, 0.2500])
    """

    def forward(self, logits: Tensor) -> Tensor:
        return stick_weights(logits)
