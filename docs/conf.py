"""The site: guides in Markdown, the reference from docstrings, tables from the code itself. Its build needs no network."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from tracer import __version__  # noqa: E402

project = "tracer"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "formulas", "generated", "plain_docstrings", "repository"]
exclude_patterns = ["_build", "_ext"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests execute notebooks; their outputs are part of them

default_role = "py:named"  # backticks in docstrings, see plain_docstrings
highlight_language = "none"  # what docstrings indent is a formula, more often than code
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_use_rtype = False

smartquotes_action = "De"  # dashes and ellipses; quotes in docstrings are code more often than speech

nitpicky = True
nitpick_ignore_regex = [
    # type variables, which are no objects to describe
    (
        r"py:class",
        r"tracer\.(models\.merging\.Module|training\.batches\.Item|config\.schema\.AnySection|runs\.pool\.(Task|Outcome))",
    ),
    # other packages' objects: to look them up, the build would need the network
    (
        r"py:.*",
        r"(accelerate|collections|matplotlib|np|numpy|open_clip|pathlib|PIL|pydantic|pydantic_core|rich|sympy|sp|torch)\..*",
    ),
    (r"py:class", r"tracer\.theory\.(strategies\.Posed|geometry\.Value)"),  # type variables
]

html_theme = "furo"
html_title = f"tracer {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathtext"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
