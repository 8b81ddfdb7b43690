"""Checks that hold for every model/guide pair, for pairs and parts that others write."""

import copy
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor, nn

from pyrodgm.infer import ELBO, TrainStep
from pyrodgm.infer.estimators.reading import Latent, plates, read
from pyrodgm.infer.tracing.contexts import fork_rng
from pyrodgm.infer.tracing.parameters import own_parameters

PARTICLES = 4


def check_pair(pair: nn.Module, x: Tensor, traced: bool = True) -> None:
    """Check a pair on a batch of data; the pair is left as it was.

    - Model and guide have the same latent sites, each in the data plate ``"data"`` at dimension -1 alone, with one
      finite log-density per datum; ``"x"`` holds the data.
    - Draws of the guide lie in the support of the model's distributions.
    - A plate of particles to the left gives what one pass per particle gives: networks broadcast over it.
    - A copy has the same state and shares none of it.
    - A traced training step equals an eager one.

    Args:
        pair: A module with ``model(x)`` and ``guide(x)``.
        x: Data ``[batch, *event]``.
        traced: Whether to check training steps on :class:`pyrodgm.infer.ELBO`, for pairs that it can train.

    Raises:
        AssertionError: If a check fails; says which, and for which site.

    Example:
        >>> from pyrodgm.likelihoods import BernoulliLikelihood
        >>> from pyrodgm.models import VAE
        >>> from pyrodgm.nn import mlp
        >>> from pyrodgm.posteriors import GaussianPosterior
        >>> from pyrodgm.priors import StandardNormal
        >>> vae = VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [8], 9)), GaussianPosterior(mlp(9, [8], 4)))
        >>> check_pair(vae, torch.rand(5, 9).round())
    """
    with fork_rng(x.device), own_parameters(pair):
        _check_sites(pair, x)
        _check_particles(pair, x)
        _check_copy(pair)
    if traced:
        _check_traced(pair, x)


def _traces(pair: Any, x: Tensor, guide_trace: Any = None) -> tuple[Any, Any]:
    guide = guide_trace or poutine.trace(pair.guide).get_trace(x)
    model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(x)
    guide.compute_log_prob()
    model.compute_log_prob()
    return model, guide


def _check_sites(pair: nn.Module, x: Tensor) -> None:
    model, guide = _traces(pair, x)
    reading = read(model, guide)
    assert "x" in model.nodes, f"the model must observe a site 'x', got {list(model.nodes)}"
    assert torch.equal(model.nodes["x"]["value"], x), "site 'x' must hold the data"
    alone = [site["name"] for site in reading.from_model]
    assert not alone, f"the guide must draw all latent sites of the model, {alone} are missing"
    for site in (*reading.observed, *(s for latent in reading.latents for s in _sides(latent))):
        name = site["name"]
        frames = [(frame.name, frame.dim) for frame in plates(site)]
        assert frames == [("data", -1)], f"site '{name}' must be in the plate 'data' at -1 alone, got {frames}"
        assert site["log_prob"].shape == x.shape[:1], f"site '{name}' must have one log-density per datum"
        assert torch.isfinite(site["log_prob"]).all(), f"log-densities of site '{name}' must be finite"
    for latent in reading.latents:
        if latent.p is not None:
            inside = latent.p["fn"].support.check(latent.q["value"]).all()
            assert inside, f"draws of the guide at '{latent.name}' must lie in the support of the model's distribution"


def _sides(latent: Latent) -> list[Any]:
    return [site for site in (latent.q, latent.p) if site is not None]


def _check_particles(pair: Any, x: Tensor) -> None:
    guide = poutine.trace(pyro.plate("particles", PARTICLES, dim=-2)(pair.guide)).get_trace(x)
    model = poutine.trace(
        poutine.replay(pyro.plate("particles", PARTICLES, dim=-2)(pair.model), trace=guide)
    ).get_trace(x)
    model.compute_log_prob()
    guide.compute_log_prob()
    reading = read(model, guide)
    names = [latent.name for latent in reading.latents]
    for i in range(PARTICLES):
        single = poutine.trace(pair.guide).get_trace(x)
        for name in names:
            single.nodes[name]["value"] = guide.nodes[name]["value"][i]
        alone, _ = _traces(pair, x, single)
        for name in (*names, *(site["name"] for site in reading.observed)):
            found, wanted = model.nodes[name]["log_prob"][i], alone.nodes[name]["log_prob"]
            close = torch.allclose(found, wanted, rtol=1e-4 if found.dtype == torch.float32 else 1e-5)
            assert close, f"log-densities of site '{name}' must be the same with and without a plate of particles"


def _check_copy(pair: nn.Module) -> None:
    state, copied = pair.state_dict(), copy.deepcopy(pair).state_dict()
    assert state.keys() == copied.keys(), "a copy must have the same state"
    for name, value in state.items():
        assert torch.equal(value, copied[name]), f"a copy must have the same {name}"
        shares = value.numel() and value.data_ptr() == copied[name].data_ptr()
        assert not shares, f"a copy must not share {name}"


def _check_traced(pair: nn.Module, x: Tensor) -> None:
    states = []
    for mode in ("eager", "traced"):
        own = copy.deepcopy(pair)
        trained = [p for p in own.parameters() if p.requires_grad]
        step = TrainStep(own, ELBO(), torch.optim.SGD(trained, lr=1e-3), compile=mode)
        with fork_rng(x.device):
            torch.manual_seed(0)
            losses = torch.stack([step(x), step(x)])
        assert step.mode == mode, "the pair must be traceable"
        states.append((losses, own.state_dict()))
    (losses, eager), (others, traced) = states
    assert torch.equal(losses, others), f"losses of traced steps must be {losses.tolist()}, got {others.tolist()}"
    for name, value in eager.items():
        assert torch.equal(value, traced[name]), f"{name} must be the same after eager and traced steps"
