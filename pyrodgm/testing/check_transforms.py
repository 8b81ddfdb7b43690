"""Checks of a family of distributions as functions of its parameters: dtypes, traces and ``torch.func``."""

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.infer.tracing.contexts import fork_rng

Build = Callable[..., Any]
Parameters = Mapping[str, Tensor]
TOLERANCES = {torch.float32: 1e-3, torch.float64: 1e-8}


def check_precision(build: Build, parameters: Parameters, moments: bool, single_error: float) -> None:
    """Draws, densities and moments have the dtype of the parameters; both dtypes agree; values may have the other.

    Draws of a discrete distribution may be int64 instead.
    """
    narrow = {name: p.float() for name, p in parameters.items()}
    single, double = build(**narrow), build(**{name: p.double() for name, p in narrow.items()})
    x = single.sample((100,))
    dtypes = {"a draw": x.dtype, "log_prob": single.log_prob(x).dtype}
    if x.dtype == torch.int64 and single.support.is_discrete:
        del dtypes["a draw"]
    dtypes |= {"the mean": single.mean.dtype} if moments else {}
    for what, dtype in dtypes.items():
        assert dtype == torch.float32, f"{what} of float32 parameters must be float32, got {dtype}"
    exact = double.log_prob(x.double())
    for what, found in (
        ("float32", single.log_prob(x)),
        ("float32 parameters and a float64 value", single.log_prob(x.double())),
        ("float64 parameters and a float32 value", double.log_prob(x)),
    ):
        error = ((found.double() - exact).abs() / exact.abs().clamp(min=1.0)).max().item()
        assert error < single_error, f"log_prob of {what} must be within {single_error} of float64's, got {error:.1e}"


def check_traced(build: Build, parameters: Parameters, smooth: bool) -> None:
    """A trace of draw, density and gradients gives the same at other parameters than those it was made at."""

    def step(*values: Tensor) -> tuple[Tensor, ...]:
        d = build(**dict(zip(parameters, values, strict=True)))
        x = d((5,))
        loss = d.log_prob(x if smooth else x.detach()).mean()
        loss = loss + x.mean(dtype=loss.dtype)
        return x, loss, *torch.autograd.grad(loss, values, allow_unused=True, materialize_grads=True)

    def at(scale: float) -> list[Tensor]:
        return [(p * scale).requires_grad_() for p in parameters.values()]

    results = []
    with fork_rng(torch.device("cpu")), pyro.validation_enabled(False):
        for run in (make_fx(step)(*at(1.0)), step):
            torch.manual_seed(3)
            results.append(run(*at(1.1)))
    torch.testing.assert_close(*results, msg=lambda found: f"a trace by make_fx must give what it was made of: {found}")


def check_transforms(build: Build, parameters: Parameters, smooth: bool) -> None:
    """``torch.func`` differentiates density and draw as ``backward`` does, forward, reverse and under ``vmap``."""
    values, tolerance = tuple(parameters.values()), TOLERANCES[next(iter(parameters.values())).dtype]
    x = build(**parameters).sample()
    numbers = tuple(range(len(values)))

    def made(values: tuple[Tensor, ...]) -> Any:
        return build(**dict(zip(parameters, values, strict=True)))

    def density(*values: Tensor) -> Tensor:
        return made(values).log_prob(x).sum()

    def of_value(value: Tensor) -> Tensor:
        return made(values).log_prob(value).sum()

    def draw(*values: Tensor) -> Tensor:
        d = made(values)
        z = d.rsample()
        return d.log_prob(z if smooth else z.detach()).sum() + z.sum()

    functions: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {"log_prob": (density, values)}
    if smooth:
        functions["log_prob by its value"] = (of_value, (x,))
    if build(**parameters).has_rsample:
        functions["a draw and its log_prob"] = (draw, values)
    with fork_rng(torch.device("cpu")), pyro.validation_enabled(False):  # a check is a branch on a tensor's value
        for what, (function, inputs) in functions.items():
            directions = tuple(0.3 + 0.1 * torch.rand_like(v) for v in inputs)

            def says(found: str, what: str = what) -> str:
                return f"torch.func of {what} must agree with backward: {found}"

            argnums = numbers[: len(inputs)]
            leaves = [v.detach().clone().requires_grad_() for v in inputs]
            torch.manual_seed(0)
            right = torch.autograd.grad(function(*leaves), leaves, allow_unused=True, materialize_grads=True)
            torch.manual_seed(0)
            slopes = torch.func.grad(function, argnums)(*inputs)
            torch.testing.assert_close(slopes, right, rtol=tolerance, atol=tolerance, msg=says)
            torch.manual_seed(0)
            tangent = torch.func.jvp(function, inputs, directions)[1]
            along = torch.stack([(s * v).sum() for s, v in zip(right, directions, strict=True)]).sum()
            torch.testing.assert_close(tangent, along, rtol=tolerance, atol=tolerance, msg=says)
            torch.manual_seed(0)
            many = tuple(torch.stack([v, v]) for v in inputs)
            for both, one in zip(_batched(torch.func.grad(function, argnums), many, right), right, strict=True):
                torch.testing.assert_close(both, torch.stack([one, one]), rtol=tolerance, atol=tolerance, msg=says)


def _batched(function: Callable[..., Any], many: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """``function`` under ``vmap``, with equal draws for all of the batch where PyTorch has these."""
    try:
        return torch.func.vmap(function, randomness="same")(*many)
    except RuntimeError as error:
        if "randomness" not in str(error):
            raise
    # PyTorch's normal numbers may only be equal under vmap, its gamma numbers only different: these have no right value
    found = torch.func.vmap(function, randomness="different")(*many)
    assert all(bool(f.isfinite().all()) for f in found), "gradients of draws under vmap must be finite"
    return tuple(torch.stack([r, r]) for r in right)
