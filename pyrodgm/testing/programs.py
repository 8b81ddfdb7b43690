"""Random pairs as a hypothesis strategy, and as a plain sequence."""

import random
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pyrodgm.testing.features import Features

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def programs() -> "SearchStrategy[Features]":
    """A hypothesis strategy of features of random pairs; :class:`RandomPair` makes the programs of them."""
    from hypothesis import strategies as st

    choices: dict[str, Any] = {name: st.sampled_from(values) for name, values in _choices().items()}
    return st.builds(Features, **choices, seed=st.integers(0, 10_000)).map(consistent)


def random_programs(count: int, seed: int = 0) -> Iterator[Features]:
    """Features of ``count`` random pairs, without hypothesis."""
    numbers = random.Random(seed)
    for i in range(count):
        chosen: dict[str, Any] = {name: numbers.choice(values) for name, values in _choices().items()}
        yield consistent(Features(**chosen, seed=i))


def consistent(features: Features) -> Features:
    """The same without features that cannot go together, or that do nothing without others."""
    f = features
    f = replace(f, second_label=f.second_label and f.label)
    f = replace(f, dependent_labels=f.dependent_labels and f.second_label)
    f = replace(f, reversed_guide=f.reversed_guide and f.second_latent)
    inside = f.inner != "none"
    f = replace(f, inner_latent=f.inner_latent and inside, inner_subsampled=f.inner_subsampled and inside)
    if f.auxiliary:  # masks and scales of a site that is a function of another have no meaning
        f = replace(f, mask="none", scale="none")
    return f


@cache
def _choices() -> dict[str, list[Any]]:
    """The values of each feature, rare ones once in four or five."""
    kinds = get_type_hints(Features)
    rare = {"inner_subsampled", "auxiliary", "argument"}
    choices: dict[str, list[Any]] = {}
    for field in fields(Features):
        if field.name == "seed":
            continue
        literal = list(get_args(kinds[field.name]))
        if literal:
            choices[field.name] = [*["none"] * (30 if field.name == "fault" else 2), *literal]
        else:
            choices[field.name] = [False, False, False, True] if field.name in rare else [False, True]
    return choices
