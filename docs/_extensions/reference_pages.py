"""A page for each name in the tables of the reference.

The pages lie outside the tree of contents: with them every page would carry some three hundred links beside its text.
"""

import importlib
import inspect
import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

TABLE = re.compile(r"\.\. currentmodule:: (\S+)\n\n\.\. autosummary::\n   :nosignatures:\n\n((?:   \w+\n)+)")


def names_in(page: str) -> list[tuple[str, str]]:
    """Pairs of a module and a name in the tables of a page of the reference."""
    return [(module, name) for module, table in TABLE.findall(page) for name in table.split()]


def _page(module: str, name: str, back: str, title: str) -> str:
    documented = getattr(importlib.import_module(module), name)
    if inspect.isclass(documented):
        directive = f".. autoclass:: {name}\n   :members:\n   :show-inheritance:"
    else:
        directive = f".. auto{'function' if callable(documented) else 'data'}:: {name}"
    body = f"```{{eval-rst}}\n.. currentmodule:: {module}\n\n{directive}\n```\n"
    return f"---\norphan: true\n---\n\n# {name}\n\nIn [{title}](../{back}).\n\n{body}"


def _write(app: Sphinx, config: Config) -> None:
    reference = Path(app.srcdir) / "reference"
    folder, wanted = reference / "generated", {}
    for file in reference.glob("*.md"):
        text = file.read_text()
        title = text.split("\n", 1)[0].removeprefix("# ")
        wanted |= {f"{m}.{n}.md": _page(m, n, file.name, title) for m, n in names_in(text)}
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        page = folder / name
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def _spread(app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
    """Spread the pages that run programs over those that do not, for processes that share the reading in chunks."""
    light = [name for name in names if "/generated/" in name]
    heavy = [name for name in names if "/generated/" not in name]
    shares = [(i / max(1, len(part)), name) for part in (light, heavy) for i, name in enumerate(part)]
    names[:] = [name for _, name in sorted(shares)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before any is read."""
    app.connect("config-inited", _write)
    app.connect("env-before-read-docs", _spread)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
