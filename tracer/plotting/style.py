"""How every figure looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from tracer.looks import LOOKS

__all__ = ["LOOKS", "PAGE_WIDTH", "STYLE", "canvas", "save"]
PAGE_WIDTH = 9.0
"""Inches of the widest figure. A page shows it some 830 pixels wide, where a point of type is 1.28 pixels."""
STYLE: Any = {
    "figure.dpi": 130,
    "figure.facecolor": "white",  # dark pages show it as it is
    "savefig.bbox": "tight",
    "font.size": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.75,  # a line that passes below does not hide the words
    "legend.fontsize": 9.5,
    "svg.hashsalt": "tracer",  # the same figure is the same file
}
FORMATS = {"png": {}, "svg": {"Date": None}}


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of so many inches in this project's style, with its axes as `Figure.subplots` gives them, to be drawn within.

    It belongs to no window and no backend: notebooks show it, `save` writes it. The style that matplotlib is in stays out.
    Wider than `PAGE_WIDTH` its type would be too small on a page.
    """
    with style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: a name with dollars is no formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PATH.png and PATH.svg; the path of the former."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with style.context(["default", STYLE]):
        for suffix, metadata in FORMATS.items():
            figure.savefig(f"{path}.{suffix}", metadata=metadata)
    return Path(f"{path}.png")
