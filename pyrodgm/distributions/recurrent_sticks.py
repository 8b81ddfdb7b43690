"""Stick weights of a sequence, which a recurrent network draws as it reads."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.distributions._carried import carry_run, run_of
from pyrodgm.distributions._numeric import keep_logs
from pyrodgm.distributions.kumaraswamy import Kumaraswamy
from pyrodgm.distributions.stick_breaking import StickBreaking


class Run(Protocol):
    """What a network makes of a batch of sequences; :class:`pyrodgm.nn.recurrent.Unrolled` has more.

    Attributes:
        raw: What the concentrations of the fractions come from, ``[*, T, M - 1, 2]``.
    """

    raw: Tensor


class StickNetwork(Protocol):
    """A recurrent network that draws stick weights on its way, as :class:`pyrodgm.nn.recurrent.StickBreakingRNN` does.

    Attributes:
        max_steps: Number of sticks M.
    """

    max_steps: int

    def __call__(self, x: Tensor, state: Tensor | None, noise: Tensor) -> Run:
        """Run on inputs ``[*, T, F]``, drawing the weights from noise."""

    def forward_given(self, x: Tensor, weights: Tensor, state: Tensor | None) -> Run:
        """Run with weights ``[*, T, M]``."""

    def check(self, x: Tensor, state: Tensor | None) -> torch.Size:
        """Batch shape of inputs and state, whose shapes must fit the network."""

    def draw_noise(self, x: Tensor) -> Tensor:
        """Noise for one draw of the weights on inputs ``[*, T, F]``."""

    def log_weights(self, raw: Tensor, noise: Tensor) -> Tensor:
        """Logarithms of the weights ``[*, M]`` of a run and its noise."""

    def concentrations(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Concentrations of the Kumaraswamy fractions of a run, ``[*, T, M - 1]`` each."""

    def parameters(self) -> Iterator[Any]:
        """The network's parameters."""


class RecurrentSticks(TorchDistribution):
    r"""The weights of the inner steps of a ``StickBreakingRNN`` on inputs x.

    .. math:: q(\pi \mid x) = \prod_t q(\pi_t \mid x_{\le t}, \pi_{<t})

    where each factor is a ``StickBreaking`` of Kumaraswamy fractions, whose concentrations depend on the weights drawn
    before. A draw runs the network, and carries the run with it: ``run_of`` gives it to whoever needs the hidden
    states, as long as nothing that the run came from has changed. The density at a draw takes it from there; at any
    other value the network runs on that value.

    The divergence from independent ``GEM`` priors is exact for each time step given the draw of the steps before, so it
    is that of the last draw, an unbiased estimate of the whole.

    Args:
        network: M inner steps at each of T time steps.
        x: inputs ``[*batch, T, F]``.
        state: state before the first, ``[*batch, S]``; zeros by default.
        sources: tensors that ``x`` and ``state`` were computed from, beside the network's own parameters: a run counts
            as unchanged only if they are. The default is ``x`` itself.

    Batch shape ``[*batch]``, event shape ``[T, M]``.

    Source: docs/adaptive_computation.md.

    >>> from pyrodgm.nn.recurrent import StickBreakingRNN
    >>> network = StickBreakingRNN(10, 20, max_steps=4)
    >>> q = RecurrentSticks(network, torch.zeros(3, 7, 10))
    >>> weights = q.rsample()
    >>> weights.shape, q.log_prob(weights).shape, q.run_of(weights).hidden.shape
    (torch.Size([3, 7, 4]), torch.Size([3]), torch.Size([3, 7, 20]))
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.independent(constraints.simplex, 1)
    has_rsample = True

    def __init__(
        self,
        network: StickNetwork,
        x: Tensor,
        state: Tensor | None = None,
        *,
        sources: tuple[Tensor, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        batch = network.check(x, state)
        self.network, self.x, self.state = network, x, state
        self.sources = (*(sources or (x,)), *network.parameters())
        self._last: tuple[Tensor, Any] | None = None
        super().__init__(batch, torch.Size((x.shape[-2], network.max_steps)), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RecurrentSticks":
        new = self._get_checked_instance(RecurrentSticks, _instance)
        batch_shape = torch.Size(batch_shape)
        new.network, new.sources, new._last = self.network, self.sources, None
        new.x, new.state = self._expanded(batch_shape)
        super(RecurrentSticks, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _expanded(self, batch_shape: torch.Size) -> tuple[Tensor, Tensor | None]:
        state = None if self.state is None else self.state.expand(*batch_shape, -1)
        return self.x.expand(*batch_shape, *self.x.shape[-2:]), state

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        x, state = self._expanded(self._extended_shape(sample_shape)[:-2])
        noise = self.network.draw_noise(x)
        out = self.network(x, state, noise)
        log_weights = self.network.log_weights(out.raw, noise)
        weights = log_weights.exp().to(x.dtype)
        fixed = weights.detach()
        weights = weights + (fixed.clamp(min=torch.finfo(weights.dtype).tiny) - fixed)
        self._last = weights, out
        return keep_logs(carry_run(weights, self.sources, out), log_weights)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def run_of(self, weights: Tensor) -> Any:
        """The network's run with these weights, ``[*, T, M]``: the one they were drawn in, or else a new one."""
        carried = run_of(weights, self.sources)
        if carried is not None:
            return carried
        x, state = self._expanded(weights.shape[:-2])
        return self.network.forward_given(x, weights, state)

    def fractions(self, out: Run) -> Kumaraswamy:
        """Distribution of the fractions of a run, batch shape ``[*, T, M - 1]``."""
        return Kumaraswamy(*self.network.concentrations(out.raw), validate_args=False)

    def given_past(self, out: Run) -> StickBreaking:
        """The factors of a run: distributions of batch shape ``[*, T]`` and event shape ``[M]``."""
        return StickBreaking(self.fractions(out).to_event(1), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.given_past(self.run_of(value)).log_prob(value).sum(-1)
