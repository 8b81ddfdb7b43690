"""Which changes of attributes are noticed, and that a watched program leaves none."""

import dataclasses
import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pyrodgm.infer import ELBO
from pyrodgm.infer.tracing.attributes import Attributes, watching


@dataclasses.dataclass
class Record:
    value: float = 1.0
    more: list = dataclasses.field(default_factory=lambda: [1.0])


class Thing:
    def __init__(self):
        self.value, self.items = 1.0, {"a": 1.0}


class Held(nn.Module):
    def __init__(self):
        super().__init__()
        self.number, self.text, self.nothing, self.shape = 1.0, "a", None, (1.0, 1.0)
        self.tensor, self.array = torch.ones(2), np.ones(2)
        self.list, self.dict, self.set, self.queue = [1.0, [2.0]], {"a": 1.0}, {1.0}, deque([1.0])
        self.record, self.space, self.thing = Record(), SimpleNamespace(value=1.0), Thing()
        self.register_buffer("buffer", torch.ones(2))
        self.net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        self.generator = np.random.default_rng(0)


CHANGES = {
    "number": lambda m: setattr(m, "number", 2.0),
    "kind of number": lambda m: setattr(m, "number", 1),
    "text": lambda m: setattr(m, "text", "b"),
    "nothing": lambda m: setattr(m, "nothing", 0),
    "tuple": lambda m: setattr(m, "shape", (1, 3)),
    "tensor": lambda m: setattr(m, "tensor", torch.ones(2)),
    "tensor in place": lambda m: m.tensor.add_(1.0),
    "array in place": lambda m: m.array.__setitem__(0, 2.0),
    "list": lambda m: m.list.append(1.0),
    "list in list": lambda m: m.list[1].__setitem__(0, 3.0),
    "dictionary": lambda m: m.dict.__setitem__("a", 2.0),
    "key": lambda m: m.dict.__setitem__("b", m.dict.pop("a")),
    "set": lambda m: m.set.add(2.0),
    "queue": lambda m: m.queue.append(1.0),
    "data class": lambda m: setattr(m.record, "value", 2.0),
    "list in data class": lambda m: m.record.more.append(1.0),
    "namespace": lambda m: setattr(m.space, "value", 2.0),
    "object": lambda m: setattr(m.thing, "value", 2.0),
    "dictionary in object": lambda m: m.thing.items.clear(),
    "buffer": lambda m: setattr(m, "buffer", torch.ones(2)),
    "submodule": lambda m: setattr(m.net[1], "p", 0.1),
    "new": lambda m: setattr(m, "other", 1.0),
    "gone": lambda m: delattr(m, "number"),
    "hook": lambda m: m.net.register_forward_hook(lambda *args: None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_are_noticed_and_undone(change):
    held = Held()
    before = Attributes({"": held})
    undo = before.kept()
    assert not before.have_changed()
    assert before.difference(Attributes({"": held})) is None
    change(held)
    assert before.have_changed()
    assert before.difference(Attributes({"": held})) is not None
    undo()
    assert held.tensor.sum() == 2.0
    before.versions = [held.tensor._version]  # which counts what undoes a change too
    assert not before.have_changed()


SAME = {
    "number": lambda m: setattr(m, "number", float("1.0")),
    "tuple": lambda m: setattr(m, "shape", tuple(m.list[:1] * 2)),
    "list": lambda m: setattr(m, "list", [1.0, [2.0]]),
    "buffer in place": lambda m: m.buffer.add_(1.0),
    "parameter in place": lambda m: nn.init.zeros_(m.net[0].weight),
    "mode": lambda m: m.eval(),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_equal_values_and_what_graphs_take_anew_are_no_difference(change):
    held = Held()
    before = Attributes({"": held})
    change(held)
    assert before.difference(Attributes({"": held})) is None


def test_the_kl_weight_of_an_objective_counts_only_where_it_is_no_tensor():
    objective = ELBO()
    before = Attributes({"objective": objective})
    objective.kl_weight = 0.1
    objective.kl_weight.fill_(0.2)
    assert not before.have_changed()
    pair = Held()
    pair.kl_weight = 1.0
    before = Attributes({"": pair})
    pair.kl_weight = 2.0
    assert before.difference(Attributes({"": pair})) == "kl_weight"


def test_differences_are_named():
    held = Held()
    before = Attributes({"": held, "objective": SimpleNamespace(weight=1.0)})
    held.net[1].p = 0.1
    assert before.difference(Attributes(before.owners)) == "net.1.p"
    held.net[1].p = 0.5
    before.owners["objective"].weight = 2.0
    assert before.difference(Attributes(before.owners)) == "objective.weight"


def test_things_that_hold_each_other_are_looked_at_once():
    held = Held()
    held.list.append(held.list)
    held.thing.items["self"] = held.thing
    before = Attributes({"": held})
    held.thing.value = 3.0
    assert before.have_changed()


DRAWS = {
    "numpy": lambda m: np.random.rand(),
    "python": lambda m: random.random(),
    "own generator": lambda m: m.generator.random(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_draws_from_elsewhere_are_found_and_taken_back(draw):
    held = Held()
    with watching({"": held}) as found:
        first = draw(held)
    assert "draws random numbers from NumPy or Python" in found[0]
    assert draw(held) == first
    with watching({"": held}) as found:
        torch.rand(())
    assert found == []


def test_what_a_failing_program_has_changed_is_taken_back():
    held = Held()

    def fail():
        with watching({"": held}):
            held.number = 2.0
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert held.number == 1.0


def test_twins_have_equal_tensors_and_values():
    first, second = Held(), Held()
    second.load_state_dict({**first.state_dict(), "buffer": torch.zeros(2)})
    assert Attributes({"": first}).difference_of_twin(Attributes({"": second})) is None
    second.tensor = torch.zeros(2)
    assert Attributes({"": first}).difference_of_twin(Attributes({"": second})) == "tensor"
    second.tensor, second.record.value = torch.ones(2), 2.0
    assert Attributes({"": first}).difference_of_twin(Attributes({"": second})) == "record.value"
