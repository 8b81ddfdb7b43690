"""What is raised for programs that the library does not take."""

from pyrodgm.errors import PyrodgmError


class ProgramError(PyrodgmError, ValueError):
    """A statement of a program that cannot count as it stands: a site, or a ``pyro.param``.

    Attributes:
        site: Name of the statement.
        reason: What is the matter with it.
    """

    def __init__(self, site: str, reason: str) -> None:
        super().__init__(f"site '{site}' {reason}")
        self.site, self.reason = site, reason
