"""Pictures of sentences."""

import itertools

import pytest

from pyrodgm import plots


def test_every_sentence_stands_below_its_name_and_inside_the_figure():
    groups = {"samples": ["a cat $ sat", "a dog"], "long": ["word " * 60]}
    figure = plots.sentences(groups, title="toy", width=40)
    assert [text.get_text().replace("\n    ", " ").strip() for text in figure.texts[1:]] == [
        "samples", "a cat $ sat", "a dog", "long", ("word " * 60).strip(),
    ]  # fmt: skip
    heights = [text.get_position()[1] for text in figure.texts]
    assert heights[-1] > 0
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.texts]
    assert all(below.y1 <= above.y0 + 2 for above, below in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) >= 0


@pytest.mark.parametrize(
    ("groups", "message"),
    [({}, "groups must hold sentences, got none"), ({"a": "b"}, "groups must be sequences of strings by name")],
)
def test_what_is_no_sentence_is_refused(groups, message):
    with pytest.raises((TypeError, ValueError), match=message):
        plots.sentences(groups)
