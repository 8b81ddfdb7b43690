"""Sites that labels are values of: numbers, or one-hot vectors."""

from typing import Any

import torch
from pyro.distributions.torch_distribution import ExpandedDistribution, MaskedDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Categorical, Independent, OneHotCategorical, RelaxedOneHotCategorical

from pyrodgm.infer.estimators.reading import fn_of
from pyrodgm.infer.estimators.sites import Site
from pyrodgm.infer.tracing.program_error import ProgramError


def family_of(fn: Any) -> Any:
    """A distribution without the wrappers that change its shape or mask."""
    while isinstance(fn, (Independent, ExpandedDistribution, MaskedDistribution)):
        fn = fn.base_dist
    return fn


def has_classes(site: Site) -> bool:
    """Whether :func:`most_probable` takes the site: with finitely many values, one-hot or relaxed one-hot."""
    fn = fn_of(site)
    if isinstance(family_of(fn), (OneHotCategorical, RelaxedOneHotCategorical)):
        return len(fn.event_shape) == 1
    return bool(fn.has_enumerate_support) and not fn.event_shape


def most_probable(site: Site) -> tuple[Tensor, Tensor]:
    """The most probable class of a site ``[*batch]``, and the label of each class ``[K]``: its value, or its number.

    Of a relaxed one-hot site it is that with the largest probability of being the largest entry.

    Raises:
        ProgramError: If it is no such site.
    """
    fn = fn_of(site)
    if not has_classes(site):
        shape = list(fn.event_shape)
        raise ProgramError(
            site["name"],
            f"must have finitely many numbers as values, or be one-hot, got {type(family_of(fn)).__name__} of event "
            f"shape {shape}",
        )
    family = family_of(fn)
    if isinstance(family, RelaxedOneHotCategorical):
        return family.logits.argmax(-1).expand(fn.batch_shape), torch.arange(family.logits.shape[-1])
    values = fn.enumerate_support(expand=False)
    best = fn.log_prob(values).argmax(0)
    return best, torch.arange(len(values)) if fn.event_shape else values.flatten()


class Labelled(Messenger):
    """Context in which a site is observed to be labels, ``[*batch]`` or one-hot, whichever of these it takes."""

    def __init__(self, site: str, labels: Tensor) -> None:
        super().__init__()
        self.site, self.labels = site, labels

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] != self.site:
            return
        fn, labels = msg["fn"], self.labels
        family, missing = family_of(fn), len(fn.shape()) - labels.dim()
        if isinstance(family, OneHotCategorical) and missing == 1:
            # a comparison: PyTorch's own one_hot looks at the values, which a traced step cannot
            classes = torch.arange(fn.event_shape[-1], device=labels.device)
            labels = (labels.unsqueeze(-1) == classes).to(family.logits.dtype)
        elif isinstance(family, Categorical) and missing == -1:
            labels = labels.argmax(-1)
        msg["value"], msg["is_observed"] = labels, True
