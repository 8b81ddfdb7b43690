"""Many independent Bernoulli variables, as the pixels of a binary image."""

import math
from typing import Any

import torch
from pyro.distributions import Bernoulli, Independent
from torch import Tensor

from pyrodgm.arithmetic.arguments import callables, real_tensors, validated
from pyrodgm.arithmetic.function import Function


class FactorizedBernoulli(Independent):
    r"""``D`` independent Bernoulli variables; ``Bernoulli(logits=logits).to_event(1)`` with a faster density.

    .. math:: \log p(x) = \sum_d x_d l_d - \log(1 + e^{l_d})

    The density takes one logarithm for many variables, that of the product of their :math:`\sigma(|l_d|)`, each
    between 1/2 and 1; its error is the rounding of the sum over ``d``. Values between 0 and 1 give the cross-entropy,
    as Pyro's Bernoulli does without validation.

    Args:
        logits: ``[*batch, D]``, real.
        variable: The distribution of one of them: Bernoulli, or a subclass that differs in its support.

    Example:
        >>> FactorizedBernoulli(torch.zeros(5, 784)).log_prob(torch.ones(784)).shape
        torch.Size([5])
    """

    def __init__(
        self, logits: Tensor, variable: type[Bernoulli] = Bernoulli, *, validate_args: bool | None = None
    ) -> None:
        validated(logits=logits)
        real_tensors(logits=logits)
        callables(variable=variable)
        super().__init__(variable(logits=logits, validate_args=validate_args), 1, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FactorizedBernoulli":
        return super().expand(batch_shape, self._get_checked_instance(FactorizedBernoulli, _instance))

    def log_prob(self, value: Tensor) -> Tensor:
        if self.base_dist._validate_args:
            self.base_dist._validate_sample(value)
        logits = self.base_dist.logits
        return _LogProb.apply(logits, value.to(torch.promote_types(value.dtype, logits.dtype)))


class _LogProb(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(logits: Tensor, value: Tensor) -> Tensor:
        # The smallest product of n factors is 2^-n.
        limit, features = min(100, int(-math.log2(torch.finfo(logits.dtype).tiny))), logits.shape[-1]
        group = next(n for n in range(min(limit, features), 0, -1) if features % n == 0)
        # In as few passes and as little memory as it takes: images times samples are the largest tensors of a step.
        size = logits.abs()
        linear = (
            ((value - 0.5) * logits).sub_(size, alpha=0.5).sum(-1)
        )  # x l - max(l, 0), exactly 0 where they are equal
        return linear + size.sigmoid_().unflatten(-1, (-1, group)).prod(-1).log().sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        logits, value = ctx.saved_tensors
        # The layout of the first factor is that of the result, which matrix products take without a copy.
        gradient, to_logits, to_value = gradient.contiguous().unsqueeze(-1), None, None
        if ctx.needs_input_grad[0]:
            # Minus the gradient times sigmoid(logits), in one pass.
            slope = torch.ops.aten.softplus_backward(-gradient, logits, 1.0, 40.0)
            to_logits = torch.addcmul(slope, value, gradient).sum_to_size(logits.shape)
        if ctx.needs_input_grad[1]:
            to_value = (gradient * logits).sum_to_size(value.shape)
        return to_logits, to_value

    @staticmethod
    def jvp(ctx: Any, of_logits: Tensor | None, of_value: Tensor | None) -> Tensor:
        logits, value = ctx.saved_tensors
        total = torch.zeros(torch.broadcast_shapes(logits.shape, value.shape), dtype=logits.dtype, device=logits.device)
        if of_logits is not None:
            total = total + of_logits * (value - logits.sigmoid())
        if of_value is not None:
            total = total + of_value * logits
        return total.sum(-1)
