"""One process at a time in a folder."""

import sqlite3
from pathlib import Path

from pyrodgm.errors import PyrodgmError


class FolderInUseError(PyrodgmError, RuntimeError):
    """Another run, in this process or another, is writing to the folder."""


class FolderLock:
    """An exclusive lock on a folder, released by :meth:`release` or with the end of the process, however it ends.

    It is that of an empty SQLite database, ``.lock``, whose locking works on every platform and, unlike ``flock``, is
    not inherited by worker processes that outlive a killed run.

    Args:
        folder: The folder, which must exist.

    Raises:
        FolderInUseError: If another process holds the lock.
        OSError: If the folder cannot be locked at all.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock = FolderLock(Path(folder))
        ...     try:
        ...         FolderLock(Path(folder))
        ...     except FolderInUseError:
        ...         print("in use")
        ...     lock.release()
        in use
    """

    def __init__(self, folder: Path) -> None:
        file = folder / ".lock"
        try:
            self._connection = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=MEMORY")  # no second file
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            self.release()
            if "locked" in str(error):
                message = f"{folder} is in use by another run: wait for it, or name another run_dir"
                raise FolderInUseError(message) from None
            raise OSError(None, f"cannot be locked: {error}", str(file)) from error

    def release(self) -> None:
        """Let others in; does nothing the second time."""
        if hasattr(self, "_connection"):
            self._connection.close()
