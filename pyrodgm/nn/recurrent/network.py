"""Recurrent networks whose cells may be updated several times before the next input."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pyrodgm.arithmetic.arguments import one_of, whole_number
from pyrodgm.nn.recurrent.cells import CELLS
from pyrodgm.nn.recurrent.early_stop import StoppingRule, run_with_early_stop
from pyrodgm.nn.recurrent.unroll import unroll
from pyrodgm.nn.recurrent.weights import RULES


@dataclass(frozen=True)
class Unrolled:
    """What a recurrent network makes of a batch of sequences.

    Attributes:
        hidden: hidden state at each time step, ``[*, T, H]``.
        state: state after the last one, ``[*, S]``, to go on from.
        weights: weights of the inner steps, ``[*, T, M]``, without gradient; M is 1 for a plain network.
        raw: what the inner states emitted, ``[*, T, M - 1, heads]``.
        num_steps: how many inner steps were computed, ``[*, T]`` (integers).
    """

    hidden: Tensor
    state: Tensor
    weights: Tensor
    raw: Tensor
    num_steps: Tensor


class RecurrentNetwork(nn.Module):
    r"""A plain LSTM or GRU, and the base of those whose computation adapts.

    Weights start uniform in :math:`\pm 1 / \sqrt H`, biases at 0, those of an LSTM's forget gate at 1.

    Args:
        input_size: F, features of an input.
        hidden_size: H, units of the hidden state.
        cell: "lstm", whose state is the hidden one and the cell, S = 2H; or "gru", S = H.

    Shape:
        inputs ``[*, T, F]`` and state ``[*, S]`` (zeros by default) to the fields of ``Unrolled``.

    Raises:
        ValueError: a size is not positive, there is no such cell, or inputs or state have another shape.

    Sources: Hochreiter and Schmidhuber (1997), Neural Computation 9, 1735; Cho et al. (2014), arXiv 1406.1078.

    >>> network = RecurrentNetwork(10, 20, "gru")
    >>> out = network(torch.zeros(3, 7, 10))
    >>> out.hidden.shape, out.state.shape, out.weights.shape
    (torch.Size([3, 7, 20]), torch.Size([3, 20]), torch.Size([3, 7, 1]))
    """

    rule = "given"  # a key of RULES: how the inner steps are weighed

    def __init__(self, input_size: int, hidden_size: int, cell: str = "lstm", *, max_steps: int = 1) -> None:
        super().__init__()
        input_size, hidden_size = whole_number("input_size", input_size), whole_number("hidden_size", hidden_size)
        max_steps = whole_number("max_steps", max_steps)
        one_of("cell", cell, CELLS)
        self.input_size, self.hidden_size, self.cell, self.max_steps = input_size, hidden_size, cell, max_steps
        kind = CELLS[cell]
        self.state_size = kind.parts * hidden_size
        gates = kind.input_gates * hidden_size
        self.input_weight = nn.Parameter(torch.empty(gates, input_size))
        self.hidden_weight = nn.Parameter(torch.empty(kind.hidden_gates * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(gates))
        if cell == "gru":
            self.candidate_bias = nn.Parameter(torch.zeros(hidden_size))
        if max_steps > 1:
            self.flag = nn.Parameter(torch.empty(gates))
            self.head_weight = nn.Parameter(torch.empty(RULES[self.rule].heads, hidden_size))
            self.head_bias = nn.Parameter(torch.zeros(len(self.head_weight)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size)
        with torch.no_grad():
            self.input_weight.uniform_(-bound, bound)
            self.hidden_weight.uniform_(-bound, bound)
            if self.cell == "lstm":
                self.bias[self.hidden_size : 2 * self.hidden_size] = 1.0
            if self.max_steps > 1:
                self.flag.uniform_(-bound, bound)
                self.head_weight.uniform_(-0.1 * bound, 0.1 * bound)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Unrolled:
        return self._unroll(x, state, x.new_zeros(x.shape[-2], 1, 1))

    def evaluate(
        self, x: Tensor, state: Tensor | None = None, *, tolerance: float = 0.0, mean: bool = False
    ) -> Unrolled:
        """Like ``forward``, without gradients, and for adaptive networks with fewer inner steps where they suffice.

        Args:
            x: inputs ``[*, T, F]``.
            state: ``[*, S]``.
            tolerance: a row of the batch stops where less than this is left of its weights; the last step takes it.
            mean: use the expected weights where weights are random.
        """
        if self.max_steps == 1:
            with torch.no_grad():
                return self(x, state)
        return self._run_with_early_stop(x, state, self._stopping_rule(tolerance, mean))

    def _stopping_rule(self, tolerance: float, mean: bool) -> StoppingRule:
        raise NotImplementedError(f"{type(self).__name__} must define how it stops")

    def _unroll(self, x: Tensor, state: Tensor | None, given: Tensor, rule: str | None = None) -> Unrolled:
        """Run on ``given``, what the rule needs beside the states, ``[T, *]``."""
        batch = self.check(x, state)
        flag, head_weight, head_bias = self._adaptive_parameters()
        hidden, last, raw, weights = unroll(
            self._project(x, batch),
            flag,
            self.hidden_weight,
            self._candidate_bias(),
            self._split(state, batch, x),
            head_weight,
            head_bias,
            given,
            self.cell,
            rule or self.rule,
            self.max_steps,
        )
        length = x.shape[-2]
        return Unrolled(
            hidden.movedim(0, 1).reshape(*batch, length, self.hidden_size),
            last.movedim(0, 1).reshape(*batch, self.state_size),
            weights.movedim(-1, 0).reshape(*batch, length, self.max_steps),
            raw.movedim(2, 0).reshape(*batch, *raw.shape[:2], raw.shape[-1]),
            torch.full((*batch, length), self.max_steps, device=x.device),
        )

    @torch.no_grad()
    def _run_with_early_stop(self, x: Tensor, state: Tensor | None, rule: StoppingRule) -> Unrolled:
        batch = self.check(x, state)
        flag, head_weight, head_bias = self._adaptive_parameters()

        def emit(hidden: Tensor) -> Tensor:
            return linear(hidden, head_weight, head_bias)

        hidden, last, weights, num_steps = run_with_early_stop(
            self._project(x, batch),
            flag,
            self.hidden_weight,
            self._candidate_bias(),
            self._split(state, batch, x),
            emit,
            rule,
            self.cell,
            self.max_steps,
        )
        length = x.shape[-2]
        return Unrolled(
            hidden.movedim(0, 1).reshape(*batch, length, self.hidden_size),
            last.movedim(0, 1).reshape(*batch, self.state_size),
            weights.movedim(-1, 0).reshape(*batch, length, self.max_steps),
            hidden.new_empty(*batch, length, 0, 0),
            num_steps.movedim(0, 1).reshape(*batch, length),
        )

    def check(self, x: Tensor, state: Tensor | None) -> torch.Size:
        """Batch shape of inputs ``[*, T, F]`` and state ``[*, S]``; ValueError where they do not fit the network."""
        if x.dim() < 2 or x.shape[-1] != self.input_size:
            raise ValueError(f"x: expected shape [*, T, {self.input_size}], got {list(x.shape)}")
        batch = x.shape[:-2]
        if state is not None and state.shape != (*batch, self.state_size):
            raise ValueError(f"state: expected shape {[*batch, self.state_size]}, got {list(state.shape)}")
        return batch

    def _project(self, x: Tensor, batch: torch.Size) -> Tensor:
        """The input's part of all gates at all time steps, ``[T, B, gates H]``, in one product."""
        flat = x.reshape(-1, *x.shape[-2:]) if batch else x.unsqueeze(0)
        return linear(flat.movedim(1, 0), self.input_weight, self.bias).contiguous()

    def _split(self, state: Tensor | None, batch: torch.Size, x: Tensor) -> Tensor:
        if state is None:
            state = x.new_zeros(*batch, self.state_size)
        return state.reshape(-1, CELLS[self.cell].parts, self.hidden_size).movedim(1, 0).contiguous()

    def _candidate_bias(self) -> Tensor:
        return self.candidate_bias if self.cell == "gru" else self.bias[:0]

    def _adaptive_parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.max_steps > 1:
            return self.flag, self.head_weight, self.head_bias
        return torch.zeros_like(self.bias), self.hidden_weight[:0], self.bias[:0]
