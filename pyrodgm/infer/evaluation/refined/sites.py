"""Sites of the joint density whose latents a proposal can be refined for."""

from typing import Any

from torch import Tensor
from torch.distributions import Independent, constraints

from pyrodgm.errors import PyrodgmError
from pyrodgm.infer.estimators.reading import counted, mask_of
from pyrodgm.infer.estimators.sites import Site, Trace


class UnsupportedError(PyrodgmError, ValueError):
    """A pair whose latents are no real vector a datum, or that says nothing of its curvature."""


def joint_sites(model: Trace) -> list[Site]:
    """The sites of the joint density: all that count but what an ``obs_mask`` leaves unobserved, which integrates to 1.

    A mask of False takes a site's density out.
    """
    sites = counted(model)
    names = {site["name"] for site in sites}
    halves = ("_observed", "_unobserved")  # as Pyro calls the two parts of such a site
    missing = {n for n in names if n.endswith(halves[1]) and n.removesuffix(halves[1]) + halves[0] in names}
    return [site for site in sites if site["name"] not in missing and site["mask"] is not False]


def base_of(fn: Any) -> Any:
    """A family without the wrappers that make its batch dimensions those of an event."""
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def check_site(site: Site, allowed: Any) -> None:
    """Refuse a site that lies in further plates or is scaled, and a latent one that is masked or of another support.

    No support is allowed alone where ``allowed`` is None.
    """
    name, fn = site["name"], site["fn"]
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    if [frame.dim for frame in frames] != [-1]:
        raise UnsupportedError(f"site '{name}' must lie in the data plate at dimension -1 alone")
    if isinstance(site["scale"], Tensor) or site["scale"] != 1.0:
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
