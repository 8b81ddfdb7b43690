"""Sequence models whose network may compute several inner steps a time step."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyro
import torch
from pyro.nn import pyro_method
from torch import Tensor, nn
from torch.distributions import kl_divergence

from pyrodgm.arithmetic.arguments import callables, finite_number, whole_number
from pyrodgm.distributions import GEMLogits, KumaraswamyLogit, RecurrentSticks, StickLogits
from pyrodgm.distributions.recurrent_sticks import find_run
from pyrodgm.likelihoods import CategoricalLikelihood
from pyrodgm.models.pair import Pair
from pyrodgm.nn import stick_weights
from pyrodgm.nn.recurrent import AdaptiveComputationTime, RecurrentNetwork, StickBreakingRNN, Unrolled
from pyrodgm.processes import current_share, gather_rows, register_state


@dataclass(frozen=True)
class Prediction:
    """What a sequence model predicts, without gradients.

    Attributes:
        log_prob: log p(y_t | x up to t), ``[*, T]`` in nats, of the mean prediction of all samples.
        state: states of the samples after the last time step, ``[num_samples, *, S]``.
        divergence: divergence of the weights from their prior, ``[*, T]`` in nats; zeros where nothing is random, NaN
            where steps were left out.
        num_steps: inner steps computed, ``[*, T]``, mean over the samples.
        mean_step: mean index of an inner step under its weights, ``[*, T]``, from 1 to M.
    """

    log_prob: Tensor
    state: Tensor
    divergence: Tensor
    num_steps: Tensor
    mean_step: Tensor


class SequenceModel(Pair):
    r"""Targets y given inputs x by a recurrent network, plain or adaptive.

    .. math:: \log p(y \mid x) \ge \mathbb E_q \sum_t \Big[ \log p(y_t \mid x_{\le t}, \pi_{\le t})
        - \mathrm{KL}\big(q(\pi_t \mid x_{\le t}, \pi_{<t}) \,\|\, \mathrm{GEM}(\alpha)\big) \Big]

    With a ``StickBreakingRNN`` the logits of the sticks that weigh the inner steps are the latent site "sticks",
    ``[T, M - 1]``, their weights the deterministic one "pi", ``[T, M]``; with
    ``AdaptiveComputationTime`` the cost of its steps is the factor "ponder", in training mode alone: bounds and
    log-likelihoods in evaluation mode are those of the targets. The other networks have neither. The observed site is
    "y".

    Args:
        network: maps features ``[*, T, F]`` to hidden states ``[*, T, H]``.
        encoder: maps inputs to features.
        likelihood: maps hidden states to a distribution of batch shape ``[*, T]``.
        concentration: of the prior of the weights, positive: how many further inner steps cost nothing.
        time_penalty: price in nats of an inner step of adaptive computation time, tau; a tensor that a schedule may
            update in place.

    ``model(x, y)`` and ``guide(x, y)`` take inputs ``[batch, T, *]`` and targets ``[batch, T, *]``. In training a
    sequence may be read window by window: after ``carry(batch_size)`` each window begins with the state at which the
    last one that ``advance`` was called for had ended.

    Raises:
        ValueError: ``concentration`` is not positive and finite or ``time_penalty`` is negative.

    Source: docs/adaptive_computation.md; Graves (2016), arXiv 1603.08983.

    >>> from pyro.infer import TraceMeanField_ELBO
    >>> pair = SequenceModel.of_symbols(StickBreakingRNN(8, 16, max_steps=3), 27)
    >>> x, y = torch.zeros(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long)
    >>> TraceMeanField_ELBO().differentiable_loss(pair.model, pair.guide, x, y).shape
    torch.Size([])
    >>> pair.predict(x, y, num_samples=4).log_prob.shape
    torch.Size([2, 5])
    """

    carried: Tensor
    reached: Tensor
    time_penalty: Tensor

    def __init__(
        self,
        network: RecurrentNetwork,
        encoder: nn.Module,
        likelihood: nn.Module,
        *,
        concentration: float = 1.0,
        time_penalty: float = 0.01,
    ) -> None:
        super().__init__()
        callables(network=network, encoder=encoder, likelihood=likelihood)
        concentration = finite_number("concentration", concentration, above=0.0)
        time_penalty = finite_number("time_penalty", time_penalty, least=0.0)
        self.network, self.encoder, self.likelihood = network, encoder, likelihood
        register_state(self, "replicated", "concentration", torch.tensor(concentration))
        register_state(self, "replicated", "time_penalty", torch.tensor(time_penalty), persistent=False)
        self.carry(0)

    @classmethod
    def of_symbols(
        cls, network: RecurrentNetwork, num_symbols: int, *, concentration: float = 1.0, time_penalty: float = 0.01
    ) -> "SequenceModel":
        """A model of symbols from 0 to ``num_symbols`` - 1: embedded as inputs, categorical as targets."""
        if not isinstance(network, RecurrentNetwork):
            raise TypeError(f"network must be a RecurrentNetwork, got {network!r}")
        num_symbols = whole_number("num_symbols", num_symbols, 2)
        encoder = nn.Embedding(num_symbols, network.input_size)
        likelihood = CategoricalLikelihood(nn.Linear(network.hidden_size, num_symbols))
        return cls(network, encoder, likelihood, concentration=concentration, time_penalty=time_penalty)

    def carry(self, batch_size: int) -> None:
        """Let windows of ``batch_size`` streams follow each other from now on, the next ones from zero states."""
        for name in ("carried", "reached"):
            state = self.network.input_weight.new_zeros(batch_size, self.network.state_size).detach()
            register_state(self, "replicated", name, state, persistent=False)

    def restart(self) -> None:
        """Begin the next windows with zero states."""
        self.carried.zero_()

    def advance(self) -> None:
        """Begin the next windows where the last ones ended."""
        self.carried.copy_(self.reached)

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        network = self.network
        with pyro.plate("data", x.shape[0], dim=-1):
            if isinstance(network, StickBreakingRNN):
                prior = GEMLogits(self.concentration, network.max_steps).expand([x.shape[1]]).to_event(1)
                sticks = pyro.sample("sticks", prior)
                pi = pyro.deterministic("pi", stick_weights(sticks), event_dim=2)
                out = find_run(sticks, (*self._sources(x), *network.parameters()))
                if out is None:
                    features, state = self._encoded(x, pi.shape[:-2])
                    out = network.forward_given(features, pi, state)
            else:
                out = network(*self._encoded(x, x.shape[:1]))
            if isinstance(network, AdaptiveComputationTime) and self.training:  # a price, no part of p(y | x)
                pyro.factor("ponder", -self.time_penalty * network.ponder_cost(out).sum(-1))
            self._reach(x, out)
            pyro.sample("y", self.likelihood(out.hidden).to_event(1), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        if isinstance(self.network, StickBreakingRNN):
            with pyro.plate("data", x.shape[0], dim=-1):
                features, state = self._encoded(x, x.shape[:1])
                q = RecurrentSticks(self.network, features, state, sources=self._sources(x))
                pyro.sample("sticks", q, infer={"weights": "pi"})

    def predict(
        self,
        x: Tensor,
        y: Tensor,
        state: Tensor | None = None,
        *,
        num_samples: int = 1,
        tolerance: float = 0.0,
        mean: bool = False,
    ) -> Prediction:
        """Probability of each target given the inputs up to it.

        Args:
            x: inputs ``[batch, T, *]``, T at least 1.
            y: targets ``[batch, T, *]``.
            state: of the samples, ``[num_samples, batch, S]``, to go on from; zeros by default.
            num_samples: draws of the weights whose predictions are averaged, each with a recurrence of its own.
            tolerance: inner steps stop where less than this is left of the weights; 0 for all steps.
            mean: expected weights in place of drawn ones; then one sample is enough.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
        _check_length(x)
        network = self.network
        exact = isinstance(network, StickBreakingRNN) and tolerance == 0.0 and not mean
        with self._evaluating():
            features = self.encoder(x)
            features = features.expand(num_samples, *features.shape)
            if exact:
                out = network(features, state)
            else:
                out = network.evaluate(features, state, tolerance=tolerance, mean=mean)
            log_prob = self.likelihood(out.hidden).log_prob(y).logsumexp(0) - math.log(num_samples)
            divergence = torch.zeros_like(log_prob)
            if isinstance(network, StickBreakingRNN):
                divergence = self._divergence(network, out).mean(0) if exact else divergence + math.nan
            index = torch.arange(1.0, out.weights.shape[-1] + 1.0).to(out.weights)
            return Prediction(
                log_prob,
                out.state,
                divergence,
                out.num_steps.to(log_prob.dtype).mean(0),
                (out.weights * index).sum(-1).mean(0).to(log_prob.dtype),
            )

    def generate(self, x: Tensor, length: int, *, tolerance: float = 0.0) -> Tensor:
        """Continue symbols ``[batch, T]``, T at least 1, by ``length`` drawn ones, ``[batch, length]``."""
        if length < 0:
            raise ValueError(f"length: expected at least 0, got {length}")
        _check_length(x)
        with self._evaluating():
            out = self.network.evaluate(self.encoder(x), tolerance=tolerance)
            drawn = []
            for _ in range(length):
                drawn.append(self.likelihood(out.hidden[:, -1]).sample())
                out = self.network.evaluate(self.encoder(drawn[-1].unsqueeze(1)), out.state, tolerance=tolerance)
            return torch.stack(drawn, 1) if drawn else x[:, :0]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)

    def _divergence(self, network: StickBreakingRNN, out: Unrolled) -> Tensor:
        q = StickLogits(KumaraswamyLogit(*network.concentrations(out.raw), validate_args=False), validate_args=False)
        return kl_divergence(q, GEMLogits(self.concentration, self.network.max_steps).expand(q.batch_shape))

    def _carries(self, x: Tensor) -> bool:
        share = current_share()
        return self.training and len(self.carried) == (len(x) if share is None else share.total)

    def _encoded(self, x: Tensor, batch: torch.Size) -> tuple[Tensor, Tensor | None]:
        features = self.encoder(x)
        share = current_share()
        carried = self.carried if share is None else self.carried[share.rows]
        state = carried.expand(*batch, -1) if self._carries(x) else None
        return features.expand(*batch, *features.shape[-2:]), state

    def _reach(self, x: Tensor, out: Unrolled) -> None:
        if self._carries(x):
            # Of several particles, the first goes on.
            self.reached.copy_(gather_rows(out.state.detach().reshape(-1, len(x), self.reached.shape[1])[0]))

    def _sources(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x, self.carried, *self.encoder.parameters())


def _check_length(x: Tensor) -> None:
    if x.shape[1] < 1:
        raise ValueError(f"x: expected at least one time step, got shape {list(x.shape)}")
