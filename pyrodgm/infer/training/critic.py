"""The discriminator's side of training, for objectives of two players."""

from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.estimators.adversarial.objective import AdversarialObjective, critic_of
from pyrodgm.infer.tracing.graph import Context
from pyrodgm.infer.training.feeds.feed import Feed
from pyrodgm.infer.training.refusals import check_made
from pyrodgm.infer.training.settings import Plan
from pyrodgm.infer.training.step import TrainStep
from pyrodgm.processes import world


class Critic:
    """Steps of the discriminator of a pair, between those of the rest.

    Args:
        pair: The pair.
        objective: That of the run, which knows the discriminator.
        plan: The options.
        feed: The data.
        context: What the programs run in.
        total_steps: Steps of the run.
    """

    def __init__(
        self,
        pair: nn.Module,
        objective: AdversarialObjective,
        plan: Plan,
        feed: Feed,
        context: Context,
        total_steps: int,
    ) -> None:
        settings, self.feed, self.count = plan.settings, feed, plan.settings.critic_steps
        self.optimizer = (settings.critic_optimizer or plan.optimizer)(list(critic_of(pair)))
        check_made(self.optimizer, None)
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        team = world()
        self.step = TrainStep(
            pair,
            objective.critic(),
            self.optimizer,
            settings.clip_grad_norm,
            settings.compile,
            total_steps * self.count,
            feed.arguments,
            context,
            team if team.size > 1 else None,
            player=critic_of,
        )
        self.total, self.steps = torch.zeros(()), 0

    def begin_epoch(self) -> None:
        """Forget the losses."""
        self.total, self.steps = torch.zeros(()), 0

    @property
    def loss(self) -> float:
        """Mean loss per datum of this epoch's steps."""
        return float(self.total) / max(self.steps, 1)

    def round(self, rest: TrainStep) -> tuple[Tensor, int, int]:
        """Steps of the discriminator, each on a batch of its own, and one of the rest on the last of these.

        Returns:
            The loss of the rest per row of its batch, the number of rows, and that of data.
        """
        for i in range(self.count):
            inputs = self.feed.next()
            loss = self.step(*inputs)
            self.total, self.steps = self.total.to(loss.device) + loss, self.steps + 1
            if i == self.count - 1:
                loss = rest(*inputs)
            self.feed.advance()
        return loss, len(inputs[0]), self.feed.count(*inputs)

    def state(self) -> dict[str, Any]:
        """State required to resume."""
        return {"critic_optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state` returned, in the mode of the run."""
        self.step.mode = state["mode"]
        self.step.forget()
        self.optimizer.load_state_dict(state["critic_optimizer"])
