"""Recurrent networks that weigh their inner steps by stick-breaking."""

import torch
from torch import Tensor

from pyrodgm.arithmetic import wide
from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.nn.recurrent.early_stop import StoppingRule
from pyrodgm.nn.recurrent.network import RecurrentNetwork, Unrolled
from pyrodgm.nn.recurrent.weights import concentrations, log_fractions, mean_fractions, raw_start


class StickBreakingRNN(RecurrentNetwork):
    r"""An LSTM or GRU with up to ``max_steps`` inner steps a time step, weighed by stick-breaking weights.

    .. math:: s_t^1 = S(s_{t-1}, [x_t, 1]), \quad s_t^n = S(s_t^{n-1}, [x_t, 0]), \quad
        s_t = \sum_n \pi_t^n s_t^n, \quad \pi_t^n = v_t^n \prod_{j<n} (1 - v_t^j), \quad v_t^M = 1

    Each inner state but the last emits the two concentrations of its fraction, which follows a Kumaraswamy
    distribution. The weights are random: ``forward`` draws them, ``forward_given`` takes them. Their distribution is
    :class:`pyrodgm.distributions.RecurrentSticks`.

    Args:
        input_size: F, features of an input.
        hidden_size: H, units of the hidden state.
        cell: "lstm" or "gru".
        max_steps: M, at least 2: the truncation.
        start: where the second concentration of a fraction begins, the first at 1: fractions are uniform for 1, and
            begin at the prior if this is its concentration.

    Shape:
        inputs ``[*, T, F]`` and state ``[*, S]`` (zeros by default) to the fields of ``Unrolled``.

    Raises:
        ValueError: ``max_steps`` is below 2, ``start`` is below 0.1, or as in ``RecurrentNetwork``.

    Source: the adaptive computation of Nalisnick, Larochelle and Côté, written down in docs/adaptive_computation.md.

    >>> network = StickBreakingRNN(10, 20, max_steps=4)
    >>> out = network(torch.zeros(3, 7, 10))
    >>> out.hidden.shape, out.weights.shape, bool(torch.allclose(out.weights.sum(-1), torch.ones(3, 7).double()))
    (torch.Size([3, 7, 20]), torch.Size([3, 7, 4]), True)
    """

    rule = "sticks"

    def __init__(
        self, input_size: int, hidden_size: int, cell: str = "lstm", *, max_steps: int = 4, start: float = 1.0
    ) -> None:
        max_steps = whole_number("max_steps", max_steps, 2)
        self.start = finite_number("start", start, above=0.0)
        super().__init__(input_size, hidden_size, cell, max_steps=max_steps)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            self.head_bias.copy_(torch.tensor(raw_start(self.start)))

    def draw_noise(self, x: Tensor) -> Tensor:
        """Exponential noise for one draw of the weights on inputs ``[*, T, F]``: ``[*, T, M - 1]`` in float64."""
        return torch.empty_like(wide(x[..., :1]).expand(*x.shape[:-1], self.max_steps - 1).contiguous()).exponential_()

    def forward(self, x: Tensor, state: Tensor | None = None, noise: Tensor | None = None) -> Unrolled:
        noise = self.draw_noise(x) if noise is None else noise
        return self._unroll(x, state, noise.reshape(-1, *noise.shape[-2:]).movedim(0, -1).contiguous())

    def forward_given(self, x: Tensor, weights: Tensor, state: Tensor | None = None) -> Unrolled:
        """Run with weights as they are given, ``[*, T, M]``; gradients flow into them."""
        given = weights.reshape(-1, *weights.shape[-2:]).movedim(0, -1).contiguous()
        return self._unroll(x, state, given, rule="given")

    def concentrations(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The two concentrations of each fraction, ``[*]``, from what was emitted, ``[*, 2]``."""
        return concentrations(raw)

    def _stopping_rule(self, tolerance: float, mean: bool) -> StoppingRule:
        def stop(raw: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
            if mean:
                v = mean_fractions(raw)
            else:
                v = log_fractions(raw, torch.empty_like(wide(raw[..., 0])).exponential_())[0].exp()
            v = v.to(rest.dtype)
            return rest * v, rest * (1.0 - v) < tolerance

        return stop
