"""The likelihood of sentences."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables, finite_number, whole_number
from pyrodgm.distributions import Sentences
from pyrodgm.nn.recurrent import SentenceDecoder


class SentenceLikelihood(nn.Module):
    r"""Sentences written symbol by symbol, each given those before it and a context that the latents give.

    .. math:: p(x \mid z) = \prod_{t \le \tau} p\bigl(x_t \mid x_{<t}, \mathrm{context}(z)\bigr)

    Word dropout hides inputs of the decoder in training, so that it has to learn the words from the latents: each is
    replaced with the given probability by a vector that stands for a hidden one. The symbols to predict stay.

    Args:
        context: From latents ``[*, ...]`` to ``[*, C]``.
        decoder: From symbols and contexts to logits of each symbol.
        length: T, symbols of a row of data.
        end: The symbol that ends a sentence; None: all rows are full.
        word_dropout: Probability in [0, 1] that an input is hidden, in training mode alone.

    Called with latents it returns a :class:`~pyrodgm.distributions.Sentences` with batch shape ``[*]`` and event shape
    ``[T]``. Data are whole numbers, -1 after the end, of any dtype.

    Raises:
        ValueError: If a number is out of range.

    Source: Bowman et al. (2016), arXiv 1511.06349, §3.1 (word dropout).

    Example:
        >>> likelihood = SentenceLikelihood(nn.Identity(), SentenceDecoder(5, 2, 3, 8), length=4)
        >>> likelihood(torch.zeros(7, 2)).log_prob(torch.tensor([2, 0, -1, -1])).shape
        torch.Size([7])
    """

    def __init__(
        self,
        context: nn.Module,
        decoder: SentenceDecoder,
        length: int,
        end: int | None = 0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        callables(context=context, decoder=decoder)
        self.context, self.decoder = context, decoder
        self.length, self.end = whole_number("length", length), None if end is None else whole_number("end", end, 0)
        self.word_dropout = finite_number("word_dropout", word_dropout, 0.0, 1.0)

    def forward(self, *latents: Tensor) -> dist.TorchDistribution:
        context, kept = self.context(*latents), None
        if self.training and self.word_dropout > 0:
            kept = torch.rand(*context.shape[:-1], self.length, device=context.device) >= self.word_dropout
        return Sentences(self.decoder, context, self.length, self.end, kept)
