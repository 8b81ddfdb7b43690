"""Running a model on few rows, to see what it makes of them."""

from typing import Any

import pyro.poutine as poutine
from pyro.infer.autoguide import AutoGuide, AutoMessenger

from pyrodgm.infer.estimators.sites import Trace, traces


def try_model(pair: Any, *args: Any, **kwargs: Any) -> Trace:
    """A trace of the model on few rows, at the guide's values, or its own where there is an autoguide.

    That makes parameters for as many rows as it first meets, and may not run on fewer.
    """
    if any(isinstance(part, (AutoGuide, AutoMessenger)) for part in pair.modules()):
        return poutine.trace(pair.model).get_trace(*args, **kwargs)
    return traces(pair, *args, **kwargs)[1]
