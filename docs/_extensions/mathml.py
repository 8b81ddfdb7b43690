"""Formulas as MathML, which browsers render themselves: no script and no other host."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _mathml(node: nodes.Element, display: str) -> str:
    text = node.astext()
    if display == "block" and ("&" in text or r"\\" in text) and r"\begin" not in text:
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    html = convert(text, display=display)
    html = html.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")  # "distributed as": an operator, not a letter
    unknown = re.findall(r">\s*(\\[A-Za-z]+)", html)
    if unknown:
        logger.warning("a formula has commands that MathML cannot show: %s", ", ".join(unknown), location=node)
    return html


def _visit_math(self: nodes.NodeVisitor, node: nodes.Element) -> None:
    self.body.append(_mathml(node, "inline"))
    raise nodes.SkipNode


def _visit_displaymath(self: nodes.NodeVisitor, node: nodes.Element) -> None:
    self.body.append(f'<div class="math">{_mathml(node, "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (_visit_math, None), (_visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
