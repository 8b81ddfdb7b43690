"""Small random pairs whose guides draw from mixtures, with exact evidence."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic import stick_weights
from pyrodgm.distributions import DiagNormalMixture, GEMLogits, KumaraswamyLogit, StickLogits

SEEN = 2  # elements of an observation


@dataclass(frozen=True)
class MixtureFeatures:
    """What a random mixture pair has.

    Attributes:
        components: Number of components.
        size: Number of elements of ``z``.
        sticks: Whether the weights of the components are latent, given by a site ``sticks``.
        mixture_prior: Whether the prior of ``z`` is a mixture too.
        second: A site ``v`` whose prior and posterior depend on ``z``.
        subsampled: Whether the data plate is.
        mask: Whether both programs mask ``z`` for some data.
        scale: Whether both scale it.
        unnamed: Whether the guide does not say where the weights are drawn.
        seed: Of all numbers.
    """

    components: Literal[2, 3] = 2
    size: Literal[1, 2] = 1
    sticks: bool = False
    mixture_prior: bool = False
    second: bool = False
    subsampled: bool = False
    mask: bool = False
    scale: bool = False
    unnamed: bool = False
    seed: int = 0

    def names(self) -> list[str]:
        """The features that are there."""
        values = {name: value for name, value in vars(self).items() if name != "seed" and value is not False}
        return [name if value is True else f"{name}={value}" for name, value in values.items()]


def random_mixtures(count: int, seed: int = 0) -> Iterator[MixtureFeatures]:
    """Features of ``count`` random mixture pairs."""
    numbers = random.Random(seed)

    def one_in(often: int) -> bool:
        return numbers.randrange(often) == 0

    for i in range(count):
        features = MixtureFeatures(
            components=numbers.choice((2, 3)),
            size=numbers.choice((1, 2)),
            sticks=not one_in(3),
            mixture_prior=one_in(2),
            second=one_in(2),
            subsampled=one_in(2),
            mask=one_in(4),
            scale=one_in(5),
            unnamed=one_in(12),
            seed=i,
        )
        yield replace(features, unnamed=features.unnamed and features.sticks)


class MixturePair(nn.Module):
    """A linear-Gaussian model of vectors with a mixture as guide, as :class:`MixtureFeatures` say.

    ``model(x)`` and ``guide(x)`` take data ``[B, 2]``.

    Attributes:
        weights: All parameters.
    """

    def __init__(self, features: MixtureFeatures) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(features.seed)
        many, size = features.components, features.size

        def draw(*shape: int, low: float = -0.8, high: float = 0.8) -> nn.Parameter:
            return nn.Parameter(low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64))

        self.features = features
        self.weights = nn.ParameterDict(
            {
                "x_of_z": draw(SEEN, size),
                "x_of_v": draw(),
                "v_of_z": draw(),
                "p_logits": draw(many),
                "p_loc": draw(many, size, low=-1.5, high=1.5),
                "q_logits": draw(many),
                "q_loc": draw(many, size, low=-1.5, high=1.5),
                "q_of_x": draw(),
                "q_v": draw(),
                "q_v_of_z": draw(),
                "q_a_of_x": draw(),
            }
        )
        positive = {"p_scale": (many, size), "q_scale": (many, size), "x_scale": (), "v_scale": (), "q_v_scale": ()}
        positive |= {"concentration": (), "q_a": (), "q_b": ()}
        self.weights.update({name: draw(*shape, low=0.7, high=1.4) for name, shape in positive.items()})

    def batch(self, size: int) -> Tensor:
        """Data ``[size, 2]``."""
        generator = torch.Generator().manual_seed(self.features.seed + 1)
        return torch.randn(size, SEEN, generator=generator, dtype=torch.float64)

    def full_size(self, size: int) -> int:
        """The size of the plate that ``size`` data are a subsample of."""
        return 3 * size if self.features.subsampled else size

    def model(self, x: Tensor) -> None:
        f, w = self.features, self.weights
        with self._data(x):
            log_weights = w["p_logits"]
            if f.sticks:
                prior = GEMLogits(w["concentration"].expand(len(x)), f.components)
                log_weights = stick_weights(pyro.sample("sticks", prior)).log()
            fn: Any = dist.Normal(torch.zeros_like(w["p_loc"][0]), w["p_scale"][0]).to_event(1)
            if f.mixture_prior:
                fn = DiagNormalMixture(log_weights, w["p_loc"], w["p_scale"])
            with self._handled(x):
                z = pyro.sample("z", fn)
            mean = z @ w["x_of_z"].mT
            if f.second:
                v = pyro.sample("v", dist.Normal(w["v_of_z"] * z.sum(-1), w["v_scale"]))
                mean = mean + w["x_of_v"] * v.unsqueeze(-1)
            pyro.sample("x", dist.Normal(mean, w["x_scale"]).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        f, w = self.features, self.weights
        with self._data(x):
            log_weights, infer = w["q_logits"], dict[str, str]()
            if f.sticks:
                a = (w["q_a"] * (w["q_a_of_x"] * x[:, :1]).exp()).expand(-1, f.components - 1)
                posterior = StickLogits(KumaraswamyLogit(a, w["q_b"].expand(a.shape)))
                log_weights = stick_weights(pyro.sample("sticks", posterior)).log()
                infer = {} if f.unnamed else {"mixture_weights": "sticks"}
            loc = w["q_loc"] + (w["q_of_x"] * x[:, :1]).unsqueeze(-1)
            with self._handled(x):
                z = pyro.sample("z", DiagNormalMixture(log_weights, loc, w["q_scale"]), infer=infer)
            if f.second:
                loc = w["q_v"] + w["q_v_of_z"] * z.sum(-1)
                pyro.sample("v", dist.Normal(loc, w["q_v_scale"]))

    def _data(self, x: Tensor) -> Any:
        return pyro.plate("data", self.full_size(len(x)), subsample_size=len(x), dim=-1)

    def _handled(self, x: Tensor) -> Any:
        stack = ExitStack()
        if self.features.mask:
            stack.enter_context(poutine.mask(mask=x[:, 0] < 0.5))
        if self.features.scale:
            stack.enter_context(poutine.scale(scale=0.5))
        return stack
