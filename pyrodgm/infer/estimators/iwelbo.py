"""Importance-weighted and Rényi bounds, per datum, with low-variance gradients."""

import math
from typing import Any, Literal, get_args

import pyro.poutine as poutine
import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, one_of
from pyrodgm.infer.estimators.elbo import TensorELBO
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.reading import Reading, counted, read
from pyrodgm.infer.estimators.rows import Rows
from pyrodgm.infer.estimators.sites import Trace, checked, exchange

Gradient = Literal["reparam", "stl", "dreg"]


class IWELBO(TensorELBO):
    r"""The importance-weighted bound of each datum, or its Rényi generalisation.

    .. math:: \mathcal L_K^\alpha(x) = \frac 1{1-\alpha} \log \frac 1K \sum_{k=1}^K w_k^{1-\alpha}, \qquad
              w_k = \frac{p(x, z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    The data are the rows of the plates that all sites share; subsampling of such a plate scales the bounds of the rows,
    outside the logarithm, so that the result stays a lower bound (for :math:`\alpha \ge 0`) of the evidence. A latent
    site that the guide lacks is drawn from the model and cancels.

    Args:
        num_particles: Number of samples K, drawn in one vectorised pass.
        alpha: Order of the bound. 0 is the importance-weighted bound; the limit 1 is :class:`ELBO`.
        gradient: How the gradient with respect to the guide's parameters is estimated:
            ``"reparam"``, the plain derivative of the bound, unbiased;
            ``"stl"``, sticking the landing, without the score term: unbiased for K = 1, biased for larger K, and free
            of variance where the guide is exact;
            ``"dreg"``, doubly reparametrised: unbiased, with a signal that does not vanish as K grows; the plain
            derivative in rows in which a latent site is masked.
        kl_weight: Multiplies log p(z) - log q(z | x) in each weight.
        max_plate_nesting: As in :class:`pyro.infer.ELBO`.

    Raises:
        ValueError: For alpha = 1 or an unknown gradient; from the loss (a :class:`ProgramError`), if a site has no
            reparametrised sampler where the loss is differentiated, if a plate that not all sites share is subsampled,
            if a site is scaled otherwise than by subsampling or masked in one program alone, or for a site that
            :func:`~pyrodgm.infer.estimators.reading.read` refuses.

    Source: Burda et al. (2015), arXiv 1509.00519, eq. 8; Li and Turner (2016), arXiv 1602.02311; Roeder et al. (2017),
    arXiv 1703.09194; Tucker et al. (2018), arXiv 1810.04152.
    """

    def __init__(
        self,
        num_particles: int,
        alpha: float = 0.0,
        gradient: Gradient = "reparam",
        kl_weight: float = 1.0,
        max_plate_nesting: float = math.inf,
    ) -> None:
        alpha = finite_number("alpha", alpha)
        if alpha == 1.0:
            raise ValueError("alpha must not be 1: that bound is ELBO(num_particles=..., vectorize_particles=True)")
        one_of("gradient", gradient, get_args(Gradient))
        super().__init__(
            kl_weight, num_particles=num_particles, vectorize_particles=True, max_plate_nesting=max_plate_nesting
        )
        self.alpha = alpha
        self.gradient = gradient

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        model, guide = self.in_particles(model, guide, args, kwargs)
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)

        def run(program: Program, values: dict[str, Tensor]) -> Trace:
            replayed = poutine.replay(program, trace=exchange(guide_trace, values))
            return checked(poutine.trace(replayed).get_trace(*args, **kwargs))

        if self.gradient == "reparam" or not torch.is_grad_enabled():
            reading = read(run(model, {}), checked(guide_trace))
            reading.require_gradients(type(self).__name__)
            rows = Rows.of(reading)
            return -rows.scale * self._bound(self._log_p(reading, rows) - self._log_q(reading, rows)).sum()

        # log q as a function of the samples alone: at leaves, so that the guide's parameters get no score gradient
        drawn = {site["name"]: site for site in counted(guide_trace) if not site["is_observed"]}
        latents = {name: site["value"] for name, site in drawn.items()}
        leaves = {name: z.detach().requires_grad_() for name, z in latents.items() if z.requires_grad}
        leaf_trace = run(guide, leaves)
        # log p at samples whose gradient is scaled on its way back into the guide
        factor: list[Tensor] = []
        scaled = {name: _scale_gradient(latents[name], len(drawn[name]["fn"].event_shape), factor) for name in leaves}
        reading = read(run(model, scaled), leaf_trace)
        reading.require_gradients(type(self).__name__)
        reading.require_densities(self.gradient)

        rows = Rows.of(reading)
        log_p, log_q = self._log_p(reading, rows), self._log_q(reading, rows)
        log_w = (log_p - log_q).detach()
        weight = self._weight(log_w)
        surrogate = (weight * log_p).sum()
        if self.gradient == "dreg":
            # the rest of the score term: of the log-weight, only the divergence's share depends on the guide
            share = self.kl_weight.to(weight) * (1.0 - self.alpha) * (1.0 - weight)
            if (whole := rows.unmasked([latent.q for latent in reading.latents])) is not None:
                # a masked site has no density to differentiate by its draw: rows with one keep the score term
                share = share * whole
                surrogate = surrogate - (weight * (1.0 - whole) * log_q).sum()
            factor.append(1.0 - share)
        else:
            factor.append(torch.ones_like(weight))
        for name, leaf in leaves.items():
            (slope,) = torch.autograd.grad(
                (weight * log_q).sum(), leaf, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            surrogate = surrogate - (slope * scaled[name]).sum()
        bound = self._bound(log_w).sum()
        return -rows.scale * (bound + surrogate - surrogate.detach())

    def _log_p(self, reading: Reading, rows: Rows) -> Tensor:
        prior = rows.total(latent.p for latent in reading.latents if latent.p is not None)
        return rows.total(reading.observed) + self.kl_weight.to(prior) * prior

    def _log_q(self, reading: Reading, rows: Rows) -> Tensor:
        log_q = rows.total(latent.q for latent in reading.latents)
        return self.kl_weight.to(log_q) * log_q

    def _bound(self, log_w: Tensor) -> Tensor:
        """The bound of each row from log-weights with the particles at the dimension left of all plates."""
        if self.num_particles == 1:
            return log_w
        order = 1.0 - self.alpha
        return ((order * log_w).logsumexp(-self.max_plate_nesting) - math.log(self.num_particles)) / order

    def _weight(self, log_w: Tensor) -> Tensor:
        """The normalised weight of each particle, which multiplies the gradient of its log-weight."""
        if self.num_particles == 1:
            return torch.ones_like(log_w)
        return torch.softmax((1.0 - self.alpha) * log_w, dim=-self.max_plate_nesting)


def _scale_gradient(z: Tensor, event_dim: int, factor: list[Tensor]) -> Tensor:
    """The same values; their gradient is multiplied by ``factor[0]`` ``[*rows]``, known only once the weights are."""
    alias = z.view_as(z)

    def scale(gradient: Tensor) -> Tensor:
        shape = factor[0].shape
        plates = shape[max(len(shape) - (z.dim() - event_dim), 0) :]  # those further left have size 1
        return gradient * factor[0].reshape(plates + (1,) * event_dim)

    alias.register_hook(scale)
    return alias
