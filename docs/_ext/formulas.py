"""Formulas as pictures in the page, drawn by matplotlib: no script, no network, and one that cannot be drawn fails the build."""

import html
import re

import matplotlib
from docutils import nodes
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
UNITS_PER_EM = 10
HYPERGEOMETRIC = re.compile(r"\\left\(\\begin\{matrix\}(.*?)\\\\(.*?)\\end\{matrix\}\\middle\|(.*?)\\right\)")
COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}


def simplified(latex: str) -> str:
    """The formula in the part of LaTeX that mathtext knows: no matrices, no limits of integrals set below."""
    return HYPERGEOMETRIC.sub(r"\\left(\1;\2;\3\\right)", " ".join(latex.split())).replace(r"\limits", "")


def picture(latex: str) -> str:
    """The formula as inline SVG, in the size and colour of the text around it; its source is its label.

    Raises:
        ValueError: if matplotlib's mathtext does not know what the formula uses.
    """
    with matplotlib.rc_context({"mathtext.fontset": "stix"}):
        path = TextPath((0, 0), f"${simplified(latex)}$", size=UNITS_PER_EM)
    box = path.get_extents().padded(0.3)
    outline = " ".join(
        "Z" if code == Path.CLOSEPOLY else COMMANDS[code] + " ".join(f"{number:.2f}" for number in points)
        for points, code in path.iter_segments()
    )
    width, height, below = (length / UNITS_PER_EM for length in (box.width, box.height, box.y0))
    return (
        f'<svg class="formula" role="img" aria-label="{html.escape(latex, quote=True)}" '
        f'style="width:{width:.2f}em;height:{height:.2f}em;vertical-align:{below:.2f}em" '
        f'viewBox="{box.x0:.2f} {-box.y1:.2f} {box.width:.2f} {box.height:.2f}">'
        f'<path transform="scale(1,-1)" d="{outline}"/></svg>'
    )


def drawn(node: nodes.Element, large: bool = False) -> str:
    latex = node.astext().replace(r"\frac", r"\dfrac") if large else node.astext()
    try:
        return picture(latex)
    except ValueError as error:
        LOGGER.warning("formula cannot be drawn: %s", str(error).strip().splitlines()[-1], location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def inline(translator, node):
    translator.body.append(drawn(node))
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(f'<div class="formula">{drawn(node, large=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathtext", (inline, None), (block, None))
    return {"parallel_read_safe": True}
