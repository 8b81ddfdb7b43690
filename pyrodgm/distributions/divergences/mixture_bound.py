"""An upper bound of the divergence of a Normal from a mixture of Normals."""

import torch
from pyro.distributions import Independent
from torch import Tensor

from pyrodgm.arithmetic import wide
from pyrodgm.distributions.diag_normal_mixture import DiagNormalMixture


def kl_mixture_bound(p: Independent, q: DiagNormalMixture) -> Tensor:
    r"""An upper bound of KL(Normal || mixture of Normals), which is not known in closed form.

    .. math:: \mathrm{KL}\Bigl(p \,\Big\|\, \sum_k w_k q_k\Bigr) \le
        -\log \sum_k w_k \exp\bigl(-\mathrm{KL}(p \,\|\, q_k)\bigr)

    It is exact for one component or equal ones, and at most KL(p || q_k) - log w_k for every component. It is not
    registered as a divergence, which it is not: ``pyrodgm.infer.ELBO(kl_fallback="bound")`` uses it, and with it
    remains a lower bound of the evidence.

    Args:
        p: Normal of batch shape ``[*batch]`` and event shape ``[D]``, made by ``.to_event(1)``.
        q: ``DiagNormalMixture`` whose batch shape broadcasts with it.

    Returns:
        ``[*batch]``, in nats.

    Raises:
        TypeError: ``p`` or ``q`` is another distribution.

    Source: Hershey and Olsen (2007), ICASSP 4, 317; Shu (2016), "Gaussian mixture VAE: lessons in variational
    inference, generative models, and deep nets".

    >>> from pyro.distributions import Normal
    >>> p = Normal(torch.zeros(2), torch.ones(2)).to_event(1)
    >>> q = DiagNormalMixture(torch.zeros(3), torch.zeros(3, 2), torch.ones(3, 2))
    >>> kl_mixture_bound(p, q).abs().item() < 1e-6
    True
    """
    base = getattr(p, "base_dist", None)
    if not isinstance(base, torch.distributions.Normal) or len(p.event_shape) != 1:
        raise TypeError(f"expected p to be a Normal made by .to_event(1), got {p}")
    if not isinstance(q, DiagNormalMixture):
        raise TypeError(f"expected q to be a DiagNormalMixture, got {q}")
    loc, scale = wide(base.loc), wide(base.scale)
    logits, other_loc, other_scale = (wide(t) for t in q._given)
    precision = other_scale.reciprocal().square()
    powers = torch.cat([0.5 * (loc.square() + scale.square()), loc], -1)
    coefficients = torch.cat(torch.broadcast_tensors(precision, -other_loc * precision), -1)
    constant = (0.5 * other_loc.square() * precision + other_scale.log()).sum(-1)
    cross_entropy = torch.einsum("...d,...kd->...k", powers, coefficients) + constant
    entropy = (scale.log() + 0.5).sum(-1)
    terms = logits.log_softmax(-1) - cross_entropy
    # logsumexp by way of log_softmax, which is not slowed down by underflow
    result = terms.log_softmax(-1).amax(-1) - terms.amax(-1) - entropy
    return result.to(base.loc.dtype).expand(torch.broadcast_shapes(p.batch_shape, q.batch_shape))
