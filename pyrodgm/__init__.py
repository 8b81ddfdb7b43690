"""Deep generative models whose priors and posteriors go past the Gaussian, on Pyro and PyTorch."""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_SUBPACKAGES = (
    "boltzmann",
    "cli",
    "datasets",
    "distributions",
    "experiment",
    "infer",
    "likelihoods",
    "models",
    "nn",
    "plots",
    "posteriors",
    "priors",
    "testing",
    "zoo",
)


def __getattr__(name: str) -> ModuleType:
    """Import a subpackage at its first use, so that ``import pyrodgm`` is light."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_SUBPACKAGES])
