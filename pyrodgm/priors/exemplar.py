"""The exemplar prior: a mixture with one component per training image."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import finite_range, tensors, whole_number
from pyrodgm.datasets.training_indices import current_rows
from pyrodgm.datasets.unit_images import unit_images
from pyrodgm.distributions import IsotropicNormalMixture
from pyrodgm.processes import gather_rows, register_state

CHUNK = 5000  # images encoded per batch, without gradient
BLOCK = 128  # columns per block in the search for the smallest values


class ExemplarPrior(nn.Module):
    r"""A mixture of Normals around the posterior means of all N training images, with one learned variance.

    .. math:: p(z) = \frac 1N \sum_{n=1}^N \mathcal N\bigl(z; \mu(x_n), \sigma^2 I\bigr), \qquad
              \mu(x) = \mathbb E_{q(z \mid x)}[z]

    In training, the component of a datum's own image is left out (leave-one-out). :func:`pyrodgm.infer.fit` declares
    which rows a batch holds; in your own training loop, use :func:`training_rows`. The other components are:

    - with ``num_neighbours`` = k, the union over the batch of each datum's k nearest images, by distance between
      posterior means. With weights 1 / (N - 1) this is a lower bound on the leave-one-out mixture. The search uses
      cached means of all images; the mean of an image is refreshed whenever it is in a batch, at least once per epoch,
      or found as a neighbour;
    - with ``num_exemplars`` = M, a random subset of M images, drawn anew at each step;
    - with neither, all other images.

    Outside these contexts and in evaluation mode the mixture has all images.

    Args:
        posterior: The module that gives q(z | x), the guide's. It is shared and not registered as a submodule.
        exemplars: The training images in the order of the training data, ``[N, *event]`` in [0, 1]; they are converted
            to the posterior's dtype.
        num_neighbours: Nearest images per datum in training, k; None for no restriction to neighbours.
        num_exemplars: Random images per step, M, only without ``num_neighbours``; None for all.
        binarize: Whether an image's values are probabilities from which a binary image is drawn at each use.
        log_variance_range: Bounds (min, max) to which the log-variance is clamped.

    Called with nothing it returns a distribution with event shape ``[D]``; in training its batch shape is ``[batch]``.

    Raises:
        ValueError: If there are fewer than two exemplars, values outside [0, 1], or a number out of range; on a call,
            if the training data have another number of rows.

    Source: Norouzi, Fleet, Norouzi (2020), arXiv 2004.04795, sections 3 and 3.1.

    Example:
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> prior = ExemplarPrior(GaussianPosterior(mlp(784, [30], 2 * 4)), torch.rand(200, 784))
        >>> prior().log_prob(torch.zeros(5, 4)).shape
        torch.Size([5])
    """

    exemplars: Tensor
    means: Tensor

    def __init__(
        self,
        posterior: nn.Module,
        exemplars: Tensor,
        num_neighbours: int | None = 10,
        num_exemplars: int | None = None,
        binarize: bool = False,
        log_variance_range: tuple[float, float] = (-6.0, 2.0),
    ) -> None:
        super().__init__()
        tensors(exemplars=exemplars)
        count = len(exemplars) if exemplars.dim() > 1 else 0
        if count < 2:
            raise ValueError(f"exemplars must have shape [N, *event] with N of at least 2, got {list(exemplars.shape)}")
        exemplars = unit_images("exemplars", exemplars, posterior)
        if num_neighbours is not None and num_exemplars is not None:
            raise ValueError(
                f"num_neighbours and num_exemplars exclude each other, got {num_neighbours} and {num_exemplars}"
            )
        limits = (("num_neighbours", num_neighbours, 1, count - 1), ("num_exemplars", num_exemplars, 2, count))
        for name, value, least, most in limits:
            if value is not None and not least <= whole_number(name, value, None) <= most:
                raise ValueError(f"{name} must lie between {least} and {most} for {count} exemplars, got {value}")
        self._shared_posterior = (posterior,)  # a tuple, so that it is not registered as a submodule
        self.num_neighbours, self.num_exemplars, self.binarize = num_neighbours, num_exemplars, binarize
        self.log_variance_range = finite_range("log_variance_range", log_variance_range)
        self.log_variance = nn.Parameter(torch.zeros(()))
        # the training data: whoever builds the prior has them, so they are not saved
        register_state(self, "replicated", "exemplars", exemplars.contiguous(), persistent=False)
        register_state(self, "replicated", "means", self._all_means())

    @property
    def posterior(self) -> nn.Module:
        """The shared q(z | x)."""
        return self._shared_posterior[0]

    def component(self, images: Tensor) -> dist.TorchDistribution:
        """The components centred on images ``[*, *event]``."""
        return dist.Normal(self._encode(images), self._scale).to_event(1)

    def forward(self) -> dist.TorchDistribution:
        batch = current_rows() if self.training else None
        if batch is None:
            loc = self._encode(self.exemplars) if torch.is_grad_enabled() else self._all_means()
            return self._mixture(loc.new_zeros(len(loc)), loc)
        rows = batch.index
        if batch.total != len(self.exemplars):
            raise ValueError(f"expected all {batch.total} training images as exemplars, got {len(self.exemplars)}")
        if self.num_neighbours is not None:
            return self._of_neighbours(rows, batch.batch, self.num_neighbours)
        chosen = torch.randperm(len(self.exemplars), device=rows.device)[: self.num_exemplars]
        loc = self._encode(self.exemplars[chosen])
        return self._mixture(loc.new_zeros(len(loc)).masked_fill(chosen == rows.unsqueeze(-1), -math.inf), loc)

    def _of_neighbours(self, rows: Tensor, batch: Tensor, count: int) -> dist.TorchDistribution:
        with torch.no_grad():
            own = self._encode(self.exemplars[rows])
            self.means.index_copy_(0, batch, gather_rows(own))
            # squared distances up to a constant per datum
            distance = torch.addmm(self.means.square().sum(-1), own, self.means.T, alpha=-2)
            found = _smallest(distance.scatter_(1, rows.unsqueeze(-1), math.inf), count).flatten()
            near = gather_rows(found)  # the neighbours of the whole batch are the components of each datum
            times = (near.unsqueeze(-1) == near).sum(-1)  # how often each image was found: duplicates share its weight
        loc = gather_rows(self._encode(self.exemplars[found]))
        with torch.no_grad():
            self.means.index_copy_(0, near, loc.detach())
        log_weight = -times.to(loc).log() - math.log(len(self.exemplars) - 1)
        log_weight = log_weight.masked_fill(near == rows.unsqueeze(-1), -math.inf)
        return self._mixture(log_weight, loc, log_weight.logsumexp(-1))

    def _mixture(self, logits: Tensor, loc: Tensor, log_share: Tensor | float = 0.0) -> dist.TorchDistribution:
        return IsotropicNormalMixture(logits, loc, self._scale, log_share)

    @property
    def _scale(self) -> Tensor:
        return (0.5 * self.log_variance.clamp(*self.log_variance_range)).exp()

    def _encode(self, images: Tensor) -> Tensor:
        return self.posterior(torch.bernoulli(images) if self.binarize else images).mean

    @torch.no_grad()
    def _all_means(self) -> Tensor:
        return torch.cat([self._encode(part) for part in self.exemplars.split(CHUNK)])


def _smallest(values: Tensor, count: int) -> Tensor:
    """Columns of the ``count`` smallest values of each row of ``[B, N]``, ``[B, count]`` in any order.

    They lie in the ``count`` blocks of columns with the smallest minima, and ``amin`` is faster than ``topk``.
    """
    columns = values.shape[1]
    if columns < 2 * count * BLOCK:
        return values.topk(count, largest=False, sorted=False).indices
    whole = columns - columns % BLOCK
    minima = values[:, :whole].unflatten(1, (-1, BLOCK)).amin(-1)
    if whole < columns:
        minima = torch.cat([minima, values[:, whole:].amin(1, keepdim=True)], 1)
    best = minima.topk(count, largest=False, sorted=False).indices
    places = (best.unsqueeze(-1) * BLOCK + torch.arange(BLOCK, device=values.device)).flatten(1)
    inside = values.gather(1, places.clamp(max=columns - 1)).masked_fill(places >= columns, math.inf)
    return places.gather(1, inside.topk(count, largest=False, sorted=False).indices)
