"""Sites of the joint density whose latents a proposal can be refined for."""

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

HALVES = ("_observed", "_unobserved")  # as Pyro calls the two parts of a site with an obs_mask


class UnsupportedError(PyrodgmError, ValueError):
    """A pair whose latents are no real vector a datum, or that says nothing of its curvature."""


def joint_sites(model: Trace) -> list[Site]:
    """The sites of the joint density: all that count but what an ``obs_mask`` leaves unobserved, which integrates to 1.

    A mask of False takes a site's density out.
    """
    sites = counted(model)
    names = {site["name"] for site in sites}
    missing = {n for n in names if n.endswith(HALVES[1]) and n.removesuffix(HALVES[1]) + HALVES[0] in names}
    return [site for site in sites if site["name"] not in missing and site["mask"] is not False]


class _AllMissing(Messenger):
    """Lets what an ``obs_mask`` leaves unobserved stand for the whole site, so that all that it feeds shows."""

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
    """Refuse a joint density that differs between two random states at the same latents.

    So does one in which a value that ``obs_mask`` leaves unobserved, a latent that no proposal draws, feeds a site.
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
    """A family without the wrappers that make its batch dimensions those of an event."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def check_site(site: Site, allowed: Any) -> None:
    """Refuse a site that lies in further plates or is scaled, and a latent one that is masked or of another support.

    No support is allowed alone where ``allowed`` is None. The scale of a subsampled data plate is let pass: the joint
    density of a datum, which is read without any scale, does not have it.
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
