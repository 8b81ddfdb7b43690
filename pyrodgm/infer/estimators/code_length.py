"""Code lengths of a long sequence under a sequence model."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrodgm.arithmetic.arguments import finite_number, programs, tensors, whole_number
from pyrodgm.infer.tracing.contexts import fork_rng


@dataclass(frozen=True)
class Bits:
    """Code lengths on a sequence.

    Attributes:
        bits: bits a symbol, of the mean prediction of all samples.
        bound: bits a symbol with the divergence of the weights from their prior added, NaN where that is unknown.
        num_steps: inner steps computed a symbol.
        mean_step: mean index of an inner step under its weights.
        count: number of symbols predicted.
    """

    bits: float
    bound: float
    num_steps: float
    mean_step: float
    count: int


def bits_per_symbol(
    pair: Any,
    sequence: Tensor,
    *,
    num_samples: int = 1,
    tolerance: float = 0.0,
    mean: bool = False,
    num_streams: int | None = None,
    length: int = 100,
    seed: int = 0,
) -> Bits:
    r"""Bits a symbol of a sequence, every symbol but the first predicted from those before it.

    .. math:: -\frac{1}{N - 1} \sum_{t=1}^{N-1} \log_2 p(x_{t+1} \mid x_{\le t})

    The sequence is read in `num_streams` streams side by side, each of which begins where another ends, with a zero
    state, and the last symbol of that one for its first input.

    Args:
        pair: a `SequenceModel` of symbols.
        sequence: `[N]`, N at least 2.
        num_samples: draws of the weights, as in `SequenceModel.predict`.
        tolerance: as there.
        mean: as there.
        num_streams: fewer lose less context at their beginnings, more are faster; by default one for every thousand
            symbols, at most 64.
        length: symbols a window; the state is carried over, so that it changes nothing but memory.
        seed: of the draws of the weights; the caller's random state is left as it was.
    """
    programs(pair, "predict")
    tensors(sequence=sequence)
    if sequence.dim() != 1 or len(sequence) < 2 or sequence.is_floating_point():
        raise ValueError(
            f"sequence must be whole numbers [N], N at least 2, got {sequence.dtype} of shape {list(sequence.shape)}"
        )
    num_samples, length = whole_number("num_samples", num_samples), whole_number("length", length)
    num_streams = None if num_streams is None else whole_number("num_streams", num_streams)
    tolerance, seed = finite_number("tolerance", tolerance, least=0.0), whole_number("seed", seed, None)
    device = next(pair.parameters()).device
    count = len(sequence) - 1
    num_streams = min(64, max(1, count // 1000)) if num_streams is None else min(num_streams, count)
    stride = math.ceil(count / num_streams)
    known = torch.arange(num_streams * stride, device=device) < count
    padded = torch.cat([sequence.to(device), sequence.new_zeros(num_streams * stride - count, device=device)])
    x, y = (part.view(num_streams, stride) for part in (padded[:-1], padded[1:]))
    mask = known.view(num_streams, stride)
    totals, state = torch.zeros(4, dtype=torch.float64, device=device), None
    with fork_rng(device):
        torch.manual_seed(seed)
        for xs, ys, used in zip(x.split(length, 1), y.split(length, 1), mask.split(length, 1), strict=True):
            out = pair.predict(xs, ys, state, num_samples=num_samples, tolerance=tolerance, mean=mean)
            state = out.state
            values = torch.stack([-out.log_prob, out.divergence, out.num_steps, out.mean_step])
            totals += torch.where(used, values, 0.0).sum((1, 2))
    nats, divergence, num_steps, mean_step = (totals / count).tolist()
    return Bits(nats / math.log(2), (nats + divergence) / math.log(2), num_steps, mean_step, count)
