"""The batch-normalised LSTM."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.nn.recurrent.network import RecurrentNetwork, Unrolled
from pyrodgm.processes import current_share, register_state
from pyrodgm.processes.collectives import batch_moments


class BatchNormLSTM(RecurrentNetwork):
    r"""An LSTM whose input product, hidden product and cell are normalised over the batch.

    .. math:: (i, f, g, o) = \mathrm{BN}(W_h h_{t-1}) + \mathrm{BN}(W_x x_t) + b, \quad
        c_t = f c_{t-1} + i g, \quad h_t = o \tanh(\mathrm{BN}(c_t))

    with the activations of an LSTM. Each position after the start of a stream has statistics of its own, the last one's
    serve all later positions; the state counts positions, so that a stream that is cut into windows goes on. In
    training the statistics are those of the batch, of all processes that share it, in evaluation running means.

    Args:
        input_size: F, features of an input.
        hidden_size: H, units of the hidden state.
        max_positions: how many positions have statistics of their own.
        scale: where the scales of the normalised products and cell start.
        momentum: share of a batch in a running mean, in (0, 1].

    Shape:
        inputs ``[*, T, F]`` and state ``[*, 2H + 1]`` (zeros by default) to the fields of ``Unrolled``.

    Raises:
        ValueError: in training, the batch has fewer than two rows; or as in ``RecurrentNetwork``.

    Source: Cooijmans et al. (2016), arXiv 1603.09025, eq. 6 to 8.

    >>> network = BatchNormLSTM(10, 20)
    >>> network(torch.zeros(3, 7, 10)).hidden.shape
    torch.Size([3, 7, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        max_positions: int = 100,
        scale: float = 0.1,
        momentum: float = 0.1,
    ) -> None:
        super().__init__(input_size, hidden_size, "lstm")
        hidden_size, scale = self.hidden_size, finite_number("scale", scale, above=0.0)
        self.max_positions = max_positions = whole_number("max_positions", max_positions)
        self.momentum = finite_number("momentum", momentum, most=1.0, above=0.0)
        self.state_size = 2 * hidden_size + 1
        for name, size in (("input", 4 * hidden_size), ("hidden", 4 * hidden_size), ("cell", hidden_size)):
            setattr(self, f"{name}_scale", nn.Parameter(torch.full((size,), scale)))
            register_state(self, "replicated", f"{name}_mean", torch.zeros(max_positions, size))
            register_state(self, "replicated", f"{name}_variance", torch.ones(max_positions, size))
        self.cell_shift = nn.Parameter(torch.zeros(hidden_size))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            nn.init.orthogonal_(self.input_weight)
            for gate in self.hidden_weight.chunk(4):
                nn.init.orthogonal_(gate)

    def forward(self, x: Tensor, state: Tensor | None = None) -> Unrolled:
        batch = self.check(x, state)
        flat = x.reshape(-1, *x.shape[-2:])
        share = current_share()
        rows = len(flat) if share is None else len(flat) // share.count * share.total
        if self.training and rows < 2:
            raise ValueError(f"x: expected at least two rows to normalise over in training, got shape {list(x.shape)}")
        state = flat.new_zeros(len(flat), self.state_size) if state is None else state.reshape(-1, self.state_size)
        h, c, position = state[:, : self.hidden_size], state[:, self.hidden_size : -1], state[0, -1].long()
        length = flat.shape[1]
        at = (position + torch.arange(length, device=x.device)).clamp(max=self.max_positions - 1)
        inputs, cells, hiddens = (_Normalizer(self, name, at) for name in ("input", "cell", "hidden"))
        projected = linear(flat.movedim(1, 0), self.input_weight)
        hidden = []
        for t in range(length):
            gates = inputs(projected[t], t) + hiddens(linear(h, self.hidden_weight), t) + self.bias
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * (cells(c, t) + self.cell_shift).tanh()
            hidden.append(h)
        for normalizer in (inputs, cells, hiddens):
            normalizer.update()
        end = torch.cat([h, c, state[:, -1:] + length], -1)
        return Unrolled(
            torch.stack(hidden, 1).reshape(*batch, length, self.hidden_size),
            end.reshape(*batch, self.state_size),
            torch.ones(*batch, length, 1, dtype=torch.float64, device=x.device),
            h.new_empty(*batch, length, 0, 0),
            torch.ones(*batch, length, dtype=torch.int64, device=x.device),
        )


class _Normalizer:
    """Normalises one of the three quantities at each time step, and afterwards moves its running statistics."""

    def __init__(self, network: BatchNormLSTM, name: str, at: Tensor) -> None:
        self.training, self.momentum, self.at = network.training, network.momentum, at
        self.scale = getattr(network, f"{name}_scale")
        self.running = getattr(network, f"{name}_mean"), getattr(network, f"{name}_variance")
        self.fixed = [running.index_select(0, at) for running in self.running]
        self.seen: tuple[list[Tensor], list[Tensor]] = ([], [])

    def __call__(self, value: Tensor, t: int) -> Tensor:
        if self.training:
            variance, mean = batch_moments(value)
            self.seen[0].append(mean.detach())
            self.seen[1].append(variance.detach())
        else:
            mean, variance = self.fixed[0][t], self.fixed[1][t]
        return (value - mean) * ((variance + 1e-5).rsqrt() * self.scale)

    def update(self) -> None:
        if not self.training:
            return
        # Several time steps may share the last position: it moves towards their mean.
        ones = torch.ones_like(self.at, dtype=self.scale.dtype)
        count = self.scale.new_zeros(len(self.running[0])).index_add(0, self.at, ones).unsqueeze(-1)
        for running, seen in zip(self.running, self.seen, strict=True):
            total = torch.zeros_like(running).index_add(0, self.at, torch.stack(seen))
            running.add_(torch.where(count > 0, total / count.clamp(min=1.0) - running, 0.0) * self.momentum)
