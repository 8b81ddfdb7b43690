"""The sites of the joint density, and checks that a refined proposal can handle them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent, constraints

from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.estimators.reading import counted, mask_of, plates, subsampling
from pyrodgm.infer.estimators.sites import Site, Trace
from pyrodgm.infer.tracing.contexts import fork_rng

HALVES = ("_observed", "_unobserved")  # Pyro's name suffixes for the two parts of a site with an obs_mask


class UnsupportedError(PyrodgmError, ValueError):
    """Raised for a pair that a refined proposal cannot handle; the message has the reason."""


def joint_sites(model: Trace) -> list[Site]:
    """The sites of the joint density.

    Left out are the values that an ``obs_mask`` leaves unobserved, which integrate to 1, and sites with the mask False.
    """
    sites = counted(model)
    names = {site["name"] for site in sites}
    missing = {n for n in names if n.endswith(HALVES[1]) and n.removesuffix(HALVES[1]) + HALVES[0] in names}
    return [site for site in sites if site["name"] not in missing and site["mask"] is not False]


class _AllMissing(Messenger):
    """Replaces the value of an ``obs_mask`` site by its draw, as if all were unobserved, to expose what it feeds."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: dict[str, Tensor] = {}

    def _pyro_sample(self, msg: Any) -> None:
        if msg["infer"].get("_deterministic") and msg["name"] + HALVES[1] in self.drawn:
            msg["value"] = self.drawn[msg["name"] + HALVES[1]]

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["name"].endswith(HALVES[1]):
            self.drawn[msg["name"]] = msg["value"]


def require_fixed(log_joint: Callable[[], Tensor], device: torch.device) -> None:
    """Raise UnsupportedError for a joint density that differs between two random states at the same latents.

    This also catches values that an ``obs_mask`` leaves unobserved and that feed other sites: they are latents that no
    proposal draws.
    """

    def evaluate(seed: int) -> Tensor:
        with fork_rng(device), _AllMissing(), torch.no_grad():
            torch.manual_seed(seed)
            return log_joint()

    if not torch.allclose(evaluate(0), evaluate(1), rtol=1e-4, atol=1e-4, equal_nan=True):
        raise UnsupportedError(
            "its model draws more than its latents: at the same latents the joint density differs from run to run "
            "(missing values that feed other sites are latents too)"
        )


def base_of(fn: Any) -> Any:
    """The base distribution inside any ``Independent`` wrappers."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def check_site(site: Site, allowed: Any) -> None:
    """Raise UnsupportedError for a site in further plates or with a scale, and for a masked latent or a wrong support.

    ``allowed`` is the support required of latents; None allows any. The scale of a subsampled data plate passes, since
    the joint density of a datum is computed without scales.
    """
    name, fn = site["name"], site["fn"]
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    if [frame.dim for frame in frames] != [-1]:
        raise UnsupportedError(f"site '{name}' must lie in the data plate at dimension -1 alone")
    if isinstance(site["scale"], Tensor) or not math.isclose(site["scale"], subsampling(plates(site)), rel_tol=1e-9):
        raise UnsupportedError(f"site '{name}' is scaled")
    if site["is_observed"]:
        return
    if mask_of(site) is not True:
        raise UnsupportedError(f"site '{name}' is masked")
    support: Any = fn.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if allowed is not None and support is not allowed:
        what = "real" if allowed is constraints.real else "binary"
        raise UnsupportedError(f"site '{name}', of family {type(base_of(fn)).__name__}, is not {what}")
