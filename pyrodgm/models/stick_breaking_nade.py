"""NADE whose hidden units are refined before each pixel, by steps that stick-breaking weights weigh."""

import math
from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from pyro.nn import pyro_method
from torch import Tensor
from torch.distributions import kl_divergence

from pyrodgm.arithmetic.arguments import finite_number, whole_number
from pyrodgm.distributions import GEMLogits, KumaraswamyLogit, StickLogits
from pyrodgm.distributions.run_cache import RunCache
from pyrodgm.models.pair import Pair
from pyrodgm.nn import stick_weights
from pyrodgm.nn.nade import NADENetwork
from pyrodgm.nn.recurrent.weights import concentrations
from pyrodgm.processes import register_state

SAMPLED_AT_A_TIME = 2**22  # weights
RUNS = RunCache()


@dataclass(frozen=True)
class PixelLikelihoods:
    """Likelihoods of images under a :class:`StickBreakingNADE`, each ``[N]`` in nats.

    Attributes:
        log_likelihood: log p(x), importance-sampled pixel by pixel.
        ensemble: log-probability of the mean prediction of draws from the posterior of the weights.
        bound: the evidence lower bound.
        divergence: of the weights of each pixel from their prior, mean over the images, ``[D]``.
        mean_step: mean index of a step under its weights, mean over the images, ``[D]``.
    """

    log_likelihood: Tensor
    ensemble: Tensor
    bound: Tensor
    divergence: Tensor
    mean_step: Tensor


class StickBreakingNADE(Pair):
    r"""NADE with up to M steps of refinement before the output of each pixel.

    .. math:: h_d^1 = \mathrm{sigmoid}(a_d), \quad h_d^n = \mathrm{sigmoid}(a_d + u + U h_d^{n-1}), \quad
        h_d = \sum_n \pi_d^n h_d^n, \quad \pi_d \sim \mathrm{GEM}(\alpha), \quad
        q(\pi_d \mid x_{<d}) = \text{stick-breaking of Kumaraswamy fractions}

    The logits of the sticks are the latent site "sticks", ``[D, M - 1]``, their weights the deterministic one "pi",
    ``[D, M]``; the observed site is "x". With one step it would be :class:`NADE`. All pixels are computed in one pass,
    which guide and model share.

    Args:
        features: D, binary pixels in their order.
        hidden: H, hidden units.
        max_steps: M, at least 2: the truncation.
        concentration: of the prior, positive: how many further steps cost nothing.
        init: "sum" for NADE's running sum, "lstm" for an LSTM over the pixels in its place.
        mean: mean of the training images, ``[D]``, at which an untrained model starts.

    Raises:
        ValueError: an argument is out of range.

    Source: docs/adaptive_computation.md, after slides of Nalisnick, Larochelle and Côté.

    Example:
        >>> nade = StickBreakingNADE(64, 20, max_steps=3)
        >>> nade.log_likelihood(torch.zeros(5, 64), num_samples=10).log_likelihood.shape
        torch.Size([5])
    """

    concentration: Tensor

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        max_steps: int = 3,
        concentration: float = 1.0,
        init: str = "sum",
        mean: Tensor | None = None,
    ) -> None:
        super().__init__()
        max_steps = whole_number("max_steps", max_steps, 2)
        concentration = finite_number("concentration", concentration, above=0.0)
        # At the prior, from which a posterior that starts elsewhere takes long to get there: it is one for each pixel.
        # Below 1 all steps would not get gradients.
        start = max(1.0, concentration)
        self.network = NADENetwork(features, hidden, max_steps=max_steps, init=init, mean=mean, start=start)
        register_state(self, "replicated", "concentration", torch.tensor(concentration))

    def prior(self) -> dist.TorchDistribution:
        """Sticks of a Dirichlet process at each pixel: event shape ``[D, M - 1]``."""
        return GEMLogits(self.concentration, self.network.max_steps).expand([self.network.features]).to_event(1)

    @staticmethod
    def _sticks(raw: Tensor) -> StickLogits:
        return StickLogits(KumaraswamyLogit(*concentrations(raw), validate_args=False))

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            sticks = pyro.sample("sticks", self.prior())
            pi = pyro.deterministic("pi", stick_weights(sticks), event_dim=2)
            logits = RUNS.find(sticks, (x, *self.network.parameters()))
            if logits is None:
                logits = self.network(x)[0]
            pyro.sample("x", dist.Bernoulli(logits=(pi * logits).sum(-1)).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            logits, raw = self.network(x)
            sticks = pyro.sample("sticks", self._sticks(raw).to_event(1), infer={"weights": "pi"})
            RUNS.keep(sticks, (x, *self.network.parameters()), logits)

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, num_samples: int = 100, batch_size: int = 50, seed: int | None = None
    ) -> PixelLikelihoods:
        r"""Likelihoods of images.

        The likelihood is a product over pixels, each with weights of its own, and each factor is sampled by itself:

        .. math:: \log p(x) \approx \sum_d \log \frac 1S \sum_s
            \frac{p(x_d \mid x_{<d}, \pi_d^s)\, p(\pi_d^s)}{q(\pi_d^s \mid x_{<d})}

        Args:
            x: images ``[N, D]``.
            num_samples: S, draws a pixel.
            batch_size: images at a time.
            seed: of the draws; the caller's random state is left as it was. None draws from the current state.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices, enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed)
            parts = [self._measure(part, num_samples) for part in x.split(batch_size)]
        joined = [torch.cat(values) for values in zip(*parts, strict=True)]
        return PixelLikelihoods(joined[0], joined[1], joined[2], joined[3].mean(0), joined[4].mean(0))

    def _measure(self, x: Tensor, num_samples: int) -> tuple[Tensor, ...]:
        logits, raw = self.network(x)
        q, p = self._sticks(raw), GEMLogits(self.concentration, self.network.max_steps)
        weighted = predicted = torch.full_like(x, -math.inf)
        expected = steps = torch.zeros_like(x)
        index = torch.arange(1.0, self.network.max_steps + 1.0).to(x)
        chunk = max(1, SAMPLED_AT_A_TIME // logits.numel())
        for begin in range(0, num_samples, chunk):
            sticks = q.sample((min(chunk, num_samples - begin),))
            pi = stick_weights(sticks)
            log_prob = dist.Bernoulli(logits=(pi * logits).sum(-1), validate_args=False).log_prob(x)
            log_weight = log_prob + p.log_prob(sticks) - q.log_prob(sticks)
            weighted = torch.logaddexp(weighted, log_weight.logsumexp(0))
            predicted = torch.logaddexp(predicted, log_prob.logsumexp(0))
            expected = expected + log_prob.sum(0) / num_samples
            steps = steps + (pi * index).sum((0, -1)) / num_samples
        divergence = kl_divergence(q, p.expand(q.batch_shape))
        weighted, predicted = weighted - math.log(num_samples), predicted - math.log(num_samples)
        return weighted.sum(-1), predicted.sum(-1), (expected - divergence).sum(-1), divergence, steps

    def sample(self, count: int, *, from_prior: bool = False) -> Tensor:
        """Images drawn from the model, ``[count, D]``, with weights from their posterior or from their prior."""

        def weigh(raw: Tensor) -> Tensor:
            prior = GEMLogits(self.concentration, self.network.max_steps).expand((count,))
            return stick_weights(prior.sample() if from_prior else self._sticks(raw).sample())

        return self.network.sample(count, weigh)
