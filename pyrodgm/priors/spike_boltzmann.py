"""The Boltzmann prior of the first discrete variational autoencoder."""

from torch import nn

from pyrodgm.distributions import BoltzmannMachine, SpikeBoltzmann


class SpikeBoltzmannPrior(nn.Module):
    """A Boltzmann machine whose bits are seen as a spike and an exponential.

    Args:
        boltzmann: The prior of the bits, a :class:`pyrodgm.priors.BoltzmannPrior` without a smoothing.
        beta: Rate of the exponential.

    Called with nothing it returns a :class:`pyrodgm.distributions.SpikeBoltzmann`; ``machine()`` is that of the bits.

    Source: Rolfe (2017), Discrete variational autoencoders, arXiv 1609.02200.
    """

    def __init__(self, boltzmann: nn.Module, beta: float) -> None:
        super().__init__()
        self.boltzmann, self.beta = boltzmann, beta

    def machine(self) -> BoltzmannMachine:
        """The distribution of the bits."""
        return self.boltzmann()

    def forward(self) -> SpikeBoltzmann:
        return SpikeBoltzmann(self.machine(), self.beta)
