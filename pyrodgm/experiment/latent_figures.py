"""Figures of the latents of a trained pair: where classes lie, and what the sticks of a stick-breaking one do."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pyrodgm import plots
from pyrodgm.datasets import Dataset
from pyrodgm.distributions import first_sticks, sticks_to_mass
from pyrodgm.experiment.results import spread
from pyrodgm.infer import posterior_means, posterior_samples, sample
from pyrodgm.nn import StickWeights
from pyrodgm.priors import GEMPrior

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = (2, 3, 6, 7, 8, 9, 50)  # numbers of sticks whose samples are shown
MASS = 0.99
EMBEDDED = 2000  # images in a t-SNE


def latent_figures(pair: Any, data: Dataset, seed: int = 0) -> dict[str, "Figure"]:
    """Figures by name: ``tsne`` where there are labels; ``first_sticks``, ``sticks_used`` and ``sparsity`` of sticks.

    ``first_sticks`` shows means of samples in rows, each row the same draws with only the first d sticks left (the
    others set to zero and the rest not scaled up). ``sticks_used`` counts the sticks that hold 99 % of a sample of the
    posterior.
    """
    name, figures = data.name, {}
    x = data.test.images[spread(len(data.test), min(EMBEDDED, len(data.test)))]
    means, draws = posterior_means(pair, x), posterior_samples(pair, x)
    top = "z" if "z" in means else "z2"
    if top not in means:
        return {}
    if data.test.labels is not None:
        labels = data.test.labels[spread(len(data.test), len(x))]
        figures["tsne"] = plots.tsne(means[top].cpu(), labels.cpu(), seed=seed, title=f"{name}: t-SNE of mean latents")
    if isinstance(getattr(pair, "prior", None), GEMPrior) and "pi" not in means:
        size = pair.prior.truncation
        counts = [d for d in FIRST if d < size] + [size]
        figures["first_sticks"] = plots.image_grid(
            torch.cat([_with_first_sticks(pair, x[:1].expand(12, -1), d, seed) for d in counts]),
            data.image_shape,
            columns=12,
            title=f"{name}: samples with the first {', '.join(map(str, counts))} sticks",
        )
        used = sticks_to_mass(draws[top], MASS)
        figures["sticks_used"] = plots.sticks_used(used, size, title=f"{name}: sticks that hold 99 % of a sample")
        reader = _first_layer(pair.likelihood, size)
        if reader is not None:
            figures["sparsity"] = plots.latent_and_decoder_sparsity(
                means[top], reader.weight, title=f"{name}: sparsity of latents and decoder"
            )
    return figures


def _with_first_sticks(pair: Any, like: Tensor, count: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    links = [module for module in pair.modules() if isinstance(module, StickWeights)]
    hooks = [link.register_forward_hook(lambda link, given, weights: first_sticks(weights, count)) for link in links]
    try:
        return sample(pair, like)
    finally:
        for hook in hooks:
            hook.remove()


def _first_layer(net: nn.Module, features: int) -> nn.Linear | None:
    """The first linear layer, if it is what reads the latents."""
    linear = next((module for module in net.modules() if isinstance(module, nn.Linear)), None)
    return linear if linear is not None and linear.in_features == features else None
