"""The network of a neural autoregressive density estimator, with or without refinement of its hidden units."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pyrodgm.arithmetic.arguments import finite_number, finite_tensor, one_of, whole_number
from pyrodgm.nn.nade_blocks import nade_pass
from pyrodgm.nn.nade_plain import refined_steps, running_sum
from pyrodgm.nn.recurrent import RecurrentNetwork
from pyrodgm.nn.recurrent.weights import raw_start


class RunningSum(nn.Module):
    r"""State before each pixel as a sum over the pixels that are on, :math:`a_d = c + \sum_{j<d} W_j x_j`.

    Shape:
        ``[N, D]`` to ``[D, N, H]``.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, hidden).uniform_(-1, 1) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, x: Tensor) -> Tensor:
        return running_sum(x, self.weight, self.bias)

    def begin(self, count: int) -> Any:
        """State of ``count`` images before their first pixel, and what ``advance`` needs."""
        state = self.bias.expand(count, -1)
        return state, (0, state)

    def advance(self, memory: Any, x: Tensor) -> Any:
        """The same before the next pixel, when the last one was ``x``, ``[N]``."""
        d, state = memory
        state = state + x.unsqueeze(-1) * self.weight[d]
        return state, (d + 1, state)


class RunningLSTM(nn.Module):
    r"""State before each pixel from an LSTM that has read those before, :math:`a_d = c + P\, \mathrm{LSTM}(x_{<d})`.

    The LSTM gets each pixel as two inputs, off and on, and none before the first.

    Shape:
        ``[N, D]`` to ``[D, N, H]``.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.network = RecurrentNetwork(2, hidden)
        self.projection = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        before = pad(torch.stack([1.0 - x, x], -1)[:, :-1], (0, 0, 1, 0))
        return self.projection(self.network(before).hidden).movedim(1, 0)

    def begin(self, count: int) -> Any:
        return self._step(self.projection.weight.new_zeros(count, 1, 2), None)

    def advance(self, memory: Any, x: Tensor) -> Any:
        return self._step(torch.stack([1.0 - x, x], -1).unsqueeze(1), memory)

    def _step(self, inputs: Tensor, state: Tensor | None) -> Any:
        out = self.network(inputs, state)
        return self.projection(out.hidden[:, 0]), out.state


class NADENetwork(nn.Module):
    r"""Logits of each pixel given those before it, after each of M steps of refinement, and what these emit.

    .. math:: h_d^1 = \mathrm{sigmoid}(a_d), \qquad h_d^n = \mathrm{sigmoid}(a_d + u + U h_d^{n-1}), \qquad
        l_d^n = V_d \cdot h_d^n + b_d

    Args:
        features: D, binary pixels in their order.
        hidden: H, hidden units.
        max_steps: M; 1 for NADE itself.
        init: "sum" for NADE's running sum, "lstm" for an LSTM over the pixels in its place.
        mean: mean of the training images, ``[D]``, at which an untrained network starts.
        start: as in :class:`pyrodgm.nn.recurrent.StickBreakingRNN`.

    Shape:
        ``[*, D]`` to logits ``[*, D, M]`` and ``[*, D, M - 1, 2]``.

    Source: Larochelle and Murray (2011), AISTATS, eq. 1 to 4; docs/adaptive_computation.md.

    Example:
        >>> logits, raw = NADENetwork(784, 50, max_steps=3)(torch.zeros(5, 784))
        >>> logits.shape, raw.shape
        (torch.Size([5, 784, 3]), torch.Size([5, 784, 2, 2]))
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        max_steps: int = 1,
        init: str = "sum",
        mean: Tensor | None = None,
        start: float = 1.0,
    ) -> None:
        super().__init__()
        features, hidden = whole_number("features", features), whole_number("hidden", hidden)
        max_steps, start = whole_number("max_steps", max_steps), finite_number("start", start, above=0.0)
        one_of("init", init, ("sum", "lstm"))
        if mean is not None:
            finite_tensor("mean", mean, (features,))
        self.features, self.max_steps = features, max_steps
        self.running = RunningSum(features, hidden) if init == "sum" else RunningLSTM(features, hidden)
        bound = 1.0 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(features, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(features) if mean is None else torch.logit(mean, eps=1e-3).clone())
        if max_steps > 1:
            self.refine = nn.Linear(hidden, hidden)
            self.head = nn.Linear(hidden, 2)
            with torch.no_grad():
                self.head.weight.mul_(0.1)
                self.head.bias.copy_(torch.tensor(raw_start(start)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() < 1 or x.shape[-1] != self.features or not x.numel():
            raise ValueError(f"x: expected at least one image, shape [*, {self.features}], got {list(x.shape)}")
        flat = x.reshape(-1, self.features)
        if isinstance(self.running, RunningSum):
            logits, raw = nade_pass(flat, self.running.weight, self.running.bias, self.weight, *self._refinement())
        else:
            logits, raw = refined_steps(self.running(flat), self.weight, *self._refinement())
        logits = logits + self.bias.unsqueeze(-1)
        # [M, D, N, ...] as they come; what follows in that layout would be copied, in sizes much larger.
        logits, raw = logits.permute(2, 1, 0).contiguous(), raw.permute(2, 1, 0, 3).contiguous()
        return logits.view(*x.shape, self.max_steps), raw.view(*x.shape, self.max_steps - 1, 2)

    def _refinement(self) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        if self.max_steps == 1:
            matrix, vector = self.weight.new_empty(0, 0), self.weight.new_empty(0)
            return matrix, vector, matrix, vector, 1
        return self.refine.weight, self.refine.bias, self.head.weight, self.head.bias, self.max_steps

    @torch.no_grad()
    def sample(self, count: int, weigh: Any) -> Tensor:
        """Draw images pixel by pixel, ``[count, D]``.

        Args:
            count: N.
            weigh: maps what is emitted at a pixel, ``[N, M - 1, 2]``, to weights of its logits, ``[N, M]``.
        """
        state, memory = self.running.begin(count)
        drawn = []
        for d in range(self.features):
            logits, raw = refined_steps(state.unsqueeze(0), self.weight[d : d + 1], *self._refinement())
            weighed = (weigh(raw[:, 0].movedim(0, 1)) * (logits[:, 0].t() + self.bias[d])).sum(-1)
            drawn.append(torch.bernoulli(weighed.sigmoid()))
            if d + 1 < self.features:
                state, memory = self.running.advance(memory, drawn[-1])
        return torch.stack(drawn, -1)
