"""One reading of a pair of programs: which sites count in a bound, and what they may count with."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Delta
from pyro.distributions.torch_distribution import MaskedDistribution
from torch import Tensor

from pyrodgm.infer.estimators.one_to_one import may_compare
from pyrodgm.infer.estimators.sites import Site, Trace, is_enumerated, samples
from pyrodgm.infer.tracing._compat import mask_of_distribution
from pyrodgm.infer.tracing.program_error import ProgramError


@dataclass(frozen=True)
class Latent:
    """A latent site of the guide.

    Attributes:
        q: The site in the guide.
        p: The same in the model; None for an auxiliary site.
        ordered: Whether every latent site that the model draws before it comes before it in the guide too: only then
            is the sum over sites of expected divergences the divergence of the whole.
    """

    q: Site
    p: Site | None
    ordered: bool

    @property
    def name(self) -> str:
        return self.q["name"]

    def agreement(self) -> bool | Tensor:
        """Whether both programs give the site the same mask and scale; by element where these are tensors."""
        if self.p is None:
            return False
        agree: bool | Tensor = True
        for q, p in ((mask_of(self.q), mask_of(self.p)), (self.q["scale"], self.p["scale"])):
            if q is p:
                continue
            same = q == p
            if isinstance(same, Tensor):
                agree = same if agree is True else agree & same
            elif not same:
                return False
        return agree

    def has_divergence(self) -> bool:
        """Whether an exact divergence of the two distributions may stand for the difference of log-densities."""
        if self.p is None or not self.ordered:
            return False
        # A Delta's divergence leaves out its log-density, and a mask within an event is not seen from outside.
        unfit = (Delta, MaskedDistribution)
        return not any(isinstance(base_of(site), unfit) for site in (self.q, self.p)) and may_compare(
            fn_of(self.q), fn_of(self.p)
        )


@dataclass(frozen=True)
class Reading:
    """The sites of a pair that count.

    Attributes:
        observed: Sites of the model that are observed: log p(x | z).
        latents: Sites that the guide draws, in its order: log p(z) - log q(z | x).
        from_model: Latent sites that the guide lacks. They are drawn from the model, so that prior and proposal cancel.
    """

    observed: list[Site]
    latents: list[Latent]
    from_model: list[Site]

    def require_gradients(self, estimator: str) -> None:
        """Refuse sites whose draws have no gradient, where that is asked for."""
        if not torch.is_grad_enabled():
            return
        for latent in self.latents:
            if not is_enumerated(latent.q) and not latent.q["fn"].has_rsample:
                raise ProgramError(
                    latent.name,
                    f"is {_family(latent.q)}, which has no rsample, but {estimator} needs reparametrised guide sites; "
                    "train this pair with pyro.infer.Trace_ELBO or TraceEnum_ELBO",
                )
        for site in self.from_model:
            if not site["fn"].has_rsample and site["fn"].log_prob(site["value"]).requires_grad:
                raise ProgramError(
                    site["name"],
                    f"is drawn by the model alone and is {_family(site)}, which has no rsample, so that {estimator} "
                    "has no gradient for it; draw it in the guide",
                )

    def require_densities(self, gradient: str) -> None:
        """Refuse sites that are functions of other draws, where a gradient takes each site for one with a density."""
        for latent in self.latents:
            if isinstance(base_of(latent.q), Delta):
                raise ProgramError(latent.name, f"is a Delta, which needs gradient='reparam', got {gradient!r}")


def read(model_trace: Trace, guide_trace: Trace) -> Reading:
    """Which sites of two traces count, the model's made by replaying the guide's.

    Raises:
        ProgramError: For a site of the guide that the model lacks and that is not marked
            ``infer={"is_auxiliary": True}``, or that is random without being what ``Delta`` sites are computed from;
            and for one that is observed in one program and latent in the other.
    """
    model = {site["name"]: site for site in counted(model_trace)}
    guide = {site["name"]: site for site in counted(guide_trace)}
    for name, q in guide.items():
        if name not in model and q["is_observed"]:
            raise ProgramError(name, "is observed in the guide alone, where it has no meaning")
        if name not in model and not q["infer"].get("is_auxiliary"):
            raise ProgramError(
                name, "is drawn in the guide but not in the model; mark it infer={'is_auxiliary': True} if it is meant"
            )
        if name in model and q["is_observed"] != model[name]["is_observed"]:
            states = ["latent", "observed"]
            there, here = states[model[name]["is_observed"]], states[q["is_observed"]]
            raise ProgramError(
                name, f"must be latent or observed in both programs, got {here} in the guide, {there} in the model"
            )
    _check_auxiliary(guide, model)
    drawn = [name for name, q in guide.items() if not q["is_observed"]]
    paired = [name for name, p in model.items() if not p["is_observed"] and name in guide]
    latents = []
    for i, name in enumerate(drawn):
        earlier = paired[: paired.index(name)] if name in paired else []
        latents.append(Latent(guide[name], model.get(name), set(earlier) <= set(drawn[:i])))
    return Reading(
        observed=[p for p in model.values() if p["is_observed"]],
        latents=latents,
        from_model=[p for name, p in model.items() if not p["is_observed"] and name not in guide],
    )


def _check_auxiliary(guide: dict[str, Site], model: dict[str, Site]) -> None:
    """Refuse auxiliary sites that hold more random numbers than the points that the guide computes for the model.

    Where latents are such points the density of the numbers is theirs. Any others are integrated over besides, and
    their density would count as one of latents that the model does not have.
    """
    points = {name: isinstance(base_of(q), Delta) for name, q in guide.items()}
    own = [name for name, q in guide.items() if name not in model and not points[name]]
    computed = sum(q["value"].numel() for name, q in guide.items() if name in model and points[name])
    if sum(guide[name]["value"].numel() for name in own) > computed:
        raise ProgramError(
            own[0],
            "is auxiliary but random in itself: only a site that Delta sites of the guide are computed from, with "
            "the log-determinant as their log_density, has a density that counts; draw the latents from the "
            "distribution without it (a mixture as one distribution: MixtureSameFamily, GaussianMixturePosterior)",
        )


def counted(trace: Trace) -> list[Site]:
    """The sample sites of a trace that have a density: not those of plates, nor deterministic ones."""
    return [site for site in samples(trace) if not site["infer"].get("_deterministic")]


def plates(site: Site) -> set[Any]:
    """The vectorised plates that a site is in."""
    return {frame for frame in site["cond_indep_stack"] if frame.vectorized}


def subsampling(frames: Iterable[Any]) -> float:
    """The factor by which plates scale what is in them, because they are subsampled."""
    scale = 1.0
    for frame in frames:
        if frame.full_size:
            scale = scale * frame.full_size / frame.size
    return scale


def mask_of(site: Site) -> bool | Tensor:
    """The mask of a site, that of its distribution included; True for none."""
    mask: bool | Tensor = True if site["mask"] is None else site["mask"]
    own = mask_of_distribution(site["fn"])
    return mask if own is True else own & mask


def fn_of(site: Site) -> Any:
    """The distribution of a site without its mask."""
    return site["fn"].base_dist if isinstance(site["fn"], MaskedDistribution) else site["fn"]


def base_of(site: Site) -> Any:
    """The innermost distribution of a site."""
    fn = fn_of(site)
    while hasattr(fn, "base_dist") and not isinstance(fn, MaskedDistribution):
        fn = fn.base_dist
    return fn


def _family(site: Site) -> str:
    return type(base_of(site)).__name__


class Enumeration:
    """The sites of a guide whose values were taken side by side, each along a dimension of its own."""

    def __init__(self, reading: Reading) -> None:
        self.sites = {
            latent.q["infer"]["_enumerate_dim"]: latent.q for latent in reading.latents if is_enumerated(latent.q)
        }
        self.log_probs = {dim: fn_of(site).log_prob(site["value"]) for dim, site in self.sites.items()}

    def expectation(self, term: Tensor) -> Tensor:
        """Sum of a term ``[*values, *plates]``, averaged over the enumerated values that it depends on, ``[]``."""
        if not self.sites:
            return term.sum()
        weight: Tensor | None = None
        waiting, done = _extents(term, self.sites), set[int]()
        while waiting:
            dim = waiting.pop()
            done.add(dim)
            log_prob = self.log_probs[dim]
            weight = log_prob if weight is None else weight + log_prob
            waiting |= _extents(log_prob, self.sites) - done
        return term.sum() if weight is None else (weight.exp() * term).sum()


def _extents(term: Tensor, dims: Iterable[int]) -> set[int]:
    return {dim for dim in dims if term.dim() >= -dim and term.shape[dim] > 1}
