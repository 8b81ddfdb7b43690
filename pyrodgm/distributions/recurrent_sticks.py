"""Sticks of a sequence, which a recurrent network draws as it reads."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import stick_weights
from pyrodgm.arithmetic.arguments import real_tensors, validated
from pyrodgm.distributions.logits import KumaraswamyLogit
from pyrodgm.distributions.run_cache import RunCache
from pyrodgm.distributions.stick_logits import StickLogits

RUNS = RunCache()


class Run(Protocol):
    """What a network makes of a batch of sequences; :class:`pyrodgm.nn.recurrent.Unrolled` has more."""

    @property
    def raw(self) -> Tensor:
        """What the concentrations of the fractions come from, ``[*, T, M - 1, 2]``."""


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

    def concentrations(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Concentrations of the Kumaraswamy fractions of a run, ``[*, T, M - 1]`` each."""

    def parameters(self) -> Iterator[Any]:
        """The network's parameters."""


class RecurrentSticks(TorchDistribution):
    r"""The logits of the fractions that weigh the inner steps of a recurrent network on inputs x.

    .. math:: q(y \mid x) = \prod_t q(y_t \mid x_{\le t}, y_{<t})

    where each factor is a :class:`StickLogits` of Kumaraswamy fractions, whose concentrations depend on the weights
    drawn before. A draw and the density at a value each take a run of the network; that of a draw is kept as long as
    the draw lives (:class:`RunCache`), which changes no result.

    The divergence from independent :class:`GEMLogits` is exact for each time step given the steps before it:
    :func:`divergence_given` takes these from a draw, ``torch.distributions.kl_divergence`` from a new one.

    Args:
        network: M inner steps at each of T time steps.
        x: inputs ``[*batch, T, F]``.
        state: state before the first, ``[*batch, S]``; zeros by default.
        sources: tensors that ``x`` and ``state`` were computed from, beside the network's own parameters: by these a
            run is known again where ``x`` is computed anew. The default is ``x`` itself.

    Batch shape ``[*batch]``, event shape ``[T, M - 1]``.

    Source: docs/adaptive_computation.md.

    >>> from pyrodgm.nn.recurrent import StickBreakingRNN
    >>> network = StickBreakingRNN(10, 20, max_steps=4)
    >>> q = RecurrentSticks(network, torch.zeros(3, 7, 10))
    >>> logits = q.rsample()
    >>> logits.shape, q.log_prob(logits).shape, q.run(logits).hidden.shape
    (torch.Size([3, 7, 3]), torch.Size([3]), torch.Size([3, 7, 20]))
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.independent(constraints.real, 2)
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
        if not callable(getattr(network, "check", None)):
            raise TypeError(f"network must be a StickBreakingRNN, got {network!r}")
        real_tensors(x=x)
        validated(x=x)
        if not isinstance(sources, tuple):
            raise TypeError(f"sources must be a tuple of tensors, got {sources!r}")
        batch = network.check(x, state)
        self.network, self.x, self.state = network, x, state
        self.sources = (*(sources or (x,)), *network.parameters())
        super().__init__(batch, torch.Size((x.shape[-2], network.max_steps - 1)), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RecurrentSticks":
        new = self._get_checked_instance(RecurrentSticks, _instance)
        batch_shape = torch.Size(batch_shape)
        new.network, new.sources = self.network, self.sources
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
        logits = self._fractions(out).transport(noise).to(x.dtype)
        RUNS.keep(logits, self.sources, (torch.is_grad_enabled(), out))
        return logits

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def run(self, value: Tensor) -> Any:
        """The network's run with the weights of these logits, ``[*, T, M - 1]``."""
        known = find_run(value, self.sources)
        if known is not None:
            return known
        batch = torch.broadcast_shapes(value.shape[:-2], self.batch_shape)
        x, state = self._expanded(batch)
        return self.network.forward_given(x, stick_weights(value.expand(*batch, *self.event_shape)), state)

    def _fractions(self, out: Run) -> KumaraswamyLogit:
        return KumaraswamyLogit(*self.network.concentrations(out.raw), validate_args=False)

    def given_past(self, out: Run) -> StickLogits:
        """The factors of a run: distributions of batch shape ``[*, T]`` and event shape ``[M - 1]``."""
        return StickLogits(self._fractions(out), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.given_past(self.run(value)).log_prob(value).sum(-1)


def find_run(logits: Tensor, sources: tuple[Tensor, ...]) -> Any:
    """The run of a network that drew these logits, None if there was none or something has changed since."""
    known = RUNS.find(logits, sources)
    # A run without gradients serves only where none are asked for.
    return known[1] if known is not None and (known[0] or not torch.is_grad_enabled()) else None
