"""Divergences of which a share per datum is free."""

import math

import torch
from torch import Tensor

from pyrodgm.infer.estimators.sites import Site
from pyrodgm.processes import all_sum, current_share


def with_free_bits(divergence: Tensor, site: Site, free: float) -> Tensor:
    """At least ``free`` nats per element of the site's plates in place of a divergence that is less, without gradient.

    Args:
        divergence: Of all elements of a site, ``[]`` in nats; where several processes share a batch, all of it counts.
        site: The site, whose scale it has.
        free: Nats per element.
    """
    rows = math.prod(frame.size for frame in site["cond_indep_stack"] if frame.vectorized) * site["scale"]
    share, total, own = current_share(), divergence.detach(), free * torch.as_tensor(rows).to(divergence)
    least = own
    if share is not None and share.count < share.total:
        total, least = all_sum(total * share.counts), all_sum(own * share.counts)
    return torch.where(total > least, divergence, own)
