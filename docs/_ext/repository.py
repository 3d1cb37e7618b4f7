"""Pages that live elsewhere in the repository, and links between all of them as they are written for readers of the files.

READMEs, the changelog and notebooks are copied below `repository/` at their own paths. A link may name any file, or a folder with a
README; it leads to the page made from it, or to the file itself. One that names nothing is left as it is, and fails the build.
"""

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "experiments/README.md",
    "experiments/*/README.md",
    "notebooks/README.md",
    "notebooks/*.ipynb",
)
COPIES = "repository"
LINK = re.compile(r"\]\(([^()\s:#]+)(#[^()\s]*)?\)")


def pages(root: Path) -> set[Path]:
    """Files of the repository that become pages, relative to its root."""
    return {path.relative_to(root) for pattern in PAGES for path in root.glob(pattern)}


def copy(app) -> None:
    """Bring the copies up to date; pages whose file has not changed are not built again."""
    root, copies = app.srcdir.parent, app.srcdir / COPIES
    wanted = pages(root)
    for stale in [path for path in copies.rglob("*") if path.is_file() and path.relative_to(copies) not in wanted]:
        stale.unlink()
    for page in wanted:
        content, target = (root / page).read_bytes(), copies / page
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def origin(srcdir: Path, docname: str) -> Path:
    """The folder of the file that a page is made from."""
    copied = docname.startswith(f"{COPIES}/")
    return (srcdir.parent / docname.removeprefix(f"{COPIES}/") if copied else srcdir / docname).parent


def destination(srcdir: Path, folder: Path, target: str) -> str | None:
    """Where a link from a file in that folder leads, as a path below the site's sources; None if nothing is there."""
    root, path = srcdir.parent, Path(os.path.normpath(folder / target))
    if path.is_dir():
        path /= "README.md"
    if not path.is_file():
        return None
    if path.is_relative_to(srcdir):
        return f"/{path.relative_to(srcdir)}"
    if not path.is_relative_to(root):
        return None
    return f"/{COPIES}/{path.relative_to(root)}" if path.relative_to(root) in pages(root) else f"/../{path.relative_to(root)}"


def rewrite(app, docname: str, source: list[str]) -> None:
    srcdir, folder = app.srcdir, origin(app.srcdir, docname)

    def rewritten(link: re.Match) -> str:
        found = destination(srcdir, folder, link[1])
        return f"]({found}{link[2] or ''})" if found else link[0]

    source[0] = LINK.sub(rewritten, source[0])


class Contents(SphinxDirective):
    """A table of contents of the pages copied from files that match a pattern; of none, nothing."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir).parent
        found = sorted(page.with_suffix("") for page in pages(root) if page.match(self.arguments[0]))
        entries = [f"/{COPIES}/{page}" for page in found]
        return self.parse_text_to_nodes("\n".join(["```{toctree}", ":titlesonly:", "", *entries, "```"])) if entries else []


def setup(app):
    app.add_directive("repository-contents", Contents)
    app.connect("builder-inited", copy)
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
