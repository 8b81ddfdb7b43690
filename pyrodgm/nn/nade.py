"""The network of a neural autoregressive density estimator, with or without refinement of its hidden units."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from pyrodgm.arithmetic.arguments import finite_number, finite_tensor, one_of, whole_number
from pyrodgm.nn.recurrent import RecurrentNetwork
from pyrodgm.nn.recurrent.weights import raw_start


class RunningSum(nn.Module):
    r"""State before each pixel as a sum over the pixels that are on, :math:`a_d = c + \sum_{j<d} W_j x_j`.

    All pixels at once: sums within blocks of :math:`\sqrt D` pixels by one product with a triangular mask, and before
    blocks by a cumulative sum over these.

    Shape:
        ``[N, D]`` to ``[D, N, H]``.
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, hidden).uniform_(-1, 1) / math.sqrt(features))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.block = math.ceil(math.sqrt(features))

    def forward(self, x: Tensor) -> Tensor:
        count, features = x.shape
        missing = -features % self.block
        blocks = pad(x, (0, missing)).view(count, -1, self.block).movedim(1, 0)
        weight = pad(self.weight, (0, 0, 0, missing)).view(len(blocks), self.block, -1)
        ends = torch.bmm(blocks, weight).cumsum(0) + self.bias
        starts = torch.cat([self.bias.expand_as(ends[:1]), ends[:-1]])
        earlier = torch.ones(self.block, self.block, dtype=x.dtype, device=x.device).tril(-1)
        # [blocks, pixel, N, earlier pixel]
        within = (blocks.unsqueeze(1) * earlier.unsqueeze(1)).flatten(1, 2)
        state = torch.bmm(within, weight).view(len(blocks), self.block, count, -1) + starts.unsqueeze(1)
        return state.flatten(0, 1)[:features]

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
        logits, raw = self._steps(self.running(flat), self.weight.unsqueeze(-1), self.bias.unsqueeze(-1))
        # [D, N, ...] as they come
        return (
            logits.movedim(1, 0).reshape(*x.shape, self.max_steps),
            raw.movedim(1, 0).reshape(*x.shape, self.max_steps - 1, 2),
        )

    def _steps(self, state: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``[D, N, M]`` and what is emitted ``[D, N, M - 1, 2]``, from states ``[D, N, H]``."""
        hidden = state.sigmoid()
        logits, raw = [torch.matmul(hidden, weight).squeeze(-1) + bias], []
        for _ in range(self.max_steps - 1):
            raw.append(self.head(hidden))
            hidden = (state + linear(hidden, self.refine.weight, self.refine.bias)).sigmoid()
            logits.append(torch.matmul(hidden, weight).squeeze(-1) + bias)
        emitted = torch.stack(raw, -2) if raw else state.new_empty(*state.shape[:2], 0, 2)
        return torch.stack(logits, -1), emitted

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
            logits, raw = self._steps(state.unsqueeze(0), self.weight[d, None, :, None], self.bias[d, None, None])
            drawn.append(torch.bernoulli((weigh(raw[0]) * logits[0]).sum(-1).sigmoid()))
            if d + 1 < self.features:
                state, memory = self.running.advance(memory, drawn[-1])
        return torch.stack(drawn, -1)
