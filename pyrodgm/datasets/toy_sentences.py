"""Sentences of a small grammar."""

import os
import random

from pyrodgm.datasets.dataset import Dataset
from pyrodgm.datasets.sentences import sentences

SIZES, SEED = (4000, 500, 500), 0
ADJECTIVES = ["old", "young", "quiet", "happy"]
SCENES = tuple(
    tuple(words.split() for words in scene.split("/"))
    for scene in (
        "cook baker guest waiter girl / cuts serves burns eats / bread soup cake fish apples / kitchen garden hall",
        "sailor captain pirate pilot nun / steers paints sinks finds / boat ship anchor map treasure / bay storm port",
        "teacher student judge poet boy / reads writes hides learns / book letter poem law story / school court tower",
        "farmer rider shepherd hunter dog / feeds leads chases sees / horse cow sheep deer goat / field barn forest",
    )
)


def load_toy_sentences(root: str | os.PathLike[str] | None = None) -> Dataset:
    """5,000 sentences of words, each about one of four subjects, which share few words (`root` is not used).

    "the [adjective] noun verb the noun [in the place]" with parts in brackets half of the time, each word chosen
    evenly. A sentence has log(4) + log(2) + log(4) / 2 + log(5) + log(4) + log(5) + log(2) + log(3) / 2 = 8.620 nats on
    average, than which no model can have less.
    """
    generator = random.Random(SEED)

    def sentence() -> str:
        nouns, verbs, objects, places = generator.choice(SCENES)
        adjective = [generator.choice(ADJECTIVES)] if generator.random() < 0.5 else []
        place = ["in", "the", generator.choice(places)] if generator.random() < 0.5 else []
        middle = [generator.choice(nouns), generator.choice(verbs), "the", generator.choice(objects)]
        return " ".join(["the", *adjective, *middle, *place])

    lines = [sentence() for _ in range(sum(SIZES))]
    first, second, _ = SIZES
    parts = lines[:first], lines[first : first + second], lines[first + second :]
    return sentences(*parts, name="toy_sentences")
