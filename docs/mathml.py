"""Formulae as MathML, which browsers draw by themselves: the pages need neither MathJax nor a network.

Docutils converts LaTeX to MathML. What it cannot convert is a warning of the build.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)


def mathml(text: str, as_block: bool, node: nodes.Node) -> str:
    """MathML of a formula in LaTeX; the formula as code, and a warning, if it cannot be converted."""
    # an exponent without a base, as in (Mpc/h)$^2$
    text = re.sub(r"^\s*(?=[\^_])", "{}", text)
    try:
        return str(latex2mathml.tex2mathml(text, as_block=as_block))
    except (MathError, AttributeError, LookupError, SyntaxError) as error:
        logger.warning("the formula %r cannot be written as MathML: %s", text, error, location=node)
        return f"<code>{nodes.unescape(text)}</code>"


def visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), False, node))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math formula"))
    if node.get("number"):
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})</span>')
    translator.body.append(mathml(node.astext(), True, node) + "</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
