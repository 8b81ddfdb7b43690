"""The restricted Boltzmann machine."""

from typing import Any

import pyro
import torch
from pyro.nn import pyro_method
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_tensor, whole_number
from pyrodgm.models.pair import Pair
from pyrodgm.priors import BoltzmannPrior


class RBM(Pair):
    r"""Data as the left units of a machine of two layers, whose right units are hidden and summed out.

    .. math:: \log p(x) = b^\top x + \sum_j \log\bigl(1 + e^{(x^\top W + c)_j}\bigr) - \log Z

    for binary data. ``units=(Gaussian(), Bits())`` makes the machine of real data, best standardised: given the hidden
    units they are normal with variance 1. ``units=(Potts(K), Bits())`` has variables of K states, as one-hot vectors
    side by side.

    There is no latent site: the bound of any estimator is log p(x), in training with the value of log Z that the
    sampler has, and with its gradient. In evaluation mode log Z is that of annealed importance sampling, with its
    standard error in ``rbm.prior.log_partition_error``.

    Args:
        visible: Number of visible units, the pixels or variables.
        hidden: Number of hidden units.
        mean: Mean of the training data, ``[visible]`` (``[visible K]`` for K states), at which the visible units
            start; by default biases are 0.
        machine: Further arguments of :class:`pyrodgm.priors.BoltzmannPrior`: ``sampler``, ``num_chains``,
            ``num_sweeps``, ``units``.

    Weights start as normal draws of standard deviation 0.01.

    Source: Smolensky (1986); Welling, Rosen-Zvi and Hinton (2004) (units of other kinds); Tieleman (2008), ICML
    (persistent chains); Salakhutdinov and Murray (2008), ICML (AIS).

    Example:
        >>> rbm = RBM(64, 20, num_chains=50, num_sweeps=1)
        >>> from pyro.infer import Trace_ELBO
        >>> Trace_ELBO().differentiable_loss(rbm.model, rbm.guide, torch.zeros(5, 64)).shape
        torch.Size([])
    """

    def __init__(self, visible: int, hidden: int, mean: Tensor | None = None, **machine: Any) -> None:
        super().__init__()
        visible, hidden = whole_number("visible", visible), whole_number("hidden", hidden)
        self.prior = BoltzmannPrior(visible, hidden, num_visible=visible, **machine)
        if mean is not None:
            finite_tensor("mean", mean, tuple(self.prior.left_bias.shape))
        with torch.no_grad():
            self.prior.weights.normal_(0.0, 0.01)
            if mean is not None:
                self.prior.left_bias.copy_(self.prior.kinds[0].fields_of(mean))

    @pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[0], dim=-1):
            pyro.sample("x", self.prior(), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        """Nothing: there is no latent site."""
