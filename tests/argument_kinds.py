"""What an argument takes, by its annotation and a right value: what it must refuse, and what else it must take."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NOT_FINITE = [math.nan, math.inf, -math.inf]

# The smallest whole number that is taken, where it is not 1.
LEAST = {
    **dict.fromkeys(
        ("truncation", "num_classes", "population_size", "num_bins", "num_draws", "num_rounds", "num_symbols"), 2
    ),
    "datasets.limit_sentences.num_symbols": 3,
    "plots.sentences.width": 20,
    **dict.fromkeys(("context_size", "end"), 0),
    **dict.fromkeys(("max_units", "noise", "num_valid", "certified", "encoder_samples", "expected_steps"), 0),
    **dict.fromkeys(("seed", "rank"), None),
    "boltzmann.exact_samples.num_samples": 0,
    "boltzmann.check_sampler.num_calls": 4,
    "boltzmann.annealed_importance_sampling.num_chains": 2,
    "boltzmann.ParallelTempering.num_temperatures": 2,
    "priors.BoltzmannPrior.num_chains": 2,
    "models.RBM.num_chains": 2,
    "models.StickBreakingNADE.max_steps": 2,
    "models.SemiSupervisedVAE.num_classes": 2,
    "nn.recurrent.AdaptiveComputationTime.max_steps": 2,
    "nn.recurrent.StickBreakingRNN.max_steps": 2,
    "priors.SymmetricDirichletPrior.num_components": 2,
    "zoo.pairs.dense_dlgmm.num_components": 2,
    "zoo.pairs.dense_two_layer_dlgmm.num_components": 2,
    "infer.unit_variances.num_samples": 1,
}
FRACTION = ("a number in (0, 1)", [0.0, 1.0, -0.5, 1.5])
POSITIVE = ("a positive number", [0.0, -1.0])
NOT_NEGATIVE = ("a number of at least 0", [-1.0])
NUMBER: tuple[str, list[float]] = ("a finite number", [])
# The numbers that are taken, where not any finite one is.
NUMBERS = {
    **dict.fromkeys(("target_ess", "mass", "epsilon"), FRACTION),
    **dict.fromkeys(
        [
            "concentration",
            "concentration1",
            "concentration0",
            "beta",
            "margin",
            "spread",
            "base",
            "size",
            "start",
            "eps",
        ],
        POSITIVE,
    ),
    **dict.fromkeys(("scale", "clip_grad_norm", "max_plate_nesting", "epochs"), POSITIVE),
    **dict.fromkeys(
        ["time_penalty", "penalty", "weight_decay", "tolerance", "kl_weight", "feature_weight", "end"], NOT_NEGATIVE
    ),
    **dict.fromkeys(["classifier_weight", "labelled_weight", "kl_warmup", "free_bits", "threshold"], NOT_NEGATIVE),
    **dict.fromkeys(("momentum", "word_dropout"), ("a number in [0, 1]", [-0.5, 1.5])),
    "nn.recurrent.BatchNormLSTM.momentum": ("a number in (0, 1]", [0.0, -0.5, 1.5]),
    "fraction": ("a number in (0, 1]", [0.0, -0.5, 1.5]),
    "posteriors.StickBreakingPosterior.concentration": ("a number from 0.1 to 100", [0.0, -1.0, 1e3]),
    "std": NOT_NEGATIVE,
    "log_share": ("a number of at most 0", [0.5]),
}
# Tensors whose values are held to a range.
TENSORS = {
    **dict.fromkeys(["exemplars", "pseudo_inputs", "images", "originals", "reconstructed"], ("in [0, 1]", [-0.5, 1.5])),
    "k_hat": ("of numbers, infinite ones among them", []),
    "probs": ("of positive numbers", [0.0, -1.0]),
    "distributions.DiagNormalMixture.logits": ("of numbers below infinity, minus infinity among them", []),
    "distributions.IsotropicNormalMixture.logits": ("of numbers below infinity, minus infinity among them", []),
    "counts": ("of numbers of at least 0", [-1.0]),
}
DATA = {"infer.fit.data", "infer.fit_many.data"}
STRINGS = {f"datasets.Text.from_strings.{part}" for part in ("train", "valid", "test")}
FREE_TEXT = {"title", "site", "name", "label", "labels"}


@dataclass(frozen=True)
class Kind:
    """What an argument takes, in words; values that must be refused, that may be, and that must be taken."""

    takes: str
    wrong: Sequence[Any] = ()
    odd: Sequence[Any] = ()
    also: Sequence[Any] = ()


def by_name(table: Mapping[str, Any], where: str, otherwise: Any) -> Any:
    """The row of ``package.function.argument``, else of ``argument``."""
    return table.get(where, table.get(where.rsplit(".", 1)[-1], otherwise))


def changed(right: Tensor, value: float) -> Tensor:
    """A tensor with one of its values replaced."""
    result = right.clone()
    result.view(-1)[0] = value
    return result


def of_tensor(where: str, right: Tensor) -> Kind:
    wrong = ["a", None, [1.0, 2.0]]
    if not right.is_floating_point():
        return Kind("a tensor of whole numbers", ["a", None], [1.5, right.double() + 0.5])
    words, outside = by_name(TENSORS, where, ("of finite numbers", []))
    not_finite = [value for value in NOT_FINITE if not (value == -math.inf and "minus infinity" in words)]
    not_finite = [math.nan] if "infinite ones" in words else not_finite
    wrong += [changed(right, value) for value in (*not_finite, *outside)] if right.numel() else []
    shapes = [] if where.endswith("exemplars") else [right[..., None], right[None]]  # for a posterior to judge
    return Kind(f"a tensor {words}", wrong, [1.5, *shapes, right.long()])


def of_data(right: Any, labelled: bool = False) -> Kind:
    """Data of a pair, whose shapes and dtype are for the pair to judge, and NaN for its masks."""
    wrong = ["a", None, {}, [], object(), torch.tensor(1.0), *([right[:0]] if isinstance(right, Tensor) else [])]
    odd = [changed(right, value) for value in NOT_FINITE] if isinstance(right, Tensor) and not labelled else []
    return Kind("data, as `fit` takes them", wrong, odd)


def of_number(where: str, annotation: str, right: float) -> Kind:
    words, outside = by_name(NUMBERS, where, NUMBER)
    if "Tensor" in annotation:
        tensors = [torch.tensor(value) for value in (*NOT_FINITE, *outside)]
        return Kind(
            f"{words}, or a tensor of such",
            [*NOT_FINITE, *outside, "a", None, [1.0], *tensors],
            also=[torch.tensor(right), np.float64(right)],
        )
    return Kind(words, [*NOT_FINITE, *outside, "a", None, [1.0], 1j], also=[np.float64(right), np.float32(right)])


def of_whole(where: str, right: int) -> Kind:
    least = by_name(LEAST, where, 1)
    small = [] if least is None else [least - 1, -7]
    words = "a whole number" if least is None else f"a whole number from {least} on"
    wrong = [*small, 1.5, *NOT_FINITE, "3", True, [1], torch.tensor([1, 2]), None]
    return Kind(words, wrong, [np.float64(right)], [np.int64(right), np.int32(right)])


def of_sequence(where: str, annotation: str, right: Sequence[Any]) -> Kind:
    first = right[0] if len(right) else None
    if isinstance(first, int) and "Tensor" not in annotation:
        least = 0 if where.endswith(("batch_shape", "event_shape", "lengths")) else 1
        wrong = [3, None, "ab", *((*right[:-1], value) for value in (least - 1, 1.5, math.nan)), [[1]]]
        numbers = [np.int64(n) for n in right]
        return Kind(f"whole numbers from {least} on", wrong, also=[list(right), tuple(numbers)])
    if isinstance(first, float) and len(right) == 2 and "Sequence" not in annotation:
        return Kind("two finite numbers", [None, 3, "ab", (math.nan, 1.0), (right[0], math.inf), right[:1]])
    if isinstance(first, nn.Module):
        return Kind("modules", [None, 3, [None], [3]])
    return Kind("a sequence", [None, 3])


def kind_of(where: str, annotation: Any, right: Any) -> Kind | None:
    """What the argument ``package.function.argument`` takes; None where a switch or free text is passed on."""
    annotation = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    if isinstance(right, bool) or (isinstance(right, str) and where.rsplit(".", 1)[-1] in FREE_TEXT):
        return None
    if where.endswith(".max_plate_nesting"):
        return Kind(
            "a whole number from 0 on, or infinity", [math.nan, -math.inf, -1.0, 1.5, "a", None, [1.0]], also=[2]
        )
    if where == "infer.fit_many.runs":
        return Kind(
            "seeds, or options of `fit` by name", [3, None, "ab", (0, 1.5), (0, None), []], also=[[np.int64(1)]]
        )
    if where == "infer.bidirectional.like":
        return Kind("a tensor, of which only the shape counts", ["a", None, [1.0, 2.0], 1.5])
    if where in ("infer.sample.like", "infer.sample_means.like"):
        return Kind(
            "a number of draws from 1 on, or data", [0, -7, 1.5, *NOT_FINITE, "3", True, None], [], [np.int64(2)]
        )
    if where in DATA or (where.startswith("infer.") and where.endswith(".x")):
        return of_data(right, labelled="classification" in where)  # whose guide draws labels: of NaN it cannot
    if isinstance(right, Tensor):
        kind = of_tensor(where, right)
    elif isinstance(right, str) and where in STRINGS:
        kind = Kind("a string", [3, math.nan, None])
    elif isinstance(right, str):
        kind = Kind("one of its names", ["no such name", 3, math.nan, None])
    elif isinstance(right, int):
        kind = of_whole(where, right)
    elif isinstance(right, float):
        kind = of_number(where, annotation, right)
    elif isinstance(right, (tuple, list)):
        kind = of_sequence(where, annotation, right)
    elif isinstance(right, nn.Module):
        kind = Kind("a module", [None, 3, "a", [1]])
    elif isinstance(right, Callable):  # type: ignore[arg-type]
        kind = Kind("a function", [None, 3, "a", [1]])
    elif right is None:
        return None
    else:
        kind = Kind(f"a `{type(right).__name__}`", [None, 3, "a", [1]])
    if "None" in annotation or annotation.rsplit(".", 1)[-1] == "Any":
        kind = Kind(f"{kind.takes}, or None", [w for w in kind.wrong if w is not None], kind.odd, kind.also)
    return kind
