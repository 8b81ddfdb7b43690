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
from pyrodgm.arithmetic.saddle_point import LOG_2PI, log1p_minus, stirling_error
from pyrodgm.arithmetic.sticks import log_stick_weights, stick_logits, stick_weights
from pyrodgm.arithmetic.with_slopes import with_slopes

__all__ = [
    "LOG_2PI",
    "floating",
    "into_open_interval",
    "kumaraswamy_log_moment",
    "kumaraswamy_logit",
    "kumaraswamy_logs",
    "log1m_power",
    "log1mexp",
    "log1p_minus",
    "log_stick_weights",
    "normal_cdf",
    "stick_logits",
    "stick_weights",
    "stirling_error",
    "unit_logit",
    "wide",
    "with_slopes",
]
