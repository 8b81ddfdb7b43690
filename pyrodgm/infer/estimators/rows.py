"""Log-weights of the independent rows of a pair: the elements of the plates that all sites share."""

import math
from collections.abc import Collection, Iterable, Sequence

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyrodgm.infer.estimators.reading import Latent, Reading, mask_of, plates, subsampling
from pyrodgm.infer.estimators.sites import Site, log_prob, sum_rows
from pyrodgm.infer.tracing.program_error import ProgramError


class Rows:
    """The rows of a reading, and log-probabilities of each.

    Their plates may be subsampled: that scale is taken out, and multiplies the bounds of the rows. No other scale has a
    meaning inside a logarithm.

    Attributes:
        dims: Dimensions of the rows, counted from the right.
        scale: Product of the subsampling scales of their plates.

    Args:
        sites: The sites that count.
        others: Sites that only say which plates all share.
        dims: Dimensions that rows lie along; those of all plates that all sites share, by default.

    Raises:
        ProgramError: For a site that is scaled otherwise, or lies in a subsampled plate that not all sites share.
    """

    def __init__(self, sites: Sequence[Site], others: Sequence[Site] = (), dims: Collection[int] | None = None) -> None:
        stacks = [plates(site) for site in (*sites, *others)]
        shared = set.intersection(*stacks) if stacks else set()
        shared = shared if dims is None else {frame for frame in shared if frame.dim in dims}
        self.dims = {frame.dim for frame in shared}
        self.scale = subsampling(shared)
        for site in sites:
            self._check_scale(site)

    @classmethod
    def of(cls, reading: Reading, dims: Collection[int] | None = None) -> "Rows":
        """The rows of a pair; refuses sites that are masked in one program alone, where Pyro's validation is on."""
        for latent in reading.latents:
            _check_masks(latent)
        latents = [site for latent in reading.latents for site in (latent.q, latent.p) if site is not None]
        return cls([*reading.observed, *latents], reading.from_model, dims)

    def _check_scale(self, site: Site) -> None:
        scale = site["scale"]
        if isinstance(scale, Tensor) or not math.isclose(scale, self.scale, rel_tol=1e-9):
            raise ProgramError(
                site["name"],
                f"must have no scale but that of subsampled plates that all sites are in, {self.scale:g}, got {scale}; "
                "it has no meaning in importance weights",
            )

    def total(self, sites: Iterable[Site]) -> Tensor:
        """Sum of the log-probabilities of some sites for each row, with the scale of the rows' plates taken out."""
        terms = [sum_rows(log_prob(site), self.dims) / self.scale for site in sites]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0) if terms else torch.zeros(())

    def unmasked(self, sites: Iterable[Site]) -> Tensor | None:
        """1 for rows in which no element of these sites is masked, else 0, ``[*rows]``; None where none has a mask."""
        masks = [torch.as_tensor(mask) for mask in map(mask_of, sites) if mask is not True]
        if not masks:
            return None
        hidden = sum(sum_rows((~mask).to(torch.get_default_dtype()), self.dims) for mask in masks)
        return torch.as_tensor(hidden == 0).to(torch.get_default_dtype())


def _check_masks(latent: Latent) -> None:
    """Refuse a site that only one of the programs masks: its weight would not be that of a proposal."""
    if latent.p is None or not is_validation_enabled():
        return
    q, p = mask_of(latent.q), mask_of(latent.p)
    if q is not p and not bool(torch.as_tensor(q == p).all()):
        raise ProgramError(latent.name, "must have the same mask in model and guide for importance weights")
