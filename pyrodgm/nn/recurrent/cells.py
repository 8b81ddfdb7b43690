"""One update of an LSTM's and of a GRU's state, and its derivative, on buffers that are given."""

from typing import Protocol

import torch
from torch import Tensor

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


class Cell(Protocol):
    """What the recurrence has to know of a cell.

    Attributes:
        parts: How many vectors of H units the state has; the first is the hidden one.
        input_gates: Rows of the input's weights, in units of H.
        hidden_gates: Rows of the hidden state's weights, in units of H.
        kept: Numbers an update keeps for its derivative, in units of H.
    """

    parts: int
    input_gates: int
    hidden_gates: int
    kept: int

    def update(self, x: Tensor, weight: Tensor, bias: Tensor, old: Tensor, new: Tensor, kept: Tensor) -> None:
        """The next state.

        Args:
            x: Input's part of the gates, ``[B, input_gates H]``.
            weight: The hidden state's weights, transposed, ``[H, hidden_gates H]``.
            bias: ``[H]``, what a gate adds to the hidden state's part alone (the GRU's candidate).
            old: ``[parts, B, H]``.
            new: ``[parts, B, H]``, filled with the next state.
            kept: ``[B, kept H]``, filled with what ``pull_back`` needs.
        """

    def pull_back(self, kept: Tensor, old: Tensor, new: Tensor, grad: Tensor, grad_gates: Tensor) -> Tensor:
        """Gradients of the gates before their activations and of the old state apart from the hidden product.

        Args:
            kept: What ``update`` filled.
            old: The state before.
            new: The state after.
            grad: ``[parts, B, H]``, gradient of the new state; overwritten.
            grad_gates: ``[B, kept H]``, filled; the first ``hidden_gates H`` columns are those of the hidden product.

        Returns:
            ``[parts, B, H]``, the gradient of the old state but for what comes through the hidden product.
        """

    def input_gradient(self, grad_gates: Tensor) -> Tensor:
        """The columns of the input's part, ``[..., input_gates H]`` of ``[..., kept H]``."""


class LSTMCell:
    """Gates in the order input, forget, candidate, output, as in ``torch.nn.LSTM``; the state is (h, c)."""

    parts, input_gates, hidden_gates, kept = 2, 4, 4, 4

    def update(self, x: Tensor, weight: Tensor, bias: Tensor, old: Tensor, new: Tensor, kept: Tensor) -> None:
        torch.addmm(x, old[0], weight, out=kept)
        i, f, g, o = kept.chunk(4, -1)
        kept[:, : 2 * i.shape[-1]].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        torch.mul(f, old[1], out=new[1])
        new[1].addcmul_(i, g)
        torch.tanh(new[1], out=new[0])
        new[0].mul_(o)

    def pull_back(self, kept: Tensor, old: Tensor, new: Tensor, grad: Tensor, grad_gates: Tensor) -> Tensor:
        i, f, g, o = kept.chunk(4, -1)
        grad_i, grad_f, grad_g, grad_o = grad_gates.chunk(4, -1)
        grad_h, grad_c = grad
        tanh_c = torch.tanh(new[1])
        sigmoid_backward(grad_h * tanh_c, o, grad_input=grad_o)
        grad_c += torch.ops.aten.tanh_backward(grad_h.mul_(o), tanh_c)
        sigmoid_backward(grad_c * g, i, grad_input=grad_i)
        sigmoid_backward(grad_c * old[1], f, grad_input=grad_f)
        tanh_backward(grad_c * i, g, grad_input=grad_g)
        grad_h.zero_()
        grad_c.mul_(f)
        return grad

    def input_gradient(self, grad_gates: Tensor) -> Tensor:
        return grad_gates


class GRUCell:
    """Gates in the order reset, update, candidate, as in ``torch.nn.GRU``; the state is h."""

    parts, input_gates, hidden_gates, kept = 1, 3, 3, 4

    def update(self, x: Tensor, weight: Tensor, bias: Tensor, old: Tensor, new: Tensor, kept: Tensor) -> None:
        size = bias.shape[0]
        r, z, hidden, n = kept.chunk(4, -1)
        torch.mm(old[0], weight, out=kept[:, : 3 * size])
        gates = kept[:, : 2 * size]
        gates.add_(x[:, : 2 * size]).sigmoid_()
        hidden.add_(bias)
        torch.addcmul(x[:, 2 * size :], r, hidden, out=n)
        n.tanh_()
        torch.lerp(n, old[0], z, out=new[0])

    def pull_back(self, kept: Tensor, old: Tensor, new: Tensor, grad: Tensor, grad_gates: Tensor) -> Tensor:
        r, z, hidden, n = kept.chunk(4, -1)
        grad_r, grad_z, grad_hidden, grad_n = grad_gates.chunk(4, -1)
        (grad_h,) = grad
        sigmoid_backward(grad_h * (old[0] - n), z, grad_input=grad_z)
        tanh_backward(grad_h - grad_h * z, n, grad_input=grad_n)
        torch.mul(grad_n, r, out=grad_hidden)
        sigmoid_backward(grad_n * hidden, r, grad_input=grad_r)
        grad_h.mul_(z)
        return grad

    def input_gradient(self, grad_gates: Tensor) -> Tensor:
        r, z, _, n = grad_gates.chunk(4, -1)
        return torch.cat([r, z, n], -1)


CELLS: dict[str, Cell] = {"lstm": LSTMCell(), "gru": GRUCell()}
