"""The discrete VAEs of Rolfe, Vahdat et al., and Khoshaman and Amin: nine methods on four structures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, finite_tensor, one_of, whole_number, whole_numbers
from pyrodgm.boltzmann import Potts
from pyrodgm.distributions import (
    BoltzmannMachine,
    ContinuedBoltzmann,
    ExponentialSmoothing,
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    PowerSmoothing,
    RelaxedBoltzmann,
    Smoothing,
    SpikeBoltzmann,
    UniformExponentialSmoothing,
)
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import DVAE
from pyrodgm.nn import NormalizedDense, mlp
from pyrodgm.posteriors import (
    ConcreteLatents,
    GaussianIntegralLatents,
    HierarchicalPosterior,
    OverlappingLatents,
    SpikeLatents,
)
from pyrodgm.posteriors.binary_latents import BinaryLatents
from pyrodgm.priors import BoltzmannPrior


@dataclass(frozen=True)
class Structure:
    """Sizes of a published network.

    Attributes:
        groups: Number of groups of latents.
        units: Latents in each.
        hidden: Hidden layers of each encoder and of the decoder.
    """

    groups: int
    units: int
    hidden: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("groups", "units"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        object.__setattr__(self, "hidden", whole_numbers("hidden", self.hidden))


STRUCTURES = {
    "1-layer-lin": Structure(1, 200, ()),
    "1-layer-nonlin": Structure(1, 200, (200, 200)),
    "2-layer-nonlin": Structure(2, 200, (200, 200)),
    "4-layer-nonlin": Structure(4, 100, (200, 200)),
}

Method = Literal[
    "dvae_spike_exp",
    "dvaepp_exp",
    "dvaepp_power",
    "dvaes_gi",
    "dvaes_gauss",
    "dvaes_exp",
    "dvaes_unexp",
    "dvaes_power",
    "gumbolt",
]

_SMOOTHINGS: dict[str, Callable[[float], Smoothing]] = {
    "dvaepp_exp": ExponentialSmoothing,
    "dvaepp_power": PowerSmoothing,
    "dvaes_gauss": GaussianSmoothing,
    "dvaes_exp": ExponentialSmoothing,
    "dvaes_unexp": UniformExponentialSmoothing,
    "dvaes_power": PowerSmoothing,
}

WITH_STATES = ("dvaes_gauss", "dvaes_exp", "dvaes_unexp", "dvaes_power", "gumbolt")
MEAN_FIELD = 5  # iterations of the bound on the density of the relaxed machine


def discrete_vae(
    method: Method, structure: str | Structure, mean: Tensor, beta: float, num_states: int | None = None, **machine: Any
) -> DVAE:
    """The pair of a published method.

    Args:
        method: ``dvae_spike_exp``; ``dvaepp_exp`` or ``dvaepp_power``; ``dvaes_gi``, ``dvaes_gauss``,
            ``dvaes_exp``, ``dvaes_unexp`` or ``dvaes_power``; ``gumbolt``, the rival by Concrete draws.
        structure: A name in ``STRUCTURES``, or your own sizes. Hidden layers have batch normalisation and
            tanh; the sides of the machine are the two halves of the latents.
        mean: Mean of the training data, ``[D]`` in [0, 1]: taken from the encoder's input, and the decoder's bias.
        beta: Inverse temperature of the smoothing.
        num_states: If given, latents are one-hot vectors of so many states under a machine of Potts units; smoothed
            column by column for ``dvaes_gauss``, ``dvaes_exp``, ``dvaes_unexp`` and ``dvaes_power``, relaxed by
            Gumbel-softmax for ``gumbolt``. Others have bits only.
        machine: Further arguments of :class:`pyrodgm.priors.BoltzmannPrior`: ``sampler``, ``num_chains``,
            ``num_sweeps``. With ``sampler="exact"`` the density of smoothed latents is an exact sum too; otherwise
            it is the mean-field bound, with five iterations.

    Raises:
        ValueError: If there is no such method or structure, or the method has bits only.

    Source: Rolfe (2017), DVAE, arXiv 1609.02200; Vahdat et al. (2018), DVAE++, arXiv 1802.04920; Vahdat et al. (2018),
    DVAE#, arXiv 1805.07445; Khoshaman and Amin (2018), GumBolt, arXiv 1805.07349.

    Example:
        >>> import torch
        >>> pair = discrete_vae("dvaes_power", "2-layer-nonlin", torch.full((784,), 0.1), beta=30.0, num_chains=10)
        >>> pair.posterior(torch.zeros(5, 784)).event_shape
        torch.Size([400])
    """
    one_of("method", method, get_args(Method))
    if not isinstance(structure, Structure):
        one_of("structure", structure, STRUCTURES)
        structure = STRUCTURES[structure]
    finite_tensor("mean", mean, (None,))
    beta = finite_number("beta", beta, above=0.0)
    width = 1
    if num_states is not None:
        width = whole_number("num_states", num_states, 2)
        machine["units"] = Potts(width)
        if method not in WITH_STATES:
            raise ValueError(f"num_states must be None for {method}, which has bits only, got {num_states}")
    sizes = [structure.units * width] * structure.groups
    latents = [_latents(method, beta, size, num_states) for size in sizes]
    pixels, total = mean.shape[-1], sum(sizes)
    nets = [
        mlp(pixels + sum(sizes[:i]), structure.hidden, own.outputs * size, NormalizedDense)
        for i, (own, size) in enumerate(zip(latents, sizes, strict=True))
    ]
    units = total // width
    left = units // 2
    iterations = None if machine.get("sampler") == "exact" else MEAN_FIELD
    prior = BoltzmannPrior(left, units - left, _relaxation(method, beta, iterations), **machine)
    likelihood = BernoulliLikelihood(mlp(total, structure.hidden, pixels, NormalizedDense), mean)
    return DVAE(prior, likelihood, HierarchicalPosterior(nets, latents, sizes, mean))


def _relaxation(method: str, beta: float, num_iterations: int | None) -> Callable[[BoltzmannMachine], Any]:
    if method == "dvae_spike_exp":
        return partial(SpikeBoltzmann, beta=beta)
    if method == "dvaes_gi":
        return partial(GaussianIntegralBoltzmann, beta=beta)
    if method == "gumbolt":
        return ContinuedBoltzmann
    return partial(RelaxedBoltzmann, smoothing=_SMOOTHINGS[method](beta), num_iterations=num_iterations)


def _latents(method: str, beta: float, size: int, num_states: int | None) -> BinaryLatents:
    if method == "dvae_spike_exp":
        return SpikeLatents(beta)
    if method == "dvaes_gi":
        return GaussianIntegralLatents(size)
    if method == "gumbolt":
        return ConcreteLatents(beta, num_states)
    return OverlappingLatents(_SMOOTHINGS[method](beta), num_states)
