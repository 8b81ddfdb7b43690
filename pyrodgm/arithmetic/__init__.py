"""Log-space arithmetic as pure functions, for distributions and networks."""

from pyrodgm.arithmetic.kumaraswamy import kumaraswamy_log_moment, kumaraswamy_logs
from pyrodgm.arithmetic.log_space import floating, into_open_interval, log1m_power, log1mexp, wide

__all__ = [
    "floating",
    "into_open_interval",
    "kumaraswamy_log_moment",
    "kumaraswamy_logs",
    "log1m_power",
    "log1mexp",
    "wide",
]
