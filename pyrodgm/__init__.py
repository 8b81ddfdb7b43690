"""Deep generative models whose priors and posteriors go past the Gaussian, on Pyro and PyTorch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrodgm.errors import PyrodgmError
    from pyrodgm.experiment.saved_run import load_run
    from pyrodgm.infer.training.hub import load_from_hub, push_to_hub
    from pyrodgm.infer.training.saving import load, save

__version__ = "0.1.0"

_SUBPACKAGES = (
    "arithmetic",
    "boltzmann",
    "cli",
    "datasets",
    "distributions",
    "experiment",
    "figures",
    "infer",
    "likelihoods",
    "models",
    "nn",
    "plots",
    "posteriors",
    "priors",
    "processes",
    "testing",
    "zoo",
)

_NAMES = {
    "PyrodgmError": "errors",
    "load": "infer.training.saving",
    "load_run": "experiment.saved_run",
    "load_from_hub": "infer.training.hub",
    "push_to_hub": "infer.training.hub",
    "save": "infer.training.saving",
}
__all__ = ["PyrodgmError", "__version__", "load", "load_from_hub", "load_run", "push_to_hub", "save"]


def __getattr__(name: str) -> Any:
    """Import a subpackage, function or class at its first use, so that ``import pyrodgm`` is light."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES, *_NAMES})
