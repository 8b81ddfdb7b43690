"""Layers with batch normalisation, over every dimension but the rightmost."""

from collections.abc import Callable

from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number, whole_number
from pyrodgm.nn.dense import _linear


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of ``[*, features]``: all dimensions but the last count as one batch, particles too.

    In training mode the running statistics advance in place, once a pass, whether the step runs eagerly or as a traced
    graph.

    Args:
        features: Size of the last dimension.
        momentum: Weight of a new batch in the running statistics (one minus the decay of other frameworks).
        eps: Added to the variance.

    Source: Ioffe and Szegedy (2015), arXiv 1502.03167.

    Example:
        >>> import torch
        >>> BatchNorm(200)(torch.randn(5, 100, 200)).shape
        torch.Size([5, 100, 200])
    """

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        eps = finite_number("eps", eps, above=0.0)
        super().__init__(
            whole_number("features", features), eps=eps, momentum=finite_number("momentum", momentum, 0.0, 1.0)
        )

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)


class NormalizedDense(nn.Module):
    r"""A linear map, batch normalisation and an activation, :math:`x \mapsto f(\mathrm{BN}(Ax))`.

    Args:
        in_features: Size of the last dimension of the input.
        out_features: Size of the last dimension of the output.
        activation: Makes the activation module.
        momentum: As in :class:`BatchNorm`; the default is that of Vahdat et al. (2018), arXiv 1805.07445.
        eps: As in :class:`BatchNorm`; likewise.

    Shape:
        ``[*, in_features]`` to ``[*, out_features]``.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: Callable[[], nn.Module] = nn.Tanh,
        momentum: float = 0.2,
        eps: float = 1e-2,
    ) -> None:
        super().__init__()
        self.linear = _linear(in_features, out_features, bias=False)  # the normalisation would take a bias out again
        self.norm = BatchNorm(out_features, momentum, eps)
        callables(activation=activation)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.linear(x)))
