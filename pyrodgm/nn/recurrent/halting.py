"""Graves's adaptive computation time."""

import torch
from torch import Tensor

from pyrodgm.arithmetic import wide
from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.nn.recurrent.early_stop import StoppingRule
from pyrodgm.nn.recurrent.network import RecurrentNetwork, Unrolled


class AdaptiveComputationTime(RecurrentNetwork):
    r"""An LSTM or GRU whose inner steps stop once their halting units sum to :math:`1 - \epsilon`.

    .. math:: g^n = \mathrm{sigmoid}(w \cdot h^n + b), \quad N = \min\{n : \textstyle\sum_{m \le n} g^m \ge 1 -
        \epsilon\}, \quad p^n = g^n \ (n < N), \quad p^N = R = 1 - \textstyle\sum_{m<N} g^m, \quad s_t = \sum_n p^n s^n

    Args:
        input_size: F, features of an input.
        hidden_size: H, units of the hidden state.
        cell: "lstm" or "gru".
        max_steps: M, at least 2.
        epsilon: in (0, 1).
        halting_bias: where the bias b starts.

    Shape:
        inputs ``[*, T, F]`` and state ``[*, S]`` (zeros by default) to the fields of ``Unrolled``.

    Raises:
        ValueError: ``max_steps`` is below 2, ``epsilon`` is outside (0, 1), or as in ``RecurrentNetwork``.

    Source: Graves (2016), arXiv 1603.08983, eq. 5 to 14.

    >>> network = AdaptiveComputationTime(10, 20, max_steps=5)
    >>> out = network(torch.zeros(3, 7, 10))
    >>> network.ponder_cost(out).shape
    torch.Size([3, 7])
    """

    rule = "halting"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        cell: str = "lstm",
        *,
        max_steps: int = 4,
        epsilon: float = 0.01,
        halting_bias: float = 1.0,
    ) -> None:
        max_steps = whole_number("max_steps", max_steps, 2)
        self.epsilon = finite_number("epsilon", epsilon, above=0.0, below=1.0)
        self.halting_bias = finite_number("halting_bias", halting_bias)
        super().__init__(input_size, hidden_size, cell, max_steps=max_steps)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            self.head_bias.fill_(self.halting_bias)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Unrolled:
        return self._unroll(x, state, wide(x.new_zeros(())).new_full((x.shape[-2], 1, 1), self.epsilon))

    def ponder_cost(self, out: Unrolled) -> Tensor:
        """N + R of each time step, ``[*, T]``; only R has a gradient, and it has that of minus the halting units."""
        halt = wide(out.raw).sigmoid().squeeze(-1)
        going = halt.cumsum(-1) < 1.0 - self.epsilon
        remainder = 1.0 - (halt * going).sum(-1)
        return (1.0 + going.sum(-1) + remainder).to(out.hidden.dtype)

    def _stopping_rule(self, tolerance: float, mean: bool) -> StoppingRule:
        def stop(raw: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
            halt = raw.sigmoid().squeeze(-1)
            return halt, rest - halt <= max(self.epsilon, tolerance)

        return stop
