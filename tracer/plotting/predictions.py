"""Figure of predicted settings: what is kept against what is learned, and which of them are feasible."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.plotting.style import LOOKS, PAGE_WIDTH, canvas

TITLES = {"ood": "mean OOD accuracy (%)", "knowledge": "mean knowledge accuracy (%)"}


def predictions(rows: Sequence[Mapping[str, Any]], pretrained: Mapping[str, Any], taken: int, tolerated: float = 0.01) -> Figure:
    """Accuracy on what is kept against accuracy on the task, a point a setting, a panel for each kind of sets that there is.

    The shaded region holds the feasible settings, within `tolerated` of the best on the task; a ring is around the recommended one,
    and the pretrained model is black. Without shifted and knowledge sets it is the cosine to old embeddings on the pool.

    Args:
        rows: each with `strategy`, `id`, `ood`, `knowledge` and `kept`, as a prediction has them.
        pretrained: `id`, `ood` and `knowledge` of the pretrained model.
        taken: position of the recommended row.
        tolerated: accuracy on the task that is given for what is kept.
    """
    kinds = [kind for kind in TITLES if rows[0][kind]] or ["kept"]
    with canvas(PAGE_WIDTH, 4.6, columns=len(kinds), squeeze=False) as (figure, axes):
        for axis, kind in zip(axes[0], kinds, strict=True):
            _draw(axis, rows, kind, pretrained, taken)
            axis.axvspan(100 * (max(row["id"]["accuracy"] for row in rows) - tolerated), axis.get_xlim()[1], color="0.92", zorder=0)
            axis.set(xlabel="ID accuracy (%)", ylabel=TITLES.get(kind, "mean cosine to old embeddings on the pool"))
        handles = {label: handle for handle, label in zip(*axes[0, 0].get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    return figure


def _draw(axis: Axes, rows: Sequence[Mapping[str, Any]], kind: str, pretrained: Mapping[str, Any], taken: int) -> None:
    def place(row: Mapping[str, Any]) -> tuple[float, float]:
        return 100 * row["id"]["accuracy"], row["kept"]["pool"] if kind == "kept" else 100 * row[kind]["accuracy"]

    for row in rows:
        look = LOOKS[row["strategy"]]
        axis.plot(*place(row), look.marker, color=look.color, label=look.label, markersize=6, mec="white", mew=0.5)
    before = 100 * pretrained["id"]["accuracy"], 1.0 if kind == "kept" else 100 * pretrained[kind]["accuracy"]
    axis.plot(*before, LOOKS["zero_shot"].marker, color=LOOKS["zero_shot"].color, label="pretrained", markersize=7)
    axis.plot(*place(rows[taken]), "o", mfc="none", mec="black", markersize=13, label="recommended")
