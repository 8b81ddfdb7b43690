"""What a random pair of Pyro programs may have."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Features:
    """What a random pair has.

    Attributes:
        label: A site ``y`` with three values, summed out.
        second_label: A site ``b`` with two values whose prior depends on ``y``, and an observation that depends on it
            alone.
        dependent_labels: Whether the guide's ``b`` depends on ``y`` too.
        global_latent: A site ``g`` outside the data plate, with or without a guide site of that name.
        second_latent: A site ``z2`` whose prior depends on ``z1``.
        reversed_guide: Whether the guide draws ``z2`` before ``z1``.
        model_only: A site ``u`` that the guide lacks.
        own_site: A site ``tau`` that the prior draws itself, with or without a guide site of that name.
        auxiliary: An auxiliary site of the guide, of which ``z1`` is a function.
        deterministic: Deterministic sites in both programs.
        missing: A second observation, missing for some data (``obs_mask``).
        vector: A site ``s`` with two correlated elements and an observation of two; in the guide ``diagonal`` or
            ``correlated``, or drawn by the ``model`` alone.
        count: An observation with a probability of its own kind, given by ``z1`` and, if there is one, ``z2``.
        rate: A gamma site ``r`` with a Poisson observation, with or without its like in the guide.
        inner: A second plate, left or right of that of the data.
        inner_latent: A site ``v`` in it.
        inner_subsampled: Whether it is subsampled.
        subsampled: Whether the data plate is.
        mask: A mask of ``z1``, in both programs or in the model alone, there by a handler or of the distribution.
        scale: A scale of ``z1``, likewise.
        tied: Whether the guide shares a parameter with the model.
        frozen: Whether a parameter is not trained.
        argument: Whether the programs take a second argument.
        fault: A site that has to be refused: a ``stray`` one of the guide, a ``factor`` in the guide, one that is
            ``observed`` in the model alone, or a ``discrete`` one of the model whose parameter cannot be trained.
        seed: Of all numbers.
    """

    label: bool = False
    second_label: bool = False
    dependent_labels: bool = False
    global_latent: Literal["none", "paired", "model"] = "none"
    second_latent: bool = False
    reversed_guide: bool = False
    model_only: bool = False
    own_site: Literal["none", "paired", "model"] = "none"
    auxiliary: bool = False
    deterministic: bool = False
    missing: bool = False
    vector: Literal["none", "diagonal", "correlated", "model"] = "none"
    count: Literal["none", "bernoulli", "poisson"] = "none"
    rate: Literal["none", "paired", "model"] = "none"
    inner: Literal["none", "left", "right"] = "none"
    inner_latent: bool = False
    inner_subsampled: bool = False
    subsampled: bool = False
    mask: Literal["none", "both", "model", "own"] = "none"
    scale: Literal["none", "both", "model"] = "none"
    tied: bool = False
    frozen: bool = False
    argument: bool = False
    fault: Literal["none", "stray", "factor", "observed", "discrete"] = "none"
    seed: int = 0

    def names(self) -> list[str]:
        """The features that are there, choices as ``name=choice``."""
        values = {name: value for name, value in vars(self).items() if name != "seed" and value not in (False, "none")}
        return [name if value is True else f"{name}={value}" for name, value in values.items()]
