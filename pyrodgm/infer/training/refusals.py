"""What cannot be trained, found out before anything is changed, with what to pass instead."""

from typing import Any

import pyro.infer
import pyro.optim
import torch
from torch import nn

from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective, critic_of, without_critic
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
        raise ValueError(f"pair must have parameters to train, got {type(pair).__name__} with {found}")
    _check_objective(plan.objective)
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


def _check_objective(objective: Any) -> None:
    if isinstance(objective, type):
        raise TypeError(f"objective must be an instance: pass {objective.__name__}(), got the class")
    if isinstance(objective, pyro.infer.RenyiELBO):
        raise TypeError(
            "objective must have a loss that is a tensor: pass pyrodgm.infer.IWELBO(num_particles, alpha=...), got "
            "pyro.infer.RenyiELBO"
        )
    if not callable(getattr(objective, "differentiable_loss", None)):
        raise TypeError(
            "objective must have a method differentiable_loss that returns a tensor, as pyrodgm.infer.ELBO() has, got "
            f"{type(objective).__name__}"
        )


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
