"""Checks that hold for every distribution, for distributions that others write."""

import copy
import io
import pickle
from typing import Any

import torch

SAMPLE_SHAPES = [(), (3,), (2, 1)]


def check_distribution(distribution: Any, moments: bool = True) -> None:
    """Check shapes, support, expansion, copies and reparametrised draws of a distribution with a batch.

    Args:
        distribution: A Pyro distribution with at least one batch dimension.
        moments: Whether it has a mean and a variance.

    Raises:
        AssertionError: If a check fails; says which.

    Example:
        >>> from pyro.distributions import Normal
        >>> check_distribution(Normal(torch.zeros(2, 3), 1.0).to_event(1))
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


def _check_expand(d: Any, moments: bool) -> None:
    batch, event = tuple(d.batch_shape), tuple(d.event_shape)
    x = d.sample()
    new = d.expand((3, *batch))
    _equal("type of an expanded distribution", type(new), type(d))
    _equal("its batch shape", tuple(new.batch_shape), (3, *batch))
    _equal("shape of its samples", tuple(new.sample((4,)).shape), (4, 3, *batch, *event))
    torch.testing.assert_close(new.log_prob(x), d.log_prob(x).expand(3, *batch))
    if moments:
        torch.testing.assert_close(new.mean, d.mean.expand(new.mean.shape))
    _equal("batch shape expanded twice", tuple(new.expand((5, 3, *batch)).log_prob(x).shape), (5, 3, *batch))
    draws = new.sample((8,))
    assert not torch.equal(draws[:, 0], draws[:, 1]), "elements of an expanded distribution must be drawn apart"
    _equal("shape of log_prob as an event", tuple(d.to_event(len(batch)).log_prob(x).shape), ())


def _saved(d: Any) -> Any:
    stored = io.BytesIO()
    torch.save(d, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def _equal(what: str, found: Any, wanted: Any) -> None:
    assert found == wanted, f"{what} must be {wanted}, got {found}"
