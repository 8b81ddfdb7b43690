"""Figures of what is in the latents."""

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_tensor, tensors, whole_number
from pyrodgm.extras import needs_extra
from pyrodgm.plots.scatter import classes_in_the_plane
from pyrodgm.plots.style import BLUE, VERMILION, charts, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tsne(latents: Tensor, labels: Tensor, *, seed: int = 0, title: str | None = None) -> "Figure":
    """Latents in the plane by t-SNE, each class in a colour of its own.

    Args:
        latents: ``[N, D]``; some thousands take about a minute.
        labels: Classes ``[N]``.
        seed: Seed of the embedding.
        title: Text above.

    Raises:
        ValueError: If there are not as many labels as latents, or fewer than four.

    Source: van der Maaten and Hinton (2008), JMLR 9, 2579.
    """
    with needs_extra("plots"):
        from sklearn.manifold import TSNE

    finite_tensor("latents", latents, (None, None))
    tensors(labels=labels)
    seed = whole_number("seed", seed, 0)
    if latents.dim() != 2 or len(latents) < 4 or labels.shape != latents.shape[:1]:
        raise ValueError(
            f"latents and labels must be [N, D] and [N], N > 3; got {list(latents.shape)} and {list(labels.shape)}"
        )
    perplexity = min(30.0, (len(latents) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(latents.detach().cpu().numpy())
    figure, axes = classes_in_the_plane(points, labels.cpu().numpy())
    axes.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def sticks_used(counts: Tensor, num_sticks: int, *, title: str | None = None) -> "Figure":
    """Histogram of how many sticks each datum uses, with the mean.

    Args:
        counts: Whole numbers ``[N]`` from 1 to ``num_sticks``, as of :func:`pyrodgm.distributions.sticks_to_mass`.
        num_sticks: Number of sticks K.
        title: Text above.

    Raises:
        ValueError: If ``counts`` is empty or holds other numbers.
    """
    tensors(counts=counts)
    num_sticks = whole_number("num_sticks", num_sticks)
    if counts.is_floating_point():
        raise TypeError(f"counts must be whole numbers, got {counts.dtype}")
    used = counts.detach().cpu().numpy()
    if used.ndim != 1 or not len(used) or used.min() < 1 or used.max() > num_sticks:
        raise ValueError(f"counts: expected whole numbers [N] from 1 to {num_sticks}, N > 0; got {counts}")
    figure, (axes,) = charts(title, [1.0])
    axes.bar(np.arange(1, num_sticks + 1), np.bincount(used, minlength=num_sticks + 1)[1:], width=0.9, color=BLUE)
    axes.axvline(used.mean(), color=VERMILION, linewidth=1.8, label=f"mean {number(used.mean())}")
    axes.set_xlabel("sticks used")
    axes.set_ylabel(f"images of {len(used):,}")
    axes.legend(frameon=False)
    return figure


def latent_and_decoder_sparsity(latents: Tensor, weights: Tensor, *, title: str | None = None) -> "Figure":
    """How large each latent dimension is on average, and how strongly the decoder's first layer reads it.

    Args:
        latents: ``[N, K]``.
        weights: The first layer's weights, ``[H, K]``.
        title: Text above.

    Raises:
        ValueError: If the two do not have the same K.

    Source: Nalisnick and Smyth (2017), arXiv 1605.06197, section 6.1.
    """
    finite_tensor("latents", latents)
    finite_tensor("weights", weights)
    if latents.dim() != 2 or weights.dim() != 2 or latents.shape[1] != weights.shape[1]:
        raise ValueError(
            f"latents and weights must be [N, K] and [H, K]; got {list(latents.shape)} and {list(weights.shape)}"
        )
    figure, (upper, lower) = charts(title, [1.0, 1.0])
    dimensions = np.arange(1, latents.shape[1] + 1)
    upper.bar(dimensions, latents.detach().double().abs().mean(0).cpu().numpy(), width=0.9, color=BLUE)
    upper.set_ylabel("mean |latent|")
    upper.tick_params(labelbottom=False)
    lower.bar(dimensions, weights.detach().double().norm(dim=0).cpu().numpy(), width=0.9, color=VERMILION)
    lower.set_ylabel("norm of decoder weights")
    lower.set_xlabel("latent dimension")
    lower.sharex(upper)
    figure.align_ylabels()
    return figure
