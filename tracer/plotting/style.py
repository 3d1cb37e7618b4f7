"""How every figure looks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tracer.looks import COLORS, LABELS, LOOKS, Look  # noqa: F401 (figures take their looks and their style from here)

STYLE: Any = {
    "figure.dpi": 130,
    "savefig.bbox": "tight",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "tracer",  # the same figure is the same file
}
FORMATS = {"png": {}, "svg": {"Date": None}}


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of so many inches in this project's style, with its axes as `Figure.subplots` gives them, to be drawn within.

    It belongs to no window and no backend: notebooks show it, `save` writes it.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PATH.png and PATH.svg; the path of the former."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for suffix, metadata in FORMATS.items():
            figure.savefig(f"{path}.{suffix}", metadata=metadata)
    return Path(f"{path}.png")
