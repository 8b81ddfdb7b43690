"""Signal-to-noise ratio of an estimator's gradients."""

import contextlib
import math
from typing import Any

import pyro
import pyro.infer
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, tensors, whole_number
from pyrodgm.infer.estimators.objective import check_objective
from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.tracing.parameters import own_parameters
from pyrodgm.infer.training.feeds.columns import Columns
from pyrodgm.infer.training.feeds.support import check_support


def gradient_snr(
    pair: nn.Module, objective: pyro.infer.ELBO, x: Tensor, num_draws: int = 100, seed: int = 0
) -> dict[str, float]:
    r"""Signal-to-noise ratio of the gradient with respect to the parameters of each child module of a pair.

    .. math:: \mathrm{SNR} = \frac{\lVert \mathbb E\, g \rVert}{\sqrt{\mathrm{tr}\, \mathrm{Cov}\, g}}

    g is one stochastic gradient on all of ``x``. The squared norm of its mean is estimated without bias from
    ``num_draws`` gradients, by subtracting the trace of their covariance over ``num_draws``; a negative estimate counts
    as 0. The ratio does not depend on the scale of the gradient.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``, run in its current training mode; its gradients and buffers
            are left unchanged.
        objective: Any :class:`pyro.infer.ELBO` whose loss is a tensor.
        x: Data ``[N, *event]``.
        num_draws: Number of gradients, at least 2.
        seed: Seed of the gradients' noise; the caller's random state is restored.

    Returns:
        The ratio for each child module of the pair that has parameters with a gradient, by its name; 0 where the
        gradient is always 0. A module shared by two children counts for the first.

    Raises:
        ValueError: If ``num_draws`` is less than 2, or a datum lies outside the support of its likelihood.
        FloatingPointError: If a loss or gradient is not finite.

    Source: Rainforth et al. (2018), arXiv 1802.04537, with norms over all parameters of a child module.

    Example:
        >>> from pyrodgm.infer import IWELBO
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), GaussianPosterior(mlp(9, [8], 4)))
        >>> sorted(gradient_snr(vae, IWELBO(8, gradient="dreg"), torch.ones(5, 9), num_draws=5))
        ['likelihood', 'posterior']
    """
    programs(pair, "model", "guide")
    check_objective(objective)
    tensors(x=x)
    if not x.numel() or not x.dim():
        raise TypeError(f"x must be a tensor with at least one datum, got {x!r}")
    seed = whole_number("seed", seed, None)
    num_draws = whole_number("num_draws", num_draws, 2)
    parameters = {name: p for name, p in pair.named_parameters() if p.requires_grad}
    mean: dict[str, Any] = dict.fromkeys(parameters, 0.0)
    square: dict[str, Any] = dict.fromkeys(parameters, 0.0)
    with contextlib.ExitStack() as stack:
        for context in (torch.inference_mode(False), torch.enable_grad(), unchanged(pair, x.device)):
            stack.enter_context(context)
        x = x.clone() if x.is_inference() else x  # autograd refuses inference tensors
        check_support(pair, Columns(x, pair, "x"), "x")
        stack.enter_context(own_parameters(pair))
        stack.enter_context(pyro.validation_enabled(False))
        torch.manual_seed(seed)
        for count in range(1, num_draws + 1):
            loss = objective.differentiable_loss(pair.model, pair.guide, x)
            if not loss.isfinite():
                raise FloatingPointError(f"x must have a finite loss, got {float(loss.detach())}")
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None and not gradient.isfinite().all():
                    raise FloatingPointError(f"x must have finite gradients, but that of {name} is not")
                if gradient is not None:  # Welford's running mean and sum of squared deviations
                    change = gradient.double() - mean[name]
                    mean[name] = mean[name] + change / count
                    square[name] = square[name] + change * (gradient.double() - mean[name])
    ratios = {}
    for part, _ in pair.named_children():
        names = [n for n in parameters if n.startswith(f"{part}.") and isinstance(mean[n], Tensor)]
        if names:
            variance = float(sum(square[n].sum() for n in names)) / (num_draws - 1)
            signal = float(sum(mean[n].square().sum() for n in names)) - variance / num_draws
            ratios[part] = (max(signal, 0.0) / variance) ** 0.5 if variance else math.inf if signal else 0.0
    return ratios
