"""Data whose parts depend on each other, without latents."""

import pyro
from pyro.nn import pyro_method
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import callables
from pyrodgm.models.pair import Pair


class LanguageModel(Pair):
    r"""Sentences without latents: what a sentence VAE is compared with.

    .. math:: p(x) = \prod_{t \le \tau} p(x_t \mid x_{<t})

    Args:
        likelihood: Called with empty vectors ``[batch, 0]``, returns the distribution of ``x``; a
            :class:`~pyrodgm.likelihoods.SentenceLikelihood` whose decoder has a context of size 0 serves.

    ``model(x)`` and ``guide(x)`` take data ``[batch, T]``; the data plate is ``"data"``, the only site ``"x"``. The
    log-likelihood is exact, whatever number of samples is asked for.

    Source: Mikolov et al. (2010), "Recurrent neural network based language model", Interspeech.

    Example:
        >>> import torch
        >>> from pyrodgm.infer import log_likelihood
        >>> from pyrodgm.likelihoods import SentenceLikelihood
        >>> from pyrodgm.nn.recurrent import SentenceDecoder
        >>> pair = LanguageModel(SentenceLikelihood(nn.Identity(), SentenceDecoder(5, 0, 3, 8), length=3))
        >>> log_likelihood(pair, torch.tensor([[2, 0, -1], [1, 4, 0]])).values.shape
        torch.Size([2])
    """

    def __init__(self, likelihood: nn.Module) -> None:
        super().__init__()
        callables(likelihood=likelihood)
        self.likelihood = likelihood

    @pyro_method
    def model(self, x: Tensor) -> None:
        like = next(self.parameters())
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("x", self.likelihood(like.new_zeros(x.shape[0], 0)), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        pass
