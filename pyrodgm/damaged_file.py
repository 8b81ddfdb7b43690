"""Files on disk that are not what they should be."""

from pyrodgm.errors import PyrodgmError


class DamagedFileError(PyrodgmError, ValueError):
    """A file on disk is not what was written or published."""
