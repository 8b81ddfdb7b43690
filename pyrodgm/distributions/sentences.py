"""Rows of symbols that depend on each other, up to one that ends them."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from pyro.distributions import Categorical, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import callables, real_tensors, validated, whole_number


class SymbolNetwork(Protocol):
    """Gives the logits of each symbol from the symbols before it and a context."""

    num_symbols: int
    context_size: int

    def __call__(self, x: Tensor, context: Tensor, kept: Tensor | None = None) -> Tensor:
        """Logits ``[*, T, V]`` for sentences ``[*, T]``, contexts ``[*, C]`` and inputs to keep, ``[*, T]``."""

    def draw(self, context: Tensor, length: int, choose: Callable[[Tensor], Tensor], end: int | None) -> Tensor:
        """Sentences ``[*, length]``, symbol by symbol."""


class SentenceConstraint(constraints.Constraint):
    """Rows of symbols from 0 to V - 1 up to the first ``end``, and -1 after it; a row without one is full.

    Args:
        num_symbols: V.
        end: The symbol that ends a sentence; None: all rows are full.
    """

    event_dim, is_discrete = 1, True

    def __init__(self, num_symbols: int, end: int | None) -> None:
        self.num_symbols, self.end = num_symbols, end
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        outside = value == -1
        over = outside if self.end is None else outside | (value == self.end)
        expected = torch.cat([torch.zeros_like(over[..., :1]), over[..., :-1]], -1)
        fine = (value == value.round()) & (value >= -1) & (value < self.num_symbols)
        return (fine & (outside == expected)).all(-1)

    def __repr__(self) -> str:
        ends = "" if self.end is None else f" up to the first {self.end}, then -1"
        return f"SentenceConstraint(0 to {self.num_symbols - 1}{ends})"


class Sentences(TorchDistribution):
    r"""Rows of symbols, each drawn given those before it, up to one that ends the row.

    .. math:: \log p(x) = \sum_{t \le \tau} \log \mathrm{softmax}\bigl(f(x_{<t}, c)\bigr)_{x_t}, \qquad
        \tau = \min\bigl(T, \min \{t : x_t = \mathrm{end}\}\bigr)

    The end counts as a symbol. What comes after it is -1, adds exactly 0 and has no gradient. Rows without an end are
    the beginnings of longer ones: probabilities of all rows of length T sum to 1.

    Args:
        net: Gives logits from the symbols before and the context, as :class:`pyrodgm.nn.recurrent.SentenceDecoder`.
        context: c, ``[*batch, C]``.
        length: T.
        end: The symbol that ends a sentence; None: all rows are full.
        kept: Inputs that the network sees, ``[*batch, T]`` of truth values; None: all.

    Batch shape ``[*batch]``, event shape ``[T]``; log-probabilities are in nats, draws int64. It has no mean. What
    :class:`pyrodgm.likelihoods.SentenceLikelihood` returns.

    Source: Bowman et al. (2016), arXiv 1511.06349, §2.2.
    """

    arg_constraints = {"context": constraints.independent(constraints.real, 1)}  # noqa: RUF012
    has_rsample = False

    def __init__(
        self,
        net: SymbolNetwork,
        context: Tensor,
        length: int,
        end: int | None = 0,
        kept: Tensor | None = None,
        *,
        validate_args: bool | None = None,
    ) -> None:
        callables(net=net)
        real_tensors(context=context)
        validated(context=context)
        if context.dim() < 1 or context.shape[-1] != net.context_size:
            raise ValueError(f"context must have shape [*, {net.context_size}], got {list(context.shape)}")
        length = whole_number("length", length)
        end = None if end is None else whole_number("end", end, 0)
        if end is not None and end >= net.num_symbols:
            raise ValueError(f"end must be a symbol below {net.num_symbols}, got {end}")
        self.net, self.context, self.end, self.kept = net, context, end, kept
        super().__init__(context.shape[:-1], torch.Size([length]), validate_args=validate_args)

    @property
    def support(self) -> Any:
        return SentenceConstraint(self.net.num_symbols, self.end)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Sentences":
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        kept = None if self.kept is None else self.kept.expand(*batch_shape, -1)
        args = self.net, context, *self.event_shape, self.end, kept
        return Sentences(*args, validate_args=self._validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits = self.net(value, self.context, self.kept)
        symbols = value.long().clamp(0, logits.shape[-1] - 1).expand(logits.shape[:-1]).unsqueeze(-1)
        each = logits.gather(-1, symbols).squeeze(-1) - logits.logsumexp(-1)
        return torch.where(self._counts(value), each, 0.0).sum(-1)

    def conditionals(self, value: Tensor) -> TorchDistribution:
        """The distribution of each symbol given those before it in ``value``, masked where none counts: independent."""
        logits = self.net(value, self.context, self.kept)
        return Categorical(logits=logits, validate_args=False).mask(self._counts(value)).to_event(1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draws ``[*sample, *batch, T]``."""
        return self._draw(sample_shape, lambda logits: Categorical(logits=logits, validate_args=False).sample())

    def greedy(self) -> Tensor:
        """The sentences whose every symbol is the most probable one after those before it, ``[*batch, T]``."""
        return self._draw((), lambda logits: logits.argmax(-1))

    def _draw(self, sample_shape: Any, choose: Callable[[Tensor], Tensor]) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        context = self.context.expand(*shape, self.context.shape[-1])
        return self.net.draw(context, self.event_shape[0], choose, self.end)

    def _counts(self, value: Tensor) -> Tensor:
        """Which places hold symbols, up to the first end."""
        inside = value >= 0
        if self.end is None:
            return inside
        ends = (value == self.end).long()
        return inside & (ends.cumsum(-1) - ends == 0)
