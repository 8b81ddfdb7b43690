"""Output on terminals that cannot show every character."""

import codecs
import sys
from typing import Any

ASCII = {"±": "+/-", "−": "-", "–": "-", "…": "...", "×": "x", "é": "e"}
HANDLER = "pyrodgm-plain"


def print_anywhere(stream: Any = None) -> None:
    r"""Let a text stream, by default standard output, print in ASCII what its encoding lacks.

    Example:
        >>> import io
        >>> stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        >>> print_anywhere(stream)
        >>> print("−88.92 ± 0.23", file=stream, flush=True)
        >>> stream.buffer.getvalue()
        b'-88.92 +/- 0.23\n'
    """
    codecs.register_error(HANDLER, _plain)
    stream = sys.stdout if stream is None else stream
    if hasattr(stream, "reconfigure") and stream.errors == "strict":  # a stream of the user's own is left alone
        stream.reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in missing), error.end
