"""The Boltzmann machine made continuous by the Gaussian integral."""

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic.arguments import finite_number
from pyrodgm.boltzmann import BipartiteMachine
from pyrodgm.boltzmann.energy import softplus
from pyrodgm.boltzmann.machine import require_bits
from pyrodgm.distributions.boltzmann_machine import BoltzmannMachine


class GaussianIntegralBoltzmann(TorchDistribution):
    r"""Density of zeta, where z is from a Boltzmann machine and zeta is normal around z with a precision from it.

    .. math:: \zeta \mid z \sim N(z, A^{-1}), \quad A = \beta I + \begin{pmatrix} 0 & W \\ W^\top & 0 \end{pmatrix},
        \qquad \log p(\zeta) = \tfrac12 \log\det\frac{A}{2\pi} - \tfrac12 \zeta^\top A \zeta
        + \sum_i \log\bigl(1 + e^{(A \zeta)_i + b_i - \beta / 2}\bigr) - \log Z

    The quadratic term of the energy cancels that of the normal density, so the sum over z is closed: the density is
    exact but for log Z, for machines of any size; on another graph A is beta I plus its symmetric couplings. For A to
    be positive definite, beta is raised where it must be: it is the larger of ``beta`` and ``margin`` above minus the
    least eigenvalue of the couplings, which for two layers is the largest singular value of W. The gradient with
    respect to W goes through that too.

    Args:
        machine: distribution of z, ``[n]``.
        beta: positive; least precision of a unit.
        margin: positive; how far beta stays above minus the least eigenvalue.

    Raises:
        ValueError: ``beta`` or ``margin`` is not positive, or some units of the machine are hidden.

    Sources: Zhang et al. (2012), "Continuous relaxations for discrete Hamiltonian Monte Carlo", NeurIPS; Vahdat,
    Andriyash and Macready (2018), DVAE#, arXiv 1805.07445, section 4.

    >>> machine = BoltzmannMachine(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    >>> prior = GaussianIntegralBoltzmann(machine, 40.0)
    >>> prior.log_prob(prior.sample((7,))).shape
    torch.Size([7])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector

    def __init__(
        self, machine: BoltzmannMachine, beta: float, margin: float = 5.0, *, validate_args: bool | None = None
    ) -> None:
        beta, margin = finite_number("beta", beta, above=0.0), finite_number("margin", margin, above=0.0)
        if not isinstance(machine, BoltzmannMachine):
            raise ValueError(f"machine must be a BoltzmannMachine without hidden units, got {type(machine).__name__}")
        require_bits(machine.energy)
        self.machine, self.least_beta, self.margin = machine, beta, margin
        super().__init__(machine.batch_shape, machine.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "GaussianIntegralBoltzmann":
        new = self._get_checked_instance(GaussianIntegralBoltzmann, _instance)
        batch_shape = torch.Size(batch_shape)
        new.machine = self.machine.expand(batch_shape)
        new.least_beta, new.margin = self.least_beta, self.margin
        super(GaussianIntegralBoltzmann, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _beta_and_log_det(self) -> tuple[Tensor, Tensor]:
        """beta, raised where it must be, and log det A; ``[*batch]`` as the parameters were given."""
        energy = self.machine.energy
        if not isinstance(energy, BipartiteMachine):
            values = torch.linalg.eigvalsh(energy.coupling_matrix())
            beta = (self.margin - values[..., 0]).clamp(min=self.least_beta)
            return beta, (beta.unsqueeze(-1) + values).log().sum(-1)
        weights = energy.weights
        if weights.shape[-2] < weights.shape[-1]:
            weights = weights.mT
        squares = torch.linalg.eigvalsh(weights.mT @ weights)  # of the singular values, increasing
        tiny = torch.finfo(weights.dtype).eps ** 2
        largest = squares[..., -1].clamp(min=tiny).sqrt()  # the square root has no slope at W = 0
        beta = (self.margin + largest).clamp(min=self.least_beta)
        pairs = (beta.square().unsqueeze(-1) - squares).log().sum(-1)
        return beta, pairs + (weights.shape[-2] - weights.shape[-1]) * beta.log()

    @property
    def beta(self) -> Tensor:
        """The precision of a unit, ``[*batch]`` as the machine's parameters were given."""
        return self._beta_and_log_det()[0]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        energy = self.machine.energy
        beta, log_det = self._beta_and_log_det()
        fields = energy.fields(value)
        # the quadratic form, and the sum over z
        coupling = 0.5 * (value * (fields - energy.biases)).sum(-1)
        log_normal = 0.5 * (log_det - beta * value.square().sum(-1)) - coupling
        log_sum = softplus(fields + beta.unsqueeze(-1) * (value - 0.5)).sum(-1)
        constant = 0.5 * self.event_shape[0] * math.log(2.0 * math.pi)
        result = log_normal + log_sum - constant - self.machine.log_partition
        return result.expand(torch.broadcast_shapes(result.shape, self.batch_shape))

    def _cholesky(self) -> Tensor:
        """Lower factor of A, ``[*batch, n, n]`` as the parameters were given."""
        couplings = self.machine.energy.coupling_matrix()
        precision = couplings + torch.diag_embed(self.beta.unsqueeze(-1).expand(couplings.shape[:-1]))
        return torch.linalg.cholesky(precision)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            z = self.machine.sample(sample_shape)
            noise = torch.randn_like(z).unsqueeze(-1)
            return z + torch.linalg.solve_triangular(self._cholesky().mT, noise, upper=True).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        return self.machine.mean

    @property
    def variance(self) -> Tensor:
        return self.machine.variance + torch.cholesky_inverse(self._cholesky()).diagonal(dim1=-2, dim2=-1)
