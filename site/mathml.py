"""Formulas as MathML, which browsers draw themselves: no script, no font, no request."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from markupsafe import escape
from sphinx.application import Sphinx


def inline(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula that stands alone; it may be wider than a phone."""
    writer.body.append(f'<div class="formula" tabindex="0">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def mathml(latex: str, display: str) -> str:
    r"""Return LaTeX as MathML, which keeps the LaTeX as its text for those who hear it.

    >>> mathml("a^2", "inline")
    '<math alttext="a^2" xmlns="http://www.w3.org/1998/Math/MathML" display="inline">...</math>'
    """
    return convert(latex, display=display).replace("<math ", f'<math alttext="{escape(latex)}" ', 1)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
