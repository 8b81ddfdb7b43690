"""Samplers of other makers through dimod."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from pyrodgm.arithmetic.arguments import finite_number, finite_range
from pyrodgm.boltzmann.graph_machine import GraphMachine
from pyrodgm.boltzmann.machine import Machine, require_bits
from pyrodgm.boltzmann.samplers.protocol import Samples
from pyrodgm.boltzmann.temperature import estimate_inverse_temperature, score_inverse_temperature
from pyrodgm.extras import needs_extra

if TYPE_CHECKING:
    import dimod

ERRORS = 3.0  # standard errors by which samples must look colder or hotter than the band to be refused


@dataclass(frozen=True)
class Dimod:
    r"""Any ``dimod.Sampler``, asked for as many reads as there are chains.

    dimod minimises: the machine goes out as the quadratic model with linear terms -b and quadratic terms -w, times
    ``scale``, under the labels of its graph. The inverse temperature of what comes back is estimated each time by
    maximum pseudo-likelihood, since annealers end at one of their own: with its default schedule
    ``SimulatedAnnealingSampler`` ends near the minimum whatever the scale of the machine; ``beta_range=(0.01, 1.0)``
    makes it end at the machine's.

    Args:
        sampler: With a method ``sample(bqm, num_reads=..., **options)``.
        options: Further arguments of that method.
        scale: Positive; what the model is multiplied by: raise it where samples are too hot.
        band: The inverse temperatures of samples that are accepted.

    Raises:
        ValueError: If ``scale`` is not positive or ``band`` no interval around positive numbers; when sampling, if the
            inverse temperature lies outside the band by a score test with three standard errors, or the reads are not
            as many as were asked for.
        RuntimeError: In a traced step, which another program cannot be part of: train with ``compile="eager"``.

    It gives no log Z. Diagnostics: ``inverse_temperature`` and ``inverse_temperature_error``.

    Example:
        >>> from dwave.samplers import SimulatedAnnealingSampler
        >>> from pyrodgm.boltzmann import Graph, GraphMachine
        >>> machine = GraphMachine(Graph.complete(5), torch.ones(10), torch.full((5,), -2.0))
        >>> sampler = Dimod(SimulatedAnnealingSampler(), {"beta_range": (0.01, 1.0), "num_sweeps": 100, "seed": 1})
        >>> sampler.sample(machine, sampler.start(machine, 500)).states.shape
        torch.Size([500, 5])
    """

    sampler: "dimod.Sampler"
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    band: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self) -> None:
        finite_number("scale", self.scale, above=0.0)
        if not finite_range("band", self.band)[0] > 0.0:
            raise ValueError(f"band must be two positive numbers, the lower first, got {self.band}")

    def start(self, machine: Machine, num_chains: int) -> dict[str, Tensor]:
        """States of fair coins, which say only how many there are."""
        return {"states": machine.random_states(num_chains)}

    @torch.no_grad()
    def sample(self, machine: Machine, state: Mapping[str, Tensor]) -> Samples:
        """New reads of the sampler."""
        if get_proxy_mode() is not None:
            raise RuntimeError("a dimod sampler cannot be part of a traced step: train with compile='eager'")
        count = len(state["states"])
        model = quadratic_model(machine, self.scale)
        sample_set = self.sampler.sample(model, num_reads=count, **self.options)
        states = states_of(sample_set, list(model.variables)).to(state["states"])
        if len(states) != count:
            raise ValueError(f"sampler must give the {count} reads that it is asked for, got {len(states)}")
        found = estimate_inverse_temperature(machine, states)
        low, high = self.band
        colder = score_inverse_temperature(machine, states, high) > ERRORS
        if colder or score_inverse_temperature(machine, states, low) < -ERRORS:
            raise ValueError(
                f"samples must have an inverse temperature in [{low}, {high}], got {found}: set the sampler's schedule "
                f"by options (beta_range=(0.01, 1.0) for simulated annealing), or scale, now {self.scale}"
            )
        diagnostics = {
            "inverse_temperature": torch.tensor(found.value),
            "inverse_temperature_error": torch.tensor(found.standard_error),
        }
        return Samples({"states": states}, None, diagnostics)


def quadratic_model(machine: Machine, scale: float = 1.0) -> "dimod.BinaryQuadraticModel":
    """The binary quadratic model whose energy is ``scale`` times that of the machine.

    Its variables are the units in their order, under the labels of the graph.
    """
    with needs_extra("annealers"):
        import dimod

    machine.check_single()
    require_bits(machine)
    if isinstance(machine, GraphMachine):
        edges, values, labels = machine.graph.edges, machine.couplings, list(machine.graph.labels)
    else:
        matrix = machine.coupling_matrix().triu()
        edges, labels = matrix.cpu().nonzero(), list(range(machine.num_units))
        values = matrix[tuple(edges.unbind(1))]
    rows, columns = edges.unbind(1)
    minus = -scale
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        minus * machine.biases.detach().cpu().double().numpy(),
        (rows.numpy(), columns.numpy(), minus * values.detach().cpu().double().numpy()),
        0.0,
        "BINARY",
        variable_order=labels,
    )


def states_of(sample_set: "dimod.SampleSet", labels: list[Any]) -> Tensor:
    """States ``[N, n]`` in {0, 1}, float32, with columns in the order of ``labels``; repeated reads repeated.

    Columns of a sample set come in an order of the sampler's own, and its numbers are int8, in which sums wrap.
    """
    if sample_set.vartype.name == "SPIN":
        sample_set = sample_set.change_vartype("BINARY", inplace=False)
    place = {label: k for k, label in enumerate(sample_set.variables)}
    columns = [place[label] for label in labels]
    states = sample_set.record.sample[:, columns].astype(np.float32)
    return torch.from_numpy(np.repeat(states, sample_set.record.num_occurrences, axis=0))
