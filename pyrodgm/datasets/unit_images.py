"""Images that a prior makes its components from."""

import torch
from torch import Tensor, nn


def unit_images(name: str, images: Tensor, posterior: nn.Module) -> Tensor:
    """The images in the dtype in which a posterior can take them: that of its parameters.

    Without parameters, floating-point images keep their own; others get the default one.

    Raises:
        ValueError: If a value is outside [0, 1]; with ``name``.
    """
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError(f"{name} must lie in [0, 1], got values from {images.min():.4g} to {images.max():.4g}")
    own = images.dtype if images.is_floating_point() else torch.get_default_dtype()
    return images.to(next((p.dtype for p in posterior.parameters()), own))
