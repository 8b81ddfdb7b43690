"""The base of the objectives of two players."""

import copy
from collections.abc import Iterable
from typing import Any, Protocol, Self, runtime_checkable

import pyro.distributions as dist
import pyro.poutine as poutine
from torch import Tensor, nn

from pyrodgm.infer.estimators.elbo import TensorLoss
from pyrodgm.infer.estimators.protocols import Program
from pyrodgm.infer.estimators.sites import Site, Trace, samples
from pyrodgm.infer.tracing.program_error import ProgramError


@runtime_checkable
class Adversarial(Protocol):
    """A pair with a second player, which training gives an optimiser of its own."""

    discriminator: nn.Module


def critic_of(pair: nn.Module) -> Iterable[nn.Parameter]:
    """The parameters of the discriminator."""
    assert isinstance(pair, Adversarial)
    return pair.discriminator.parameters()


def without_critic(pair: nn.Module) -> Iterable[nn.Parameter]:
    """All others."""
    theirs = {id(parameter) for parameter in critic_of(pair)}
    return [parameter for parameter in pair.parameters() if id(parameter) not in theirs]


class AdversarialObjective(TensorLoss):
    """An objective of two players: the discriminator of a pair, and all else of it.

    ``differentiable_loss`` is the loss of the latter, ``critic().differentiable_loss`` that of the discriminator; each
    is to be differentiated with respect to the parameters of its player alone, as :func:`pyrodgm.infer.fit` does. Both
    need :meth:`of` before, which says which discriminator.

    A subclass gives ``differentiable_loss`` and ``critic_loss``, sums over the data in nats.
    """

    discriminator: nn.Module | None = None

    def of(self, pair: nn.Module) -> Self:
        """The objective with the discriminator of the pair.

        Raises:
            TypeError: If it has none.
        """
        if not isinstance(pair, Adversarial) or not isinstance(pair.discriminator, nn.Module):
            raise TypeError(
                f"pair must have a module discriminator for {type(self).__name__}, as pyrodgm.models.GAN and "
                f"AdversarialVAE have, got {type(pair).__name__}"
            )
        bound = copy.copy(self)
        bound.discriminator = pair.discriminator
        return bound

    def critic(self) -> "CriticLoss":
        """The loss of the discriminator."""
        return CriticLoss(self)

    def critic_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Loss of the discriminator, a tensor ``[]`` in nats, summed over the data."""
        raise NotImplementedError(f"{type(self).__name__} must define critic_loss")

    def score(self, *inputs: Tensor) -> Tensor:
        """The numbers ``[B]`` that the discriminator gives."""
        if self.discriminator is None:
            raise ValueError(f"{type(self).__name__} must know the discriminator: call its method of with the pair")
        value: Tensor = self.discriminator(*inputs)
        return value


class CriticLoss(TensorLoss):
    """The loss of the discriminator as an objective of its own."""

    def __init__(self, objective: AdversarialObjective) -> None:
        super().__init__()
        self.objective = objective

    def differentiable_loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        return self.objective.critic_loss(model, guide, *args, **kwargs)


def trace_of(program: Program, args: tuple[Any, ...], kwargs: dict[str, Any], values: Trace = None) -> Trace:
    """A trace of a program, at the latents of another if one is given."""
    replayed = program if values is None else poutine.replay(program, trace=values)
    return poutine.trace(replayed).get_trace(*args, **kwargs)


def only_latent(trace: Trace) -> Site:
    """The latent site of a program.

    Raises:
        ProgramError: If there is not exactly one, or it is scaled or masked.
    """
    return _only([site for site in samples(trace) if not site["is_observed"]], "latent")


def only_observed(trace: Trace) -> Site:
    """The observed site of a model, other than factors.

    Raises:
        ProgramError: If there is not exactly one, or it is scaled or masked.
    """
    found = [site for site in samples(trace) if site["is_observed"] and not isinstance(site["fn"], dist.Unit)]
    return _only(found, "observed")


def made(site: Site) -> Tensor:
    """A draw of the data with its gradient; the mean where draws have none."""
    fn = site["fn"]
    value: Tensor = fn.rsample() if fn.has_rsample else fn.mean
    return value


def _only(found: list[Site], kind: str) -> Site:
    if len(found) != 1:
        names = ", ".join(site["name"] for site in found) or "none"
        raise ProgramError(names, f"must be the one {kind} site of its program for an adversarial objective")
    (site,) = found
    if site["mask"] is not None or not isinstance(site["scale"], (int, float)) or site["scale"] != 1:
        raise ProgramError(site["name"], "must be neither masked nor scaled for an adversarial objective")
    return site
