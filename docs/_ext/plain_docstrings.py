"""Docstrings are written to be read as plain text; this says to Sphinx what they mean.

Backticks name code, which is linked where it is documented; an indented block is a formula or code; sections and examples are as
usual. Nothing else is markup, so that |W|^2, W_0 or a * b stand for themselves.
"""

import re

from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.roles import XRefRole
from sphinx.util.typing import stringify_annotation

from tracer.config import data, replay, schema

SECTION = re.compile(r"(Args|Raises|Returns|Yields):$")
ALIASES = {
    f"{module.__name__}.{name}": stringify_annotation(getattr(module, name), "smart")
    for module, name in ((replay, "AnyPool"), (replay, "AnyBank"), (data, "AnyData"), (schema, "AnySuite"))
}
FUNCTION = re.compile(r"<function (?:[\w.]*\.)?(?:<lambda>|(\w+))>")
MARKUP = re.compile(r"(`[^`]*`)|([\\*|])|(_)(?!\w)")


def plain(line: str) -> str:
    """The line with everything escaped that would be markup, but for backticks."""
    return MARKUP.sub(lambda found: found[1] or "\\" + found[0], line)


def translate(lines: list[str]) -> list[str]:
    """The docstring in the form that napoleon and reStructuredText expect."""
    translated: list[str] = []
    in_section, paragraph, depth = False, "", 0
    for number, line in enumerate(lines):
        if line == "Attributes:":
            line = "Args:"  # fields of a dataclass or a named tuple; several may share a line, which napoleon knows of arguments
        starts = line.strip() and (number == 0 or not lines[number - 1].strip())
        if line and not line.startswith(" "):
            in_section, paragraph = bool(SECTION.match(line)), "prose"
        elif starts and line.lstrip().startswith(">>>"):
            paragraph, depth = "example", len(line) - len(line.lstrip())
        elif starts and not in_section and paragraph != "formula":
            translated += ["::", ""]
            paragraph = "formula"
        translated.append({"formula": line, "example": line[depth:]}.get(paragraph, plain(line)))
    return translated


def process_docstring(app, what, name, obj, options, lines):
    lines[:] = translate(lines)
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment, or napoleon takes what stands before a colon for a type


def skip_member(app, what, name, obj, skip, options):
    """Fields of a named tuple are among its parameters already."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def process_signature(app, what, name, obj, options, signature, return_annotation):
    """Aliases and default functions go by their names; sections of a configuration, whose keys have their page, without a call."""
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        return "", None
    signature = FUNCTION.sub(lambda default: default[1] or "...", signature or "") or signature
    for alias, written_out in ALIASES.items():
        signature = signature and signature.replace(written_out, alias)
    return signature, return_annotation


class CodeRole(XRefRole):
    """Text in single backticks: a link where it names something documented, else code."""

    def process_link(self, env, refnode, has_explicit_title, title, target):
        refnode["optional"] = not target.startswith("tracer.")
        refnode["py:module"], refnode["py:class"] = env.ref_context.get("py:module"), env.ref_context.get("py:class")
        return title, target.removesuffix("()")


def leave_code(app, env, node, contnode):
    """What names nothing documented stays code; a name below `tracer.` has to exist."""
    return contnode if node.get("optional") else None


def setup(app):
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("missing-reference", leave_code)
    app.add_role_to_domain("py", "named", CodeRole(nodeclass=addnodes.pending_xref, innernodeclass=nodes.literal))
    return {"parallel_read_safe": True}
