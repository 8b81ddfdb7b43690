"""The VampPrior: a variational mixture of posteriors."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_number, tensors, whole_number
from pyrodgm.arithmetic.function import Function
from pyrodgm.datasets.unit_images import real_images, unit_images
from pyrodgm.distributions import DiagNormalMixture, Implicit
from pyrodgm.processes import all_sum, current_share, register_state


class VampPrior(nn.Module):
    r"""VampPrior: a uniform mixture of the approximate posteriors of K pseudo-inputs.

    .. math:: p(z) = \frac 1K \sum_{k=1}^K q(z \mid u_k), \qquad u_k \in [0, 1]^D

    The posterior is shared with the guide and not registered as a submodule: it appears neither in ``parameters()`` nor
    in ``state_dict()`` of the prior, so a pair that holds both saves it once.

    Args:
        posterior: The module that gives q(z | x), the guide's.
        pseudo_inputs: Initial pseudo-inputs, ``[K, *event]`` in [0, 1]; they are converted to the posterior's dtype.
        trainable: Whether the pseudo-inputs are learned. Fixed training images are the paper's "VampPrior data".
        bounded: Whether pseudo-inputs are clamped to [0, 1], as for images; if false they may be any real numbers, such
            as embeddings.

    Called with nothing it returns a distribution with the event shape of q(z | x). With a posterior without a density
    the prior has none either: each draw runs the posterior on a randomly drawn pseudo-input.

    Raises:
        ValueError: If ``pseudo_inputs``, or the mean or images from which they start, have values outside [0, 1], there
            is no component dimension, or the number of components is less than 1 or greater than that of the images.

    Source: Tomczak and Welling (2017), arXiv 1705.07120, eq. 9.

    Example:
        >>> import torch
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> posterior = GaussianPosterior(mlp(784, [300, 300], 2 * 40))
        >>> prior = VampPrior.around_mean(posterior, 500, torch.full((784,), 0.1))
        >>> prior().sample().shape
        torch.Size([40])
    """

    raw_inputs: Tensor
    logits: Tensor

    def __init__(
        self, posterior: nn.Module, pseudo_inputs: Tensor, trainable: bool = True, bounded: bool = True
    ) -> None:
        super().__init__()
        tensors(pseudo_inputs=pseudo_inputs)
        if pseudo_inputs.dim() < 2 or len(pseudo_inputs) == 0:
            raise ValueError(f"pseudo_inputs must have shape [K, *event], got {list(pseudo_inputs.shape)}")
        self._shared_posterior = (posterior,)  # a tuple, so that it is not registered as a submodule
        self.bounded = bounded
        taken = unit_images if bounded else real_images
        value = taken("pseudo_inputs", pseudo_inputs.detach(), posterior).clone()
        if trainable:
            self.raw_inputs = nn.Parameter(value)
        else:
            register_state(self, "replicated", "raw_inputs", value)
        register_state(self, "replicated", "logits", value.new_zeros(len(value)), persistent=False)

    @classmethod
    def around_mean(cls, posterior: nn.Module, num_components: int, mean: Tensor, std: float = 0.01) -> "VampPrior":
        """Trainable pseudo-inputs drawn around ``mean`` (``[*event]`` in [0, 1]) with standard deviation ``std``."""
        num_components = whole_number("num_components", num_components)
        tensors(mean=mean)
        mean, std = unit_images("mean", mean, posterior), finite_number("std", std, least=0.0)
        noise = std * torch.randn(num_components, *mean.shape, device=mean.device)
        return cls(posterior, (mean + noise).clamp(0.0, 1.0))

    @classmethod
    def from_data(
        cls, posterior: nn.Module, num_components: int, images: Tensor, std: float = 0.01, trainable: bool = True
    ) -> "VampPrior":
        """Pseudo-inputs that start as ``num_components`` random rows of ``images`` (``[N, *event]`` in [0, 1]).

        If trainable, normal noise of standard deviation ``std`` is added, so that duplicate images can diverge.
        """
        tensors(images=images)
        std = finite_number("std", std, least=0.0)
        if not 1 <= whole_number("num_components", num_components, None) <= len(images):
            raise ValueError(
                f"num_components must lie between 1 and the {len(images)} images given, got {num_components}"
            )
        rows = unit_images("images", images, posterior)[torch.randperm(len(images))[:num_components].to(images.device)]
        return cls(posterior, (rows + std * torch.randn_like(rows)).clamp(0.0, 1.0) if trainable else rows, trainable)

    @property
    def posterior(self) -> nn.Module:
        """The shared q(z | x)."""
        return self._shared_posterior[0]

    @property
    def pseudo_inputs(self) -> Tensor:
        """The pseudo-inputs as the posterior sees them, ``[K, *event]``, in [0, 1] if they are bounded."""
        return _Clip.apply(self.raw_inputs) if self.bounded else self.raw_inputs

    def component(self, images: Tensor) -> dist.TorchDistribution:
        """The components q(z | u) of pseudo-inputs ``[*, *event]``."""
        return self.posterior(images)

    def forward(self) -> dist.TorchDistribution:
        components = self.component(self.pseudo_inputs)
        if isinstance(components, Implicit):
            return self._implicit(components)
        base = getattr(components, "base_dist", None)
        if isinstance(base, dist.Normal) and len(components.event_shape) == 1:
            return DiagNormalMixture(self.logits, base.loc, base.scale)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), components)

    def _implicit(self, components: Implicit) -> Implicit:
        def draw(shape: torch.Size) -> Tensor:
            chosen = torch.randint(len(self.logits), shape, device=self.logits.device)
            return self.component(self.pseudo_inputs[chosen]).rsample()

        return Implicit(draw, event_shape=components.event_shape)


class _Clip(Function):
    """Clamp to [0, 1]; outside, pass only gradients that point inwards, so that a pixel can return.

    In forward mode the derivative is that of the identity. Where several processes share a batch, the direction is
    decided by the gradient of the whole batch.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value.clamp(0.0, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        share = current_share()
        ctx.is_part = share is not None and share.count < share.total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors
        whole = all_sum(gradient) if ctx.is_part else gradient
        outwards = torch.where(value < 0, whole > 0, (value > 1) & (whole < 0))
        return torch.where(outwards, 0.0, gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.clone()
