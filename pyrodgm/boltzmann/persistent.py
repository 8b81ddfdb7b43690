"""Persistent chains, which follow a machine while it learns."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import validated
from pyrodgm.boltzmann.energy import check_parameters, check_sides, check_states, negative_energy
from pyrodgm.boltzmann.gibbs import gibbs_sweeps
from pyrodgm.boltzmann.moments import Moments, sample_moments


@torch.no_grad()
def advance_chains(
    weights: Tensor, left_bias: Tensor, right_bias: Tensor, left: Tensor, right: Tensor, num_sweeps: int = 1
) -> Moments:
    r"""Move persistent chains on by Gibbs sweeps, in place, and estimate the gradient of log Z from where they end.

    Chains that had reached p(l, r) before a small change of the parameters are near it after a few sweeps; nothing
    carries them between modes that lie far apart, for which there is :func:`population_annealing`.

    Args:
        weights: ``[L, R]``, real.
        left_bias: ``[L]``, real.
        right_bias: ``[R]``, real.
        left: Left states of the chains, ``[N, L]`` in {0, 1}; overwritten.
        right: Right states of the chains, ``[N, R]`` in {0, 1}; overwritten.
        num_sweeps: How many sweeps, at least 1.

    Returns:
        The moments of the machine as the chains have them.

    Raises:
        ValueError: If the shapes do not fit, or ``num_sweeps`` is not positive.

    Source: Younes (1989), Probability Theory and Related Fields 82, 625; Tieleman (2008), ICML.

    Example:
        >>> left, right = torch.zeros(1000, 3), torch.zeros(1000, 2)
        >>> moments = advance_chains(torch.zeros(3, 2), torch.full((3,), 99.0), torch.zeros(2), left, right)
        >>> left.mean(), moments.right
        (tensor(1.), tensor([0.5000, 0.5000]))
    """
    check_parameters(weights, left_bias, right_bias)
    check_states("left", left, weights.shape[-2])
    check_states("right", right, weights.shape[-1])
    if left.shape[:-1] != right.shape[:-1]:
        raise ValueError(f"right must have as many states as left, {list(left.shape)}; got {list(right.shape)}")
    new_left, new_right = gibbs_sweeps(weights, left_bias, right_bias, left, num_sweeps)
    left.copy_(new_left)
    right.copy_(new_right)
    return sample_moments(weights, left_bias, right_bias, left, right)


@torch.no_grad()
def log_partition_change(
    before: tuple[Tensor, Tensor, Tensor], after: tuple[Tensor, Tensor, Tensor], left: Tensor, right: Tensor
) -> Tensor:
    r"""Log Z of a machine minus that of another, by importance weights of the other's samples.

    .. math:: \log \frac{Z'}{Z} \approx \log \frac 1N \sum_n e^{E(l_n, r_n) - E'(l_n, r_n)}, \qquad (l_n, r_n) \sim p

    Good for machines that differ little, as from one training step to the next.

    Args:
        before: Weights ``[L, R]`` and biases ``[L]``, ``[R]`` of the machine that the samples are from.
        after: The same of the other machine.
        left: ``[N, L]`` in {0, 1}.
        right: ``[N, R]`` in {0, 1}.

    Returns:
        ``[]``, in nats.

    Source: Desjardins, Courville and Bengio (2011), "On tracking the partition function", NeurIPS.

    Example:
        >>> before = (torch.zeros(1, 1), torch.zeros(1), torch.zeros(1))
        >>> after = (torch.zeros(1, 1), torch.ones(1), torch.zeros(1))
        >>> both = torch.tensor([[0.0], [1.0]])
        >>> log_partition_change(before, after, both, both)  # log((1 + e) / 2)
        tensor(0.6201)
    """
    for name, machine in (("before", before), ("after", after)):
        if not isinstance(machine, Sequence) or len(machine) != 3:
            raise TypeError(f"{name} must be weights and two biases, got {machine!r}")
        check_parameters(*machine)
    validated(left=left, right=right)
    check_sides(before[0], left=left, right=right)
    weights, left_bias, right_bias = (b - a for a, b in zip(before, after, strict=True))
    log_weights = negative_energy(weights, left_bias, right_bias, left, right)
    return log_weights.logsumexp(0) - math.log(len(left))
