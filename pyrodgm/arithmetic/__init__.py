"""Log-space arithmetic as pure functions, for distributions and networks."""

from pyrodgm.arithmetic.kumaraswamy import kumaraswamy_log_moment, kumaraswamy_logit, kumaraswamy_logs
from pyrodgm.arithmetic.log_space import (
    floating,
    into_open_interval,
    log1m_power,
    log1mexp,
    normal_cdf,
    unit_logit,
    wide,
)
from pyrodgm.arithmetic.sticks import log_stick_weights, stick_logits, stick_weights
from pyrodgm.arithmetic.with_slopes import with_slopes

__all__ = [
    "floating",
    "into_open_interval",
    "kumaraswamy_log_moment",
    "kumaraswamy_logit",
    "kumaraswamy_logs",
    "log1m_power",
    "log1mexp",
    "log_stick_weights",
    "normal_cdf",
    "stick_logits",
    "stick_weights",
    "unit_logit",
    "wide",
    "with_slopes",
]
