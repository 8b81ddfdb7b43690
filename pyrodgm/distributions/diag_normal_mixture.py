"""Mixture of Normals with diagonal covariances."""

import math
from typing import Any

import torch
from pyro.distributions import Categorical, Independent, Normal, TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrodgm.arithmetic import normal_cdf, wide
from pyrodgm.arithmetic.arguments import real_tensors
from pyrodgm.distributions.parameters import refuse_infinite


class DiagNormalMixture(TorchDistribution):
    r"""Mixture of ``K`` Normals with diagonal covariances in ``D`` dimensions.

    .. math:: p(z) = \sum_k \mathrm{softmax}(\text{logits})_k \prod_d N(z_d \mid \text{loc}_{kd}, \text{scale}_{kd}^2)

    The density is two matrix products, taken in float64 on devices that have it: in float32 the expanded square
    cancels. A ``value`` of any leading shape against components without batch dimensions is one plain product, also
    after ``expand``, which keeps the components as they were given.

    Samples are reparameterised by implicit differentiation of the conditional distribution functions (``rsample``),
    which holds for weights, locations and scales. ``has_rsample_(False)`` turns that off, so that Pyro uses the score
    function instead; ``rsample_stratified`` draws from every component at once.

    Args:
        logits: ``[*batch, K]``, real; unnormalised log weights.
        loc: ``[*batch, K, D]``, real.
        scale: ``[*batch, K, D]``, positive.

    Raises:
        ValueError: the shapes do not fit, or a parameter is outside its range.

    Sources: Figurnov, Mohamed, Mnih (2018), arXiv 1805.08498, §3 (implicit gradients, distributional transform).

    >>> mixture = DiagNormalMixture(torch.zeros(5), torch.randn(5, 2), torch.ones(5, 2))
    >>> mixture.log_prob(torch.zeros(7, 2)).shape
    torch.Size([7])
    """

    arg_constraints = {  # noqa: RUF012
        "logits": constraints.real_vector,
        "loc": constraints.independent(constraints.real, 2),
        "scale": constraints.independent(constraints.positive, 2),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, *, validate_args: bool | None = None) -> None:
        real_tensors(logits=logits, loc=loc, scale=scale)
        if logits.dim() < 1 or loc.dim() < 2 or scale.dim() < 2:
            raise ValueError(
                f"logits, loc and scale must have shapes [*batch, K], [*batch, K, D] and [*batch, K, D], got "
                f"{tuple(logits.shape)}, {tuple(loc.shape)} and {tuple(scale.shape)}"
            )
        for name, got, expected in (
            ("loc", loc.shape[-2:], (logits.shape[-1], loc.shape[-1])),
            ("scale", scale.shape[-2:], loc.shape[-2:]),
        ):
            if tuple(got) != tuple(expected):
                raise ValueError(f"{name} must end in [K, D] = {list(expected)}, with K of logits, got {list(got)}")
        batch_shape = torch.broadcast_shapes(logits.shape[:-1], loc.shape[:-2], scale.shape[:-2])
        self._set(batch_shape, (logits, loc, scale))
        super().__init__(batch_shape, loc.shape[-1:], validate_args=validate_args)
        # minus infinity is the weight of nothing
        refuse_infinite(self, logits=logits.clamp(min=0.0), loc=loc, scale=scale)

    def _set(self, batch_shape: torch.Size, given: tuple[Tensor, Tensor, Tensor]) -> None:
        # The arithmetic runs on the tensors as given: their expanded views would be broadcast in full.
        self._given = given
        self.logits, self.loc, self.scale = (
            given[0].expand(batch_shape + given[0].shape[-1:]),
            given[1].expand(batch_shape + given[1].shape[-2:]),
            given[2].expand(batch_shape + given[2].shape[-2:]),
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiagNormalMixture":
        new = self._get_checked_instance(DiagNormalMixture, _instance)
        batch_shape = torch.Size(batch_shape)
        new._set(batch_shape, self._given)
        super(DiagNormalMixture, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        new.has_rsample = self.has_rsample
        return new

    @property
    def probs(self) -> Tensor:
        """Weights of the components, ``[*batch, K]``."""
        return self.logits.softmax(-1)

    @property
    def mixture_distribution(self) -> Categorical:
        """Distribution of the component's index."""
        return Categorical(logits=self.logits, validate_args=False)

    @property
    def component_distribution(self) -> Independent:
        """The components, of batch shape ``[*batch, K]`` and event shape ``[D]``."""
        return Normal(self.loc, self.scale, validate_args=False).to_event(1)

    @property
    def mean(self) -> Tensor:
        return (self.probs.unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        spread = (self.loc - self.mean.unsqueeze(-2)).square()
        return (self.probs.unsqueeze(-1) * (self.scale.square() + spread)).sum(-2)

    def _wide_joint(self, value: Tensor) -> Tensor:
        logits, loc, scale = (wide(t) for t in self._given)
        log_weights = logits.log_softmax(-1)
        if value.device.type == "mps":  # no float64 there
            distance = ((value.unsqueeze(-2) - loc) / scale).square().sum(-1)
            return log_weights - scale.log().sum(-1) - 0.5 * distance - self._log_norm
        value = value.to(loc.dtype)
        precision = scale.reciprocal()
        natural = loc * precision
        powers = torch.cat(torch.broadcast_tensors(-0.5 * value.square(), value), -1)
        coefficients = torch.cat(torch.broadcast_tensors(precision.square(), natural * precision), -1)
        constant = log_weights - (scale.log() + 0.5 * natural.square()).sum(-1) - self._log_norm
        return torch.einsum("...d,...kd->...k", powers, coefficients) + constant

    @property
    def _log_norm(self) -> float:
        return 0.5 * math.log(2 * math.pi) * self.event_shape[0]

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        joint = self._wide_joint(value)
        # logsumexp with a floor: exp is ten times slower where it underflows, and what lies so low is lost beside 1.
        top = joint.detach().amax(-1, keepdim=True)
        floor = 0.9 * math.log(torch.finfo(joint.dtype).tiny)
        result = top.squeeze(-1) + (joint - top).clamp(min=floor).exp().sum(-1).log()
        shape = torch.broadcast_shapes(result.shape, self.batch_shape)
        return result.to(self.loc.dtype).expand(shape)

    def responsibilities(self, value: Tensor) -> Tensor:
        """Posterior probability of each component given ``value`` ``[*, D]``: ``[*, K]``."""
        posterior = self._wide_joint(value).softmax(-1)
        shape = torch.broadcast_shapes(posterior.shape[:-1], self.batch_shape)
        return posterior.to(self.loc.dtype).expand(shape + posterior.shape[-1:])

    def mean_precision(self, value: Tensor) -> Tensor:
        """Precision of each dimension ``[*, D]``, averaged over the components with their :meth:`responsibilities`."""
        return torch.einsum("...k,...kd->...d", self.responsibilities(value), self._given[2].square().reciprocal())

    def _pick(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale of component ``index`` ``[*sample, *batch]``; components are not expanded over samples."""
        _, loc, scale = self._given
        batch = torch.broadcast_shapes(loc.shape[:-2], scale.shape[:-2])
        components, features = loc.shape[-2:]
        first = torch.arange(batch.numel(), device=index.device).reshape(batch) * components
        rows = index + first

        def pick(given: Tensor) -> Tensor:
            flat = given.expand(*batch, components, features).reshape(batch.numel() * components, features)
            return flat.index_select(0, rows.reshape(-1)).reshape(*rows.shape, features)

        return pick(loc), pick(scale)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            bounds = wide(self.logits).softmax(-1).cumsum(-1)[..., :-1]
            # By the inverse distribution function: torch.multinomial copies to the host, which stops CUDA graphs.
            uniform = torch.rand(torch.Size(sample_shape) + self.batch_shape, dtype=bounds.dtype, device=bounds.device)
            loc, scale = self._pick((uniform.unsqueeze(-1) >= bounds).sum(-1))
            return loc + scale * torch.randn_like(loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        r"""Draws ``[*sample, *batch, D]`` whose gradient is the implicit one.

        With :math:`F_d(z; \theta)` the distribution function of :math:`z_d` given :math:`z_{<d}`, the gradient is
        :math:`-(\partial F / \partial z)^{-1} \partial F / \partial \theta`, a triangular system for each draw. It is
        unbiased for any function of ``z``; where components stand far apart its variance is large, and
        ``rsample_stratified`` does better. Second derivatives are not those of the draw.
        """
        value = self.sample(sample_shape)
        if not torch.is_grad_enabled():
            return value
        logits, loc, scale = (wide(t) for t in self._given)
        z = value.to(loc.dtype).unsqueeze(-2)
        white = (z - loc) / scale
        log_density = -0.5 * white.square() - scale.log()
        # Weights given the coordinates before d: the exclusive running sum.
        log_weights = logits.log_softmax(-1).unsqueeze(-1) + log_density.cumsum(-1) - log_density
        weights = log_weights.softmax(-2)
        # Of a draw in the upper half what is above it, with a minus: the difference is a constant, and nothing cancels.
        side = torch.where((weights * white).sum(-2, keepdim=True) > 0, -1.0, 1.0).to(white.dtype)
        below = side * normal_cdf(side * white)
        cdf = (weights * below).sum(-2)
        with torch.no_grad():
            # dF_d/dz_j = sum_k w_kd (Phi_kd - F_d) * (-(z_j - loc_kj) / scale_kj^2) for j < d.
            slope = -white / scale
            jacobian = torch.einsum("...kd,...kj->...dj", weights * (below - cdf.unsqueeze(-2)), slope)
            density = (weights * log_density.exp()).sum(-2) / math.sqrt(2 * math.pi)
            jacobian = jacobian.tril(-1) / density.unsqueeze(-1)
        step = ((cdf - cdf.detach()) / density).unsqueeze(-1)
        step = torch.linalg.solve_triangular(jacobian, step, upper=False, unitriangular=True).squeeze(-1)
        return value - step.to(value.dtype)

    def rsample_stratified(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        r"""One draw from every component, with the components' weights.

        :math:`\mathbb{E}[f(z)]` is estimated without bias, and with gradients for all parameters, by
        ``(weights * f(z)).sum(0)``: which component is drawn adds no variance.

        Returns:
            ``z`` ``[K, *sample, *batch, D]`` and weights ``[K, *(1 for each sample dimension), *batch]``.

        Source: Roeder, Wu, Duvenaud (2017), arXiv 1703.09194, §5.1.

        >>> mixture = DiagNormalMixture(torch.zeros(5), torch.randn(5, 2), torch.ones(5, 2))
        >>> z, weights = mixture.rsample_stratified()
        >>> (weights * mixture.log_prob(z)).sum(0).shape
        torch.Size([])
        """
        sample_shape = torch.Size(sample_shape)
        # Contiguous: a linear map of three dimensions adds its bias within the product then.
        z = self.component_distribution.rsample(sample_shape).movedim(-2, 0).contiguous()
        weights = self.probs.movedim(-1, 0)
        return z, weights.reshape(weights.shape[:1] + (1,) * len(sample_shape) + self.batch_shape)
