"""The log-likelihood of a decoder by annealed importance sampling; the guide needs no density."""

from typing import Any

import pyro
import torch
from torch import Tensor, nn

from pyrodgm.arithmetic.arguments import programs, tensors, whole_number
from pyrodgm.infer.estimators.side_by_side import DATA, require_side_by_side
from pyrodgm.infer.estimators.sites import traces
from pyrodgm.infer.evaluation.diagnostics import summarise
from pyrodgm.infer.evaluation.graphs import Graphs
from pyrodgm.infer.evaluation.refined.annealing import LEAPFROGS, anneal
from pyrodgm.infer.evaluation.refined.centring import evenly
from pyrodgm.infer.evaluation.refined.choice import coordinates_of
from pyrodgm.infer.evaluation.refined.coordinates import Coordinates
from pyrodgm.infer.evaluation.refined.fitting import moments_of
from pyrodgm.infer.evaluation.refined.gauss_newton import GRADIENT, Plan, climb, fit
from pyrodgm.infer.evaluation.refined.gaussian import Gaussian
from pyrodgm.infer.evaluation.refined.sampler import ANNEALED
from pyrodgm.infer.evaluation.refined.student import Mixture
from pyrodgm.infer.evaluation.require_density import require_density
from pyrodgm.infer.evaluation.result import LogLikelihood
from pyrodgm.infer.tracing.arguments import called_with
from pyrodgm.infer.tracing.contexts import evaluating, flushing_denormals, fork_rng
from pyrodgm.infer.training.feeds.columns import Columns, device_and_dtype
from pyrodgm.infer.training.feeds.support import check_support

DRAWS, STARTS = 200, 4  # draws of the guide, and how many of them (by largest joint density) start a search for modes


def annealed_log_likelihood(
    pair: nn.Module,
    x: Tensor,
    *,
    chains: int = 16,
    temperatures: int = 200,
    block: int = 50,
    seed: int | None = None,
) -> LogLikelihood:
    r"""Estimate log p(x) of a prior and a decoder by annealed importance sampling over z.

    .. math:: \log p(x) \approx \log \frac 1C \sum_{c=1}^C \prod_t
        \Bigl[\frac{p(x, z_{c,t})}{q(z_{c,t})}\Bigr]^{\beta_{t+1} - \beta_t}, \qquad z_{c,0} \sim q

    The chains move by Hamiltonian transitions from q, a Student's t around a mode of the posterior, to the posterior.
    The mode is searched for from the draws of the guide with the largest joint density. The guide needs no density: for
    a GAN with a stated observation noise (:meth:`pyrodgm.models.GAN.with_density`) it is the prior, and for an
    adversarial autoencoder it may be a point. The estimate is a lower bound in expectation; :func:`bidirectional`
    measures on simulated data how far below log p(x) it is. It can miss the mass of modes that the search does not
    find.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``, of continuous latents, whose sites all have a known
            curvature (docs/likelihood.md lists the families).
        x: Data ``[N, *event]``.
        chains: Number of chains per datum.
        temperatures: Number of annealing steps per chain.
        block: Number of data per block.
        seed: Seed; the caller's random state is restored. None draws from the current state.

    Returns:
        The estimates, with the effective sample size of the ``chains`` weights; k-hat needs at least 25 chains.

    Raises:
        ValueError: If a number is not positive, a datum lies outside the support of its likelihood, or the pair's
            latents allow no fit, with the reason.
        NoDensityError: If the prior or the likelihood has no density; names the site.

    Source: Wu, Burda, Salakhutdinov and Grosse (2017), arXiv 1611.04273; Neal (2001), Statistics and Computing 11, 125.

    Example:
        >>> from pyrodgm.likelihoods import ImplicitLikelihood
        >>> from pyrodgm.models import GAN
        >>> from pyrodgm.nn import Discriminator, mlp
        >>> from pyrodgm.priors import StandardNormal
        >>> gan = GAN(StandardNormal(2), ImplicitLikelihood(mlp(2, [8], 9)), Discriminator.dense(9, [8]))
        >>> annealed_log_likelihood(gan.with_density(0.5), torch.zeros(3, 9), temperatures=20, seed=0).values.shape
        torch.Size([3])
    """
    programs(pair, "model", "guide")
    tensors(x=x)
    chains, temperatures = whole_number("chains", chains), whole_number("temperatures", temperatures)
    block, device_dtype = whole_number("block", block), device_and_dtype(pair)
    seed = None if seed is None else whole_number("seed", seed, None)
    if x.dim() == 0 or len(x) == 0 or not x.isfinite().all():
        raise ValueError(f"x must be finite and hold at least one datum, got shape {list(x.shape)}")
    betas = torch.linspace(-4.0, 4.0, temperatures + 1, dtype=torch.float64).sigmoid()  # finer at both ends, as in Wu
    betas = (betas - betas[0]) / (betas[-1] - betas[0])
    parts: list[dict[str, Tensor]] = []
    with evaluating(pair), flushing_denormals(), fork_rng(device_dtype[0]) if seed is not None else torch.no_grad():
        if seed is not None:
            torch.manual_seed(seed)
        one = x[:1].to(*device_dtype)
        with fork_rng(one.device), called_with((one,), "x"):
            require_density(*traces(pair, one))
        check_support(pair, Columns(x, pair, "x"), "x")
        probes = evenly(x).to(one)
        require_side_by_side(pair, (probes[:DATA],))
        coordinates = coordinates_of(pair, probes)
        plan = coordinates.plan(None)
        graphs = Graphs("traced" if len(x) > 2 * block else "eager", pair)
        for rows in x.split(block):
            parts.append(_of_block(coordinates, plan, graphs, rows.to(*device_dtype), chains, betas))
    joined: dict[str, Any] = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    cost = float(chains * (1 + LEAPFROGS * (temperatures - 1)) * GRADIENT)
    cost += DRAWS + plan.rounds_cost + float(joined.pop("evaluations").mean())
    attributes = {"model": type(pair).__name__, "num_samples": chains, "seed": -1 if seed is None else seed}
    attributes |= {"torch": str(torch.__version__), "pyro": pyro.__version__, "config": "{}", "proposal": "annealed"}
    stage = torch.full((len(x),), ANNEALED)
    return LogLikelihood(
        **joined,
        stage=stage,
        num_samples=chains,
        evaluations=cost,
        x=x,
        log_weights=None,
        draws=None,
        pointwise=None,
        attributes=attributes,
    )


def _of_block(
    coordinates: Coordinates, plan: Plan, graphs: Graphs, x: Tensor, chains: int, betas: Tensor
) -> dict[str, Tensor]:
    moments = moments_of(coordinates, graphs, x)

    def gradient(u: Tensor) -> Any:
        return graphs.run(("gradient", u.shape), coordinates.gradient, (x, u))

    mode, points = _mode(coordinates, x, moments)
    proposal = Mixture((fit(mode, plan, moments, x.dtype),))
    found = summarise(anneal(proposal, gradient, proposal.draw(chains)[0], betas, x.dtype))
    return {**found, "evaluations": torch.full((len(x),), float(points * plan.point_cost))}


def _mode(coordinates: Coordinates, x: Tensor, moments: Any) -> tuple[Gaussian, int]:
    """The Gaussian at the mode with the largest integral among several climbs, and the number of points evaluated."""
    u = coordinates.guide_draws(x, DRAWS)
    joint = coordinates.log_joint(x, u)[0]
    starts = u.gather(0, joint.topk(STARTS, dim=0).indices.unsqueeze(-1).expand(-1, -1, u.shape[-1]))
    every = torch.ones(len(x), dtype=torch.bool, device=x.device)
    best, integral, points = climb(starts[0], every, moments, x.dtype)
    for begin in starts[1:]:
        found, other, more = climb(begin, every, moments, x.dtype)
        best, integral = Gaussian.choose(other > integral, found, best), torch.maximum(other, integral)
        points += more
    return best, points
