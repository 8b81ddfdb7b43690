"""Checks that hold for every distribution, for distributions that others write."""

import copy
import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.distributions import Independent

from pyrodgm.testing.check_transforms import check_precision, check_traced, check_transforms

SAMPLE_SHAPES = [(), (3,), (2, 1)]


def check_distribution(
    distribution: Any,
    moments: bool = True,
    *,
    build: Callable[..., Any] | None = None,
    parameters: Mapping[str, Tensor] | None = None,
    smooth: bool | None = None,
    single_error: float = 1e-4,
    transforms: bool = True,
) -> None:
    """Check what every distribution holds, on one with a batch.

    - Shapes of draws, densities and moments; draws lie in the support; copies, pickles and saved ones are the same.
    - ``expand``; values with fewer batch dimensions and values of another floating dtype.
    - A draw may be cloned, viewed, indexed, moved to another dtype and back, pickled, saved or made in inference mode:
      its density stays. It does not depend on what was drawn before, either.
    - With ``build`` and ``parameters``: empty batches; float32 agrees with float64; ``torch.func``'s ``grad``, ``jvp``
      and ``vmap`` of density and reparametrised draw agree with ``backward``, in both; and so does a ``make_fx`` trace,
      at other parameters than those it was traced at.

    Args:
        distribution: A Pyro distribution with at least one batch dimension.
        moments: Whether it has a mean and a variance.
        build: Makes it of tensors, given by name.
        parameters: These tensors, floating; each at least as many batch dimensions as the distribution.
        smooth: Whether its density has a gradient with respect to values; by default, whether its support is not
            discrete.
        single_error: Largest error of log-densities in float32, relative to those above 1.
        transforms: Whether ``torch.func`` knows its operations.

    Raises:
        AssertionError: If a check fails; says which.

    Example:
        >>> from pyro.distributions import Normal
        >>> parameters = {"loc": torch.zeros(3), "scale": torch.ones(3)}
        >>> check_distribution(Normal(**parameters), build=Normal, parameters=parameters)
    """
    d = distribution
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    assert batch, f"the distribution must have a batch, got batch shape {batch}"
    assert d.support.event_dim == len(event), f"support.event_dim must be {len(event)}, got {d.support.event_dim}"
    for sample_shape in SAMPLE_SHAPES:
        x = d(sample_shape)
        _equal("shape of a sample", tuple(x.shape), (*sample_shape, *batch, *event))
        _equal("shape of log_prob", tuple(d.log_prob(x).shape), (*sample_shape, *batch))
        assert d.support.check(x).all(), "samples must lie in the support"
    for name in ("mean", "variance") if moments else ():
        _equal(f"shape of {name}", tuple(getattr(d, name).shape), (*batch, *event))
    _check_expand(d, moments)
    _check_broadcasting(d)
    _check_transport(d)
    x = d.sample()
    for how, other in (("pickled", pickle.loads(pickle.dumps(d))), ("deep", copy.deepcopy(d)), ("saved", _saved(d))):
        torch.testing.assert_close(other.log_prob(x), d.log_prob(x), msg=f"a {how} copy must have the same log_prob")
    if not d.has_rsample:
        refused = False
        try:
            d.rsample()
        except NotImplementedError:
            refused = True
        assert refused, "rsample must raise NotImplementedError where has_rsample is False"
    if build is not None and parameters is not None:
        smooth = not d.support.is_discrete if smooth is None else smooth
        with pyro.validation_enabled(False):  # PyTorch's own checks of events fail on empty batches
            _check_empty(build(**parameters))
        check_precision(build, parameters, moments, single_error)
        check_traced(build, parameters, smooth)
        for dtype in (torch.float32, torch.float64) if transforms else ():
            check_transforms(build, {name: p.to(dtype) for name, p in parameters.items()}, smooth)


def _check_expand(d: Any, moments: bool) -> None:
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    x = d.sample()
    new = d.expand((3, *batch))
    _equal("type of an expanded distribution", type(new), type(d))
    _equal("its batch shape", tuple(new.batch_shape), (3, *batch))
    _equal("shape of its samples", tuple(new.sample((4,)).shape), (4, 3, *batch, *event))
    wanted = d.log_prob(x.clone()).expand(3, *batch)
    torch.testing.assert_close(new.log_prob(x), wanted, msg="log_prob must be the same after expand")
    if moments:
        wanted = d.mean.expand(new.mean.shape)
        torch.testing.assert_close(new.mean, wanted, msg="the mean must be the same after expand")
    _equal("batch shape expanded twice", tuple(new.expand((5, 3, *batch)).log_prob(x).shape), (5, 3, *batch))
    draws = new.sample((8,))
    assert not torch.equal(draws[:, 0], draws[:, 1]), "elements of an expanded distribution must be drawn apart"
    _equal("shape of log_prob as an event", tuple(d.to_event(len(batch)).log_prob(x).shape), ())


def _check_broadcasting(d: Any) -> None:
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    one = d.sample().reshape(-1, *event)[0]
    whole = d.log_prob(one.expand(*batch, *event).clone())
    for value in (one, one.reshape(*[1] * len(batch), *event)):
        what = f"log_prob of a value {list(value.shape)} must be that of the same value in all of the batch"
        torch.testing.assert_close(d.log_prob(value), whole, msg=what)
    x = d.sample((4,))
    for dtype in (torch.float32, torch.float64):
        found = d.log_prob(x.to(dtype))
        assert found.is_floating_point(), f"log_prob of a {dtype} value must be floating, got {found.dtype}"
        _equal(f"shape of log_prob of a {dtype} value", tuple(found.shape), (4, *batch))


def _check_empty(d: Any) -> None:
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    empty = d.expand((0, *batch))
    drawn = empty.sample((3,))
    _equal("shape of a sample of an empty batch", tuple(drawn.shape), (3, 0, *batch, *event))
    if type(d).log_prob is not Independent.log_prob:  # which takes no empty batch, whatever its base does
        _equal("shape of log_prob of an empty batch", tuple(empty.log_prob(drawn).shape), (3, 0, *batch))
        none = d.log_prob(d.sample((0,)))
        _equal("shape of log_prob of no draws", tuple(none.shape), (0, *batch))


def _check_transport(d: Any) -> None:
    x = d.sample()
    before = d.log_prob(x)
    d.sample((3,))
    with torch.inference_mode():
        inside = d.sample()
        of_inside = d.log_prob(inside)
    moved: dict[str, Tensor] = {
        "a clone": x.clone(),
        "a view": x.view_as(x),
        "an index": x[:],
        "a gather": x[torch.arange(len(x), device=x.device)],
        "a dtype and back": x.to(torch.float64).to(x.dtype),
        "the CPU and back": x.cpu().to(x.device),
        "a pickle": pickle.loads(pickle.dumps(x)),
        "a file": _saved(x),
        "a stack": torch.stack([x, x])[1],
    }
    for how, value in moved.items():
        same = torch.equal(d.log_prob(value), before)
        assert same, f"a draw that went through {how} must keep its log_prob: hidden state belongs in no tensor"
    what = "a draw made in inference mode must have the log_prob of its clone outside"
    torch.testing.assert_close(d.log_prob(inside.clone()), of_inside.clone(), msg=what)


def _saved(value: Any) -> Any:
    stored = io.BytesIO()
    torch.save(value, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def _equal(what: str, found: Any, wanted: Any) -> None:
    assert found == wanted, f"{what} must be {wanted}, got {found}"
