"""Networks of sentences: rows of symbols, each row as long as the longest, with -1 after the end."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pyrodgm.arithmetic.arguments import whole_number
from pyrodgm.nn.recurrent.network import RecurrentNetwork


class SentenceFeatures(nn.Module):
    """Sentences as sequences of real vectors: embedded symbols, and which of them is the last.

    Args:
        num_symbols: V, symbols from 0 on.
        embedding: E, features of a symbol.

    Shape:
        sentences ``[*, T]`` of whole numbers, -1 after the end, to ``[*, T, E + 1]``. The last feature is 1 at the last
        symbol and 0 elsewhere; all are 0 after it.

    >>> SentenceFeatures(5, 3)(torch.tensor([[2, 0, -1]]))[..., -1]
    tensor([[0., 1., 0.]], grad_fn=<SelectBackward0>)
    """

    def __init__(self, num_symbols: int, embedding: int) -> None:
        super().__init__()
        self.num_symbols = whole_number("num_symbols", num_symbols, 2)
        self.embedding = nn.Embedding(self.num_symbols, whole_number("embedding", embedding))

    def forward(self, x: Tensor) -> Tensor:
        inside = x >= 0
        is_last = inside & ~pad(inside[..., 1:], (0, 1))
        embedded = torch.where(inside.unsqueeze(-1), self.embedding(x.long().clamp(0, self.num_symbols - 1)), 0.0)
        return torch.cat([embedded, is_last.unsqueeze(-1).to(embedded.dtype)], -1)


class SentenceEncoder(nn.Module):
    """The state of an LSTM or GRU at the last symbol, and a linear layer.

    The weight of each state is the last feature, so that what comes after a sentence has none. Features that are
    learned, as those of pseudo-inputs are, may spread it over several places.

    Args:
        embedding: E, features of a symbol.
        hidden: H, units of the recurrent network.
        outputs: Numbers per sentence.
        cell: "lstm" or "gru".

    Shape:
        features ``[*, T, E + 1]`` of :class:`SentenceFeatures` to ``[*, outputs]``.

    >>> SentenceEncoder(3, 8, 2)(torch.zeros(4, 7, 4)).shape
    torch.Size([4, 2])
    """

    def __init__(self, embedding: int, hidden: int, outputs: int, cell: str = "lstm") -> None:
        super().__init__()
        self.network = RecurrentNetwork(whole_number("embedding", embedding), whole_number("hidden", hidden), cell)
        self.out = nn.Linear(hidden, whole_number("outputs", outputs))

    def forward(self, features: Tensor) -> Tensor:
        states = self.network(features[..., :-1]).hidden
        return self.out((features[..., -1:] * states).sum(-2))


class SentenceDecoder(nn.Module):
    """An LSTM or GRU that predicts each symbol from those before it and a context.

    The context gives the first state and is an input at every step. An input may be left out, which a vector of its own
    then says.

    Args:
        num_symbols: V, symbols from 0 on.
        context_size: C, features of the context; 0 for a language model, which has none.
        embedding: E, features of a symbol.
        hidden: H, units of the recurrent network.
        cell: "lstm" or "gru".

    Shape:
        sentences ``[*, T]``, context ``[*, C]`` and, if wanted, which inputs are kept, ``[*, T]``, to logits
        ``[*, T, V]``.

    >>> SentenceDecoder(5, 2, 3, 8)(torch.tensor([[2, 0, -1]]), torch.zeros(4, 1, 2)).shape
    torch.Size([4, 1, 3, 5])
    """

    def __init__(self, num_symbols: int, context_size: int, embedding: int, hidden: int, cell: str = "lstm") -> None:
        super().__init__()
        self.num_symbols, self.context_size = whole_number("num_symbols", num_symbols, 2), context_size
        context_size = whole_number("context_size", context_size, 0)
        self.embedding = nn.Embedding(num_symbols + 2, whole_number("embedding", embedding))
        self.network = RecurrentNetwork(embedding + context_size, whole_number("hidden", hidden), cell)
        self.start = nn.Linear(context_size, self.network.state_size) if context_size else None
        self.out = nn.Linear(hidden, num_symbols)

    def forward(self, x: Tensor, context: Tensor, kept: Tensor | None = None) -> Tensor:
        before = pad(x.long()[..., :-1].clamp(0, self.num_symbols - 1), (1, 0), value=self.num_symbols)
        if kept is not None:
            before = torch.where(kept, before, self.num_symbols + 1)
        batch = torch.broadcast_shapes(before.shape[:-1], context.shape[:-1])
        embedded = self.embedding(before).expand(*batch, -1, -1)
        return self.out(self.network(*self._inputs(embedded, context.expand(*batch, -1))).hidden)

    @torch.no_grad()
    def draw(self, context: Tensor, length: int, choose: Callable[[Tensor], Tensor], end: int | None) -> Tensor:
        """Sentences ``[*, length]`` for contexts ``[*, C]``, symbol by symbol.

        Args:
            context: The contexts.
            length: Symbols at most.
            choose: Makes symbols ``[*]`` of logits ``[*, V]``.
            end: The symbol that ends a sentence, if any.
        """
        x, drawn = context.new_full(context.shape[:-1], self.num_symbols, dtype=torch.int64), []
        over, state = torch.zeros_like(x, dtype=torch.bool), None
        for _ in range(length):
            features, first = self._inputs(self.embedding(x).unsqueeze(-2), context)
            out = self.network(features, first if state is None else state)
            x, state = choose(self.out(out.hidden.squeeze(-2))), out.state
            drawn.append(torch.where(over, -1, x))
            over = over if end is None else over | (x == end)
        return torch.stack(drawn, -1)

    def _inputs(self, embedded: Tensor, context: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of each step, and the first state."""
        if self.start is None:
            return embedded, None
        every = context.unsqueeze(-2).expand(*embedded.shape[:-1], -1)
        return torch.cat([embedded, every], -1), self.start(context).tanh()
