"""What cannot be trained, found out before anything is changed, with what to pass instead."""

from typing import Any

import pyro.optim
import pyro.poutine as poutine
import torch
from pyro.infer.autoguide import AutoCallable, AutoGuide, AutoGuideList, AutoMessenger
from torch import nn

from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective, critic_of, without_critic
from pyrodgm.infer.estimators.objective import check_objective
from pyrodgm.infer.estimators.sites import samples
from pyrodgm.infer.tracing.arguments import Batch, first_tensor, split_arguments
from pyrodgm.infer.tracing.contexts import unchanged
from pyrodgm.infer.tracing.inference_mode import refuse_inference_tensors
from pyrodgm.infer.tracing.parameters import own_parameters
from pyrodgm.infer.tracing.program_error import ProgramError
from pyrodgm.infer.training.settings import Plan, require


def refuse_what_cannot_train(pair: nn.Module, plan: Plan) -> None:
    """Raise for pairs, objectives and optimisers that training cannot work with.

    Raises:
        TypeError: If something of the wrong kind was passed.
        ValueError: If there is nothing to train, or the surroundings would falsify the result.
    """
    if isinstance(pair, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise TypeError(f"pair must be the module itself: pass pair.module, got {type(pair).__name__}")
    if not callable(getattr(pair, "model", None)) or not callable(getattr(pair, "guide", None)):
        raise TypeError(f"pair must have the methods model and guide, got {type(pair).__name__}")
    if not any(parameter.requires_grad for parameter in pair.parameters()):
        count = sum(1 for _ in pair.parameters())
        found = f"{count} parameters, all of them frozen" if count else "no parameters"
        hint = "" if count else ": those of pyro.param are in Pyro's store, and an autoguide makes its own when called"
        raise ValueError(f"pair must have parameters to train, got {type(pair).__name__} with {found}{hint}")
    refuse_inference_tensors(pair)
    check_objective(plan.objective)
    if isinstance(plan.objective, AdversarialObjective):
        plan.objective.of(pair)
        for player, parameters in (("its discriminator", critic_of(pair)), ("all else", without_critic(pair))):
            if not any(parameter.requires_grad for parameter in parameters):
                raise ValueError(f"pair must have parameters to train in {player}, got {type(pair).__name__} with none")
    _check_optimizer(plan.optimizer)
    scheduler = plan.settings.lr_scheduler
    if isinstance(scheduler, (torch.optim.lr_scheduler.LRScheduler, pyro.optim.PyroOptim)):
        name = type(scheduler).__name__
        raise TypeError(
            "lr_scheduler must make a torch scheduler from the optimiser: pass "
            f"functools.partial(torch.optim.lr_scheduler.{name}, ...), got an instance of {name}"
        )
    for kind in {"cpu", next(pair.parameters()).device.type}:
        if torch.is_autocast_enabled(kind):
            raise ValueError(
                "fit must not run within torch.autocast, whose cache of weights is out of date after a step: pass "
                'settings=FitSettings(precision="bf16-mixed")'
            )


def refuse_local_autoguides(pair: Any, batch: Batch) -> None:
    """Raise ProgramError for an autoguide, called before, that has parameters for each of the rows of a batch."""
    parts = [part for part in pair.modules() if isinstance(part, (AutoGuide, AutoMessenger))]
    owners = {site: type(part).__name__ for part in parts for site in _sites_of(part)}
    if not owners:
        return
    args, kwargs = split_arguments(batch)
    amortized = {plate for part in parts for plate in getattr(part, "amortized_plates", ())}
    rows = len(first_tensor(batch))
    with torch.no_grad(), unchanged(pair, first_tensor(batch).device), own_parameters(pair):
        trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
    for site in samples(trace):
        name, plates = site["name"], {f.name for f in site["cond_indep_stack"] if f.size == rows}
        if name in owners and not site["is_observed"] and plates - amortized:
            raise ProgramError(
                name,
                f"is drawn for each of {rows} rows from parameters that {owners[name]} has for that row, but fit "
                "shuffles rows: draw it in a guide that sees the data, or train by pyro.infer.SVI",
            )


def _sites_of(part: Any) -> set[str]:
    """The latent sites that an autoguide has parameters for."""
    if isinstance(part, (AutoGuideList, AutoCallable)) or getattr(part, "prototype_trace", part) is None:
        return set()
    if isinstance(part, AutoGuide):
        return set(part.prototype_trace.nodes)
    return {piece.removesuffix("_unconstrained") for name, _ in part.named_parameters() for piece in name.split(".")}


def refuse_two_players(plan: Plan, where: str) -> None:
    """Raise ValueError for an objective of two players where there is no way to train it."""
    require(not plan.is_adversarial, "objective", type(plan.objective).__name__, f"one of a single player {where}")


def check_made(optimizer: Any, scheduler: Any) -> None:
    """Raise for optimisers and schedulers that show what they are once they are made."""
    if isinstance(optimizer, pyro.optim.PyroOptim) or not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"optimizer must make a torch optimiser from the parameters, got {type(optimizer).__name__}")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TypeError(
            "optimizer must take one gradient per step: pass functools.partial(torch.optim.Adam, lr=...), got LBFGS, "
            "which evaluates the loss several times"
        )
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        require(scheduler.mode == "max", "lr_scheduler", f"mode={scheduler.mode!r}", "of mode='max': scores are bounds")
    elif scheduler is not None and not hasattr(scheduler, "step"):
        raise TypeError(f"lr_scheduler must make a torch scheduler, got {type(scheduler).__name__}")


def _check_optimizer(optimizer: Any) -> None:
    if isinstance(optimizer, pyro.optim.PyroOptim):
        name = getattr(optimizer.pt_optim_constructor, "__name__", "Adam")
        options = optimizer.pt_optim_args
        known = ", ".join(f"{k}={v!r}" for k, v in options.items()) if isinstance(options, dict) else "lr=..."
        raise TypeError(
            "optimizer must make a torch optimiser from the parameters: pass "
            f"functools.partial(torch.optim.{name}, {known}), got pyro.optim.{name}"
        )
    if isinstance(optimizer, torch.optim.Optimizer):
        name = type(optimizer).__name__
        raise TypeError(
            "optimizer must make a torch optimiser from the parameters: pass "
            f"functools.partial(torch.optim.{name}, lr={optimizer.defaults.get('lr')}), got an instance of {name}"
        )
    if not callable(optimizer):
        raise TypeError(f"optimizer must make a torch optimiser from the parameters, got {type(optimizer).__name__}")
