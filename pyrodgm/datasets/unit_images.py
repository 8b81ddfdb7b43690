"""Images that a prior makes its components from."""

import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_tensor


def unit_images(name: str, images: Tensor, posterior: nn.Module) -> Tensor:
    """The images in the dtype in which a posterior can take them: that of its parameters.

    Without parameters, floating-point images keep their own; others get the default one.

    Raises:
        ValueError: If a value is outside [0, 1]; with ``name``.
    """
    if not isinstance(posterior, nn.Module):
        raise TypeError(f"posterior must be a module, got {posterior!r}")
    low, high = images.aminmax()  # which makes no tensor as large as the images
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} must lie in [0, 1], got values from {low:.4g} to {high:.4g}")
    return _in_dtype(images, posterior)


def real_images(name: str, images: Tensor, posterior: nn.Module) -> Tensor:
    """Any finite values in the dtype in which a posterior can take them.

    Raises:
        ValueError: If a value is not finite; with ``name``.
    """
    if not isinstance(posterior, nn.Module):
        raise TypeError(f"posterior must be a module, got {posterior!r}")
    return _in_dtype(finite_tensor(name, images), posterior)


def _in_dtype(images: Tensor, posterior: nn.Module) -> Tensor:
    own = images.dtype if images.is_floating_point() else torch.get_default_dtype()
    return images.to(next((p.dtype for p in posterior.parameters()), own))
