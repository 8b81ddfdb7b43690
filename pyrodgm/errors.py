"""What all errors of the library have in common."""


class PyrodgmError(Exception):
    """Base of the errors that the library defines; each of them is a built-in error as well.

    Wrong arguments raise the built-in ``TypeError`` and ``ValueError``.

    Example:
        >>> from pyrodgm.infer import NonFiniteError
        >>> issubclass(NonFiniteError, PyrodgmError), issubclass(NonFiniteError, FloatingPointError)
        (True, True)
    """
