"""Stick weights of a sequence, which a recurrent network draws as it reads."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints, kl_divergence, register_kl

from pyrodgm.distributions import StickBreaking
from pyrodgm.distributions._numeric import keep_logs
from pyrodgm.nn.recurrent import StickBreakingRNN, Unrolled
from pyrodgm.posteriors.carried import carry_run, run_of


class RecurrentSticks(TorchDistribution):
    r"""The weights of the inner steps of a `StickBreakingRNN` on inputs x.

    .. math:: q(\pi \mid x) = \prod_t q(\pi_t \mid x_{\le t}, \pi_{<t})

    where each factor is a `StickBreaking` of Kumaraswamy fractions, whose concentrations depend on the weights drawn
    before. A draw runs the network, and carries the run with it: `run_of` gives it to whoever needs the hidden states,
    as long as nothing that the run came from has changed. The density at a draw takes it from there; at any other
    value the network runs on that value.

    The divergence from independent `GEM` priors is exact for each time step given the draw of the steps before, so it
    is that of the last draw, an unbiased estimate of the whole.

    Args:
        network: M inner steps at each of T time steps.
        x: inputs `[*batch, T, F]`.
        state: state before the first, `[*batch, S]`; zeros by default.
        sources: tensors that `x` and `state` were computed from, beside the network's own parameters: a run counts as
            unchanged only if they are. The default is `x` itself.

    Batch shape `[*batch]`, event shape `[T, M]`.

    Source: docs/adaptive_computation.md.

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
        network: StickBreakingRNN,
        x: Tensor,
        state: Tensor | None = None,
        *,
        sources: tuple[Tensor, ...] = (),
        validate_args: bool | None = None,
    ) -> None:
        batch = network._check(x, state)
        self.network, self.x, self.state = network, x, state
        self.sources = (*(sources or (x,)), *network.parameters())
        self._last: tuple[Tensor, Unrolled] | None = None
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

    def run_of(self, weights: Tensor) -> Unrolled:
        """The network's run with these weights, `[*, T, M]`: the one they were drawn in, or else a new one."""
        carried = run_of(weights, self.sources)
        if carried is not None:
            return carried
        x, state = self._expanded(weights.shape[:-2])
        return self.network.forward_given(x, weights, state)

    def given_past(self, out: Unrolled) -> StickBreaking:
        """The factors of a run: distributions of batch shape `[*, T]` and event shape `[M]`."""
        return StickBreaking(self.network.fractions(out.raw).to_event(1), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.given_past(self.run_of(value)).log_prob(value).sum(-1)


@register_kl(RecurrentSticks, torch.distributions.Independent)
def _kl_recurrent_sticks_independent(p: RecurrentSticks, q: torch.distributions.Independent) -> Tensor:
    if q.reinterpreted_batch_ndims != 1 or not isinstance(q.base_dist, StickBreaking):
        raise NotImplementedError
    if p._last is None:
        p.rsample()
    assert p._last is not None
    return kl_divergence(p.given_past(p._last[1]), q.base_dist).sum(-1)
