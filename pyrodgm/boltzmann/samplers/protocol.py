"""What a sampler of Boltzmann machines is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from pyrodgm.boltzmann.annealed_importance import LogPartition
from pyrodgm.boltzmann.machine import Machine


@dataclass(frozen=True)
class Samples:
    """What a sampler gives.

    Attributes:
        state: What the next call needs: ``"states"``, which are the samples, ``[N, n]`` in {0, 1}, and whatever else
            the sampler keeps, of the same shapes as it came.
        log_partition: Estimated log Z with its error, or None where the sampler has none.
        diagnostics: Named tensors that say how far to trust the samples.
    """

    state: Mapping[str, Tensor]
    log_partition: LogPartition | None = None
    diagnostics: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def states(self) -> Tensor:
        """The samples, ``[N, n]`` in {0, 1}, of equal weight."""
        return self.state["states"]


class Sampler(Protocol):
    """Draws states of a machine, going on from where it was.

    Whatever a sampler keeps between calls is in tensors of fixed shapes, so that a module can keep them as buffers:
    they are then saved, resumed and moved with it.
    """

    def start(self, machine: Machine, num_chains: int) -> dict[str, Tensor]:
        """The state before the first call: ``"states"`` ``[num_chains, n]``, and whatever else the sampler keeps."""

    def sample(self, machine: Machine, state: Mapping[str, Tensor]) -> Samples:
        """Samples of the machine, which may differ from that of the call before. ``state`` is left as it is."""
