"""Sources that docstrings name by their arXiv numbers become links to the bibliography."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ENTRIES = Path(__file__).parents[1] / "references.bib"
NUMBER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def _cite(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    known = app.config.known_sources
    text = "\n".join(lines)
    cited = NUMBER.sub(lambda found: f"{found[0]} :cite:p:`{found[1]}`" if found[1] in known else found[0], text)
    lines[:] = cited.split("\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the hook."""
    keys = re.findall(r"^@\w+\{([^,]+),", ENTRIES.read_text(), re.MULTILINE)
    app.add_config_value("known_sources", frozenset(keys), "env")
    app.connect("autodoc-process-docstring", _cite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
