"""Perplexity of sentences."""

import math
from dataclasses import dataclass

from pyrodgm.infer.evaluation.result import LogLikelihood


@dataclass(frozen=True)
class Perplexity:
    """Perplexity per symbol: the exponential of the mean negative log-likelihood per symbol, in nats.

    Attributes:
        value: The perplexity; at least 1, up to the error of the estimate.
        standard_error: Standard error over the sentences, errors of estimated log-partition functions included.
        num_symbols: Number of symbols in all sentences, end symbols included.
    """

    value: float
    standard_error: float
    num_symbols: int

    @property
    def bits(self) -> float:
        """Bits per symbol."""
        return math.log2(self.value)

    def __str__(self) -> str:
        return f"perplexity {self.value:.2f} ± {self.standard_error:.2f} ({self.num_symbols} symbols)"


def perplexity(likelihood: LogLikelihood) -> Perplexity:
    r"""Perplexity per symbol of sentences, from their log-likelihoods.

    .. math:: \exp\Bigl(-\frac{\sum_n \log p(x_n)}{\sum_n \tau_n}\Bigr)

    Args:
        likelihood: Log-likelihoods of sentences, whose data are rows ``[N, T]`` of integers padded with -1 after the
            end symbol. :math:`\tau_n` counts the symbols of sentence n, its end symbol included.

    Returns:
        The perplexity, with the standard error of a ratio over the sentences (the delta method).

    Raises:
        TypeError: If ``likelihood`` is no :class:`LogLikelihood`.
        ValueError: If its data are not such rows.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import log_likelihood
        >>> from pyrodgm.likelihoods import SentenceLikelihood
        >>> from pyrodgm.models import LanguageModel
        >>> from pyrodgm.nn.recurrent import SentenceDecoder
        >>> pair = LanguageModel(SentenceLikelihood(torch.nn.Identity(), SentenceDecoder(5, 0, 3, 8), length=3))
        >>> perplexity(log_likelihood(pair, torch.tensor([[2, 0, -1], [1, 4, 0]]))).num_symbols
        5
    """
    if not isinstance(likelihood, LogLikelihood):
        raise TypeError(f"likelihood must be a LogLikelihood, got {likelihood!r}")
    x = likelihood.x
    if x.dim() != 2 or not bool((x == x.round()).all()) or not bool((x[:, 0] >= 0).all()):
        raise ValueError(f"likelihood must be that of rows [N, T] of symbols, got data {list(x.shape)} of {x.dtype}")
    counts = (x >= 0).sum(1).cpu().double()
    nats, total = -likelihood.values, counts.sum()
    rate = nats.sum() / total
    spread = (nats - rate * counts).square().sum() * len(x) / max(len(x) - 1, 1)
    value, shared = float(rate.exp()), likelihood.shared_error * len(x)  # the error is common to all sentences
    return Perplexity(value, value * math.hypot(float(spread.sqrt()), shared) / float(total), int(total))
