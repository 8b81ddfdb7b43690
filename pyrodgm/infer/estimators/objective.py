"""Which estimators of Pyro's have a loss that training can use."""

from typing import Any

import pyro.infer

_TRACED_BY_PYRO = {
    pyro.infer.JitTrace_ELBO: pyro.infer.Trace_ELBO,
    pyro.infer.JitTraceMeanField_ELBO: pyro.infer.TraceMeanField_ELBO,
    pyro.infer.JitTraceEnum_ELBO: pyro.infer.TraceEnum_ELBO,
}
_WITHOUT_TENSOR = {
    pyro.infer.RenyiELBO: "pyrodgm.infer.IWELBO(num_particles, alpha=...)",
    pyro.infer.TraceGraph_ELBO: "pyro.infer.Trace_ELBO() or TraceEnum_ELBO()",
    pyro.infer.ReweightedWakeSleep: "pyrodgm.infer.IWELBO(num_particles)",
}


def check_objective(objective: Any) -> None:
    """Require an objective whose ``differentiable_loss`` is a tensor that says how far training is.

    Raises:
        TypeError: If it is none; says what to pass.
    """
    if isinstance(objective, type):
        raise TypeError(f"objective must be an instance: pass {objective.__name__}(), got the class")
    name = type(objective).__name__
    for kind, plain in _TRACED_BY_PYRO.items():
        if isinstance(objective, kind):
            raise TypeError(
                f"objective must leave tracing to the training step: pass pyro.infer.{plain.__name__}(), got {name}, "
                "which has torch.jit trace the parameter store"
            )
    for kind, instead in _WITHOUT_TENSOR.items():
        if isinstance(objective, kind):
            raise TypeError(
                f"objective must have a loss that is a tensor: pass {instead}, got pyro.infer.{kind.__name__}"
            )
    if isinstance(objective, pyro.infer.TraceTailAdaptive_ELBO):
        raise TypeError(
            "objective must have a loss: pass pyrodgm.infer.IWELBO(num_particles, alpha=...), got "
            f"pyro.infer.{name}, which has gradients alone"
        )
    if not callable(getattr(objective, "differentiable_loss", None)):
        raise TypeError(
            "objective must have a method differentiable_loss that returns a tensor, as pyrodgm.infer.ELBO() has, got "
            f"{name}"
        )
