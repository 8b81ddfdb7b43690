"""The energy of a bipartite Boltzmann machine, and what follows from it in closed form."""

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.nn.functional import softplus as torch_softplus

from pyrodgm.arithmetic.arguments import real_tensors, validated


def check_parameters(weights: Tensor, left_bias: Tensor, right_bias: Tensor) -> None:
    """Refuse weights and biases whose shapes do not belong together, or that are not finite.

    Values are looked at where Pyro validates arguments, which it does unless ``pyro.enable_validation(False)``.

    Raises:
        ValueError: Names the argument, its shape and the shape that the weights ask for.
    """
    validated(weights=weights, left_bias=left_bias, right_bias=right_bias)
    real_tensors(weights=weights, left_bias=left_bias, right_bias=right_bias)
    check_sides(weights, left_bias=left_bias, right_bias=right_bias)


def check_sides(weights: Tensor, **values: Tensor) -> None:
    """Refuse weights that are no matrices, and biases or states, by names with their side, of other numbers of units.

    Raises:
        ValueError: Names the argument, its shape and the shape that the weights ask for.
    """
    if weights.dim() < 2 or 0 in weights.shape[-2:]:  # a batch may be empty
        raise ValueError(f"weights must have shape [*batch, L, R], got {list(weights.shape)}")
    for name, value in values.items():
        units = weights.shape[-2 if name.startswith("left") else -1]
        if value.dim() < 1 or value.shape[-1] != units:
            raise ValueError(
                f"{name} must have one value for each of the {units} units of its side of weights "
                f"{list(weights.shape)}, got shape {list(value.shape)}"
            )


def check_one_machine(weights: Tensor, left_bias: Tensor, right_bias: Tensor) -> None:
    """Refuse what :func:`check_parameters` refuses, and batch dimensions.

    Raises:
        ValueError: Names the argument, its shape and the shape that was expected.
    """
    check_parameters(weights, left_bias, right_bias)
    for name, value, shape in (
        ("weights", weights, "[L, R]"),
        ("left_bias", left_bias, "[L]"),
        ("right_bias", right_bias, "[R]"),
    ):
        if value.dim() != shape.count(",") + 1:
            raise ValueError(f"{name} must have shape {shape}, those of one machine, got {list(value.shape)}")


def check_states(name: str, states: Tensor, units: int) -> None:
    """Refuse states ``[*, units]`` of another number of units.

    Raises:
        ValueError: Names the argument, its shape and the number of units.
    """
    validated(**{name: states})
    if states.dim() < 1 or states.shape[-1] != units:
        raise ValueError(f"{name} must have shape [*, {units}], got {list(states.shape)}")


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), to rounding: PyTorch's own is cut off where it still differs from x by 2e-9."""
    return torch_softplus(x, threshold=40.0)


def bernoulli_entropy(logits: Tensor) -> Tensor:
    """Entropy of Bernoulli variables, ``[*]`` in nats."""
    return softplus(logits) - logits * logits.sigmoid()


def right_field(weights: Tensor, right_bias: Tensor, left: Tensor) -> Tensor:
    """Logits of the right units given the left ones ``[*, L]``, of any dtype: ``[*, R]``."""
    if left.dtype != weights.dtype:
        dtype = torch.promote_types(left.dtype, weights.dtype)
        weights, right_bias, left = weights.to(dtype), right_bias.to(dtype), left.to(dtype)
    if weights.dim() == 2 and right_bias.dim() == 1:
        return linear(left, weights.mT, right_bias)
    return torch.matmul(left.unsqueeze(-2), weights).squeeze(-2) + right_bias


def left_field(weights: Tensor, left_bias: Tensor, right: Tensor) -> Tensor:
    """Logits of the left units given the right ones ``[*, R]``: ``[*, L]``."""
    return right_field(weights.mT, left_bias, right)


def negative_energy(weights: Tensor, left_bias: Tensor, right_bias: Tensor, left: Tensor, right: Tensor) -> Tensor:
    r"""Minus the energy of joint states, the log of their unnormalised probability.

    .. math:: -E(l, r) = l^\top W r + b^\top l + c^\top r, \qquad p(l, r) = e^{-E(l, r)} / Z

    It is linear in each side, so with means of independent units in place of states it is their expectation.

    Args:
        weights: ``[*batch, L, R]``, real; the couplings W.
        left_bias: ``[*batch, L]``, real; b.
        right_bias: ``[*batch, R]``, real; c.
        left: ``[*, L]``, states in {0, 1} or means in [0, 1].
        right: ``[*, R]``, likewise.

    Returns:
        ``[*]``, in nats.

    Source: Smolensky (1986), "Information processing in dynamical systems"; Hinton (2002), Neural Computation 14, 1771.

    Example:
        >>> w, b, c = torch.tensor([[2.0]]), torch.tensor([-1.0]), torch.tensor([0.5])
        >>> negative_energy(w, b, c, torch.ones(1), torch.ones(1))
        tensor(1.5000)
    """
    return (left * left_field(weights, left_bias, right)).sum(-1) + (right * right_bias).sum(-1)
