"""Figure of merged models: what each method tried where it chose, and what it took where that is reported."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.plotting.style import LOOKS, PAGE_WIDTH, canvas

Table = Mapping[str, Any]


def merges(table: Table) -> Figure:
    """OOD against ID accuracy of a `Comparison.table`: on the suite that was chosen on with all candidates, then on the other.

    A small point is a candidate, a large one what its method took; the pretrained model is black, single models are grey crosses.
    """
    with canvas(PAGE_WIDTH, 4.4, columns=2) as (figure, axes):
        for axis, suite, title in zip(axes, ("validation", "report"), ("chosen on", "reported on"), strict=True):
            if suite == "validation":
                for method, tried in table["candidates"].items():
                    axis.plot(*_points(tried, suite), ".", color=LOOKS[method].color, alpha=0.5, zorder=1)
            _draw_models(axis, [row for row in table["rows"] if "method" not in row], suite)
            for row in table["rows"]:
                if "method" in row:
                    look = LOOKS[row["method"]]
                    axis.plot(*_points([row], suite), look.marker, color=look.color, label=look.label, markersize=9, mec="white")
            axis.set(xlabel="ID accuracy (%)", ylabel="mean OOD accuracy (%)", title=f"the suite {title}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_models(axis: Axes, rows: list[Mapping[str, Any]], suite: str) -> None:
    look = LOOKS["zero_shot"]
    axis.plot(*_points(rows[:1], suite), look.marker, color=look.color, label="pretrained", markersize=7)
    axis.plot(*_points(rows[1:], suite), "x", color="0.4", label="single models")


def _points(rows: list[Mapping[str, Any]], suite: str) -> np.ndarray:
    """(2, rows): ID and mean OOD accuracy in percent."""
    return 100 * np.array([[row[suite][kind]["accuracy"] for row in rows] for kind in ("id", "ood")])
