"""The tensors of many models in one stack, and the graphs that run on it."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from pyrodgm.infer.tracing.arguments import Batch
from pyrodgm.infer.tracing.attributes import Attributes
from pyrodgm.infer.tracing.contexts import evaluating, unchanged
from pyrodgm.infer.tracing.graph import LossFunction, LossModule
from pyrodgm.infer.tracing.stacked import StackedFunction
from pyrodgm.infer.training.many.member import Member
from pyrodgm.infer.training.rehearsal import rehearse


class Stack:
    """Parameters, buffers and KL weights of all models as rows of stacked tensors, which the models go on using.

    Args:
        members: The models, of one shape.

    Raises:
        ValueError: If they are not of one shape, or differ in an attribute; names the tensor or attribute.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)
        self.generators = [member.generator for member in members]
        self.noise = [torch.Generator() for _ in members]  # of validations
        self._gather()

    def _gather(self) -> None:
        """Stack the tensors that the models have by now, and forget all graphs."""
        members = self.members
        self.attributes = [Attributes(_owners(member)) for member in members]
        functions = [LossFunction(member.module(member.training.objective)) for member in members]
        self.trained = [list(function.trained.values()) for function in functions]
        self.values = [_stacked(name, rows) for name, rows in _rows([{**f.trained} for f in functions]).items()]
        self.fixed = {name: _stacked(name, rows) for name, rows in _rows([f.fixed for f in functions]).items()}
        self.weights = [getattr(member.training.objective, "kl_weight", None) for member in members]
        weights = [weight for weight in self.weights if weight is not None]
        self.kl_weights = _stacked("kl_weight", weights) if weights else None
        self.steps: dict[tuple[torch.Size, ...], StackedFunction] = {}
        self.bounds: dict[torch.Size, StackedFunction] = {}

    def losses(self, inputs: Sequence[tuple[Tensor, ...]]) -> Tensor:
        """Set the gradients of all models; returns the loss per datum of each, ``[models]``."""
        self._follow()
        key = tuple(x.shape for x in inputs[0])
        if key not in self.steps:
            self.steps[key] = self._trace(inputs[0])
        stacked = tuple(torch.stack(parts) for parts in zip(*inputs, strict=True))
        losses, gradients = self.steps[key](self.values, self.fixed, self.kl_weights, stacked)
        for gradient, parameters in zip(gradients, zip(*self.trained, strict=True), strict=True):
            rows = [None] * len(parameters) if gradient is None else gradient.unbind()
            for parameter, row in zip(parameters, rows, strict=True):
                parameter.grad = row
        return losses

    def measure(self, batches: Sequence[Batch]) -> list[float]:
        """The validation bound of each model, under the noise of its own validation."""
        self._follow()
        for member, noise in zip(self.members, self.noise, strict=True):
            noise.manual_seed(member.training.plan.seed)
        total, count = torch.zeros(()), 0
        for batch in batches:
            size = len(batch[0])
            if batch[0].shape not in self.bounds:
                self.bounds[batch[0].shape] = self._trace_bound(batch)
            losses = self.bounds[batch[0].shape](self.values, self.fixed)
            total, count = total.to(losses.device) + size * losses, count + size
        return [-float(x) / count for x in total]

    def _follow(self) -> None:
        """Begin anew where callbacks have replaced a buffer or changed an attribute, which graphs have as constants."""
        weights = [getattr(member.training.objective, "kl_weight", None) for member in self.members]
        replaced = any(a is not b for a, b in zip(weights, self.weights, strict=True))
        if replaced or any(attributes.have_changed() for attributes in self.attributes):
            self._gather()

    def _look(self) -> None:
        """Take the attributes of all models as they are by now; require them, and the modes of parts, to be equal."""
        parts = [dict(member.training.pair.named_modules()) for member in self.members]
        for name in dict.fromkeys(name for own in parts for name in own):
            if len({type(own.get(name)).__qualname__ for own in parts}) > 1:
                raise ValueError(f"make_pair must make pairs of equal parts, got some that differ in '{name}'")
            if len({own[name].training for own in parts}) > 1:
                raise ValueError(f"make_pair must make pairs of equal modes, got some with '{name}' in evaluation mode")
        self.attributes = [Attributes(_owners(member)) for member in self.members]
        for other in self.attributes[1:]:
            name = self.attributes[0].difference_of_twin(other)
            if name is not None:
                raise ValueError(f"make_pair must make pairs of equal attributes, got some that differ in '{name}'")

    def _trace(self, inputs: tuple[Tensor, ...]) -> StackedFunction:
        for training in [member.training for member in self.members]:
            with unchanged(training.pair, inputs[0].device), training.step.context(*inputs):
                rehearse(training.pair, training.objective, training.feed.arguments(*inputs))
        self._look()
        function = LossFunction(self.members[0].module(self.members[0].training.objective))
        arguments = (*self._first(), self._first_weight(), inputs)
        return StackedFunction(function, arguments, self.generators, function.owners)

    def _trace_bound(self, batch: Batch) -> StackedFunction:
        training = self.members[0].training
        module = LossModule(training.pair, training.evidence_bound, lambda *_: batch, lambda *_: nullcontext())
        function = LossFunction(module)

        def bound(values: list[Tensor], fixed: dict[str, Tensor]) -> Tensor:
            return function.loss(values, fixed, None, ())

        with evaluating(training.pair):
            return StackedFunction(bound, self._first(), self.noise, function.owners)

    def _first(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Copies of the tensors of the first model."""
        return [value[0].clone() for value in self.values], {n: value[0].clone() for n, value in self.fixed.items()}

    def _first_weight(self) -> Tensor | None:
        return None if self.kl_weights is None else self.kl_weights[0].clone()


def _owners(member: Member) -> dict[str, Any]:
    return {"": member.training.pair, "objective": member.training.objective}


def take_out(pair: nn.Module) -> None:
    """Give a model that has come to its end tensors of its own."""
    for tensor in (*pair.parameters(), *pair.buffers()):
        tensor.data = tensor.data.clone()


def _rows(named: Sequence[dict[str, Tensor]]) -> dict[str, list[Tensor]]:
    """The tensors of all models by name."""
    for other in named[1:]:
        if other.keys() != named[0].keys():
            odd = sorted(other.keys() ^ named[0].keys())
            raise ValueError(f"make_pair must make pairs of one shape, got some with and some without {', '.join(odd)}")
    return {name: [tensors[name] for tensors in named] for name in named[0]}


def _stacked(name: str, rows: Sequence[Tensor]) -> Tensor:
    """The tensors of all models as rows of one, of which they become views."""
    if len({(row.shape, row.dtype) for row in rows}) > 1:
        raise ValueError(f"make_pair must make pairs of one shape, got {name} of {[list(row.shape) for row in rows]}")
    stack = torch.stack([row.detach() for row in rows])
    for row, own in zip(rows, stack.unbind(), strict=True):
        row.data = own
    return stack
