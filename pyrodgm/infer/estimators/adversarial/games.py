"""What the two players of an adversarial objective gain, as functions of the discriminator's numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number

Score = Callable[[Tensor], Tensor]


class Game(Protocol):
    """The losses of both players, per datum, ``[B]``.

    ``score`` is the discriminator: draws ``[B, D]`` to numbers ``[B]``, large for ``real`` ones.
    """

    def critic(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the discriminator."""
        ...

    def generator(self, score: Score, fake: Tensor) -> Tensor:
        """Loss of what makes ``fake``."""
        ...


def require_game(game: Any) -> Game:
    """Refuse what is no game of two players.

    Raises:
        TypeError: Names the argument.
    """
    if isinstance(game, type) or not all(callable(getattr(game, name, None)) for name in ("critic", "generator")):
        raise TypeError(f"game must have the losses critic and generator, got {game!r}")
    checked: Game = game
    return checked


@dataclass(frozen=True)
class NonSaturating:
    r"""The logistic game whose generator maximises the log-probability that its draws are taken for real.

    .. math:: L_D = -\log \sigma(D(x)) - \log(1 - \sigma(D(G(z)))), \qquad L_G = -\log \sigma(D(G(z)))

    At its optimum the discriminator is the log-ratio of the two densities.

    Source: Goodfellow et al. (2014), arXiv 1406.2661, eq. 1 and section 3.
    """

    def critic(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(-score(real)) + F.softplus(score(fake))

    def generator(self, score: Score, fake: Tensor) -> Tensor:
        return F.softplus(-score(fake))


@dataclass(frozen=True)
class Wasserstein:
    r"""The Wasserstein-1 distance, the critic kept near slope 1 by a penalty.

    .. math:: L_D = D(G(z)) - D(x) + \lambda (\lVert \nabla D(\hat x) \rVert_2 - 1)^2, \quad
        \hat x = u x + (1 - u) G(z), \; u \sim \mathrm{Uniform}(0, 1), \qquad L_G = -D(G(z))

    A discriminator with batch normalisation has no slope per datum; the published critics have none.

    Args:
        penalty: The weight, not negative.

    Raises:
        ValueError: If it is negative or not finite.

    Source: Gulrajani et al. (2017), arXiv 1704.00028, eq. 3.
    """

    penalty: float = 10.0

    def __post_init__(self) -> None:
        finite_number("penalty", self.penalty, least=0.0)

    def critic(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        share = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype, device=real.device)
        with torch.enable_grad():  # also where only the value is asked for
            between = (share * real + (1.0 - share) * fake).detach().requires_grad_()
            (slope,) = torch.autograd.grad(score(between).sum(), between, create_graph=True)
        # its own slope is infinite at 0, where the published penalty has no derivative
        length = (slope.flatten(1).square().sum(1) + torch.finfo(slope.dtype).tiny).sqrt()
        return score(fake) - score(real) + self.penalty * (length - 1.0).square()

    def generator(self, score: Score, fake: Tensor) -> Tensor:
        return -score(fake)


@dataclass(frozen=True)
class Hinge:
    r"""The hinge loss, which leaves out draws that the critic tells apart by a margin.

    .. math:: L_D = \max(0, 1 - D(x)) + \max(0, 1 + D(G(z))), \qquad L_G = -D(G(z))

    Source: Lim and Ye (2017), arXiv 1705.02894, eqs. 9 and 10; Miyato et al. (2018), arXiv 1802.05957, eqs. 16 and 17.
    """

    def critic(self, score: Score, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1.0 - score(real)) + F.relu(1.0 + score(fake))

    def generator(self, score: Score, fake: Tensor) -> Tensor:
        return -score(fake)


NON_SATURATING = NonSaturating()
