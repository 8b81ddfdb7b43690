"""Libraries that only some parts need: one that is missing is named with the command that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Import a library inside this, so that an error names the extra of ``pyproject.toml`` that brings it.

    Raises:
        ModuleNotFoundError: With the missing library and ``pip install 'pyrodgm[name]'``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"this needs {error.name}, which is not installed: pip install 'pyrodgm[{name}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
