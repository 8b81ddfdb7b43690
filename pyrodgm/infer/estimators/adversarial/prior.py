"""How an adversarial objective trains a prior."""

from torch import Tensor

from pyrodgm.infer.estimators.sites import Site


def fit_of_prior(site: Site) -> Tensor:
    r"""A term of value 0 whose gradient is that of :math:`-\log p(z)` in the parameters of the prior alone.

    Where the prior has no density the gradient is 0.

    Args:
        site: The latent site of the model, at a value of the guide.
    """
    value = site["value"].detach()
    try:
        found: Tensor = site["fn"].log_prob(value).sum()
    except NotImplementedError:
        return value.new_zeros(())
    return found.detach() - found
