"""Panels of curves in the looks of the strategies: what the theory predicts, and what was measured beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.plotting.style import LOOKS, canvas


class Curve(NamedTuple):
    """A line of a panel.

    Attributes:
        strategy: whose colour it has.
        x, y: its points, (n,) each.
        label: its name in the legend; None takes the strategy's, "" none.
        line: matplotlib's format, such as "--" or "o".
        width: of the line, in points.
    """

    strategy: str
    x: ArrayLike
    y: ArrayLike
    label: str | None = None
    line: str = "-"
    width: float = 1.5


@dataclass(frozen=True)
class Panel:
    """Curves on common axes.

    Attributes:
        title: of the panel.
        x, y: labels of the axes.
        curves: what is drawn, the first at the bottom.
        log: the axes that are logarithmic.
        legend: whether the curves are named here.
    """

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    log: Literal["", "x", "y", "xy"] = ""
    legend: bool = True


def curves(panels: Sequence[Panel], columns: int | None = None, height: float = 3.4, *, legend_below: bool = False) -> Figure:
    """All panels in a grid of that many columns (default: one row), each `height` inches high; 9 inches wide in all.

    With `legend_below` the first panel's curves are named below all panels, instead of within each.

    Raises:
        UserError: if there is no panel.
    """
    if not panels:
        raise UserError("there is nothing to draw: give at least one panel")
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    with canvas(9, height * rows, rows=rows, columns=columns, squeeze=False) as (figure, axes):
        for axis, panel in zip(axes.flat, panels, strict=False):
            _draw(axis, panel)
            if panel.legend and not legend_below:
                axis.legend()
        if legend_below:
            figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        for empty in axes.flat[len(panels) :]:
            empty.remove()
    return figure


def _draw(axis: Axes, panel: Panel) -> None:
    for curve in panel.curves:
        look = LOOKS[curve.strategy]
        label = look.label if curve.label is None else curve.label
        axis.plot(
            curve.x,
            curve.y,
            curve.line,
            color=look.color,
            label=label or None,
            linewidth=curve.width,
            markersize=5,
        )
    axis.set_title(panel.title)
    axis.set(xlabel=panel.x, ylabel=panel.y)
    if "x" in panel.log:
        axis.set_xscale("log")
    if "y" in panel.log:
        axis.set_yscale("log")
