"""Figures of sweeps: measures against the number that was varied, or setting by setting, beside published figures."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.evaluation.intervals import Interval
from tracer.plotting.style import LOOKS, PAGE_WIDTH, canvas, plain

COLUMNS = 3  # panels that a page's width has room for
TINY = 1e-12  # an axis reaches beyond its values
MARGIN = 0.06  # beside the outermost values, as a share of what lies between them
LABEL_LENGTH = 36  # characters of a setting beside the panels
NOTE_LENGTH = 90  # characters of a line below them
LINES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))  # for settings that are not on the axis
NOTHING = Interval(float("nan"), float("nan"))
OURS, THEIRS = LOOKS["tracer"].color, LOOKS["flyp"].color
Measured = Mapping[str, Interval]
Ends = tuple[float, float]


@dataclass(frozen=True)
class Sweep:
    """What a figure of a sweep over one number shows.

    Attributes:
        key: what was varied.
        values: of the key.
        measured: for each value what was measured, in units of 1; nothing where all runs failed.
        published: for each value the published figures, in percent.
        others: settings that have no value of the key.
    """

    key: str
    values: Sequence[float]
    measured: Sequence[Measured]
    published: Sequence[Mapping[str, float]]
    others: Mapping[str, Measured] = field(default_factory=dict)

    def drawn(self) -> dict[str, Measured]:
        """The others that are drawn: as many as there are kinds of lines."""
        return dict(list(self.others.items())[: len(LINES)])

    def ends(self, name: str) -> tuple[Ends, Ends] | None:
        """The lowest and highest percent of a measure here, whiskers included, and published; None where nothing is published."""
        theirs = [figures[name] for figures in self.published if name in figures]
        means, widths = _percent(name, self.measured)
        below, above = np.nan_to_num(_whiskers(means, widths))
        lines, _ = _percent(name, [*self.drawn().values()])
        ours = np.concatenate([means - below, means + above, lines])
        return ((float(np.nanmin(ours)), float(np.nanmax(ours))), (min(theirs), max(theirs))) if theirs else None

    def apart(self, name: str) -> bool:
        """Whether published figures are so far from what was measured that on one axis neither could be read."""
        if (ends := self.ends(name)) is None:
            return False
        ours, theirs = ends
        return max(ours[1], theirs[1]) - min(ours[0], theirs[0]) > 2 * max(ours[1] - ours[0], theirs[1] - theirs[0])


def sweep(shown: Sweep, note: str = "") -> Figure:
    """Each measure against a key's values, with intervals; published figures on the same axis or in a panel below.

    They share the axis where both are of one level. Elsewhere their panel's axis spans as many points: changes compare, and no
    line lies on another that is far from it. Settings without a value of the key are horizontal lines; of many, the rest is named.
    """
    names = list(dict.fromkeys(name for point in shown.measured for name in point))
    groups = [names[start : start + COLUMNS] for start in range(0, len(names), COLUMNS)]
    rows = [(group, theirs) for group in groups for theirs in ([False, True] if any(map(shown.apart, group)) else [False])]
    columns = min(COLUMNS, len(names))
    with canvas(PAGE_WIDTH / COLUMNS * columns, 2.9 * len(rows), len(rows), columns, squeeze=False) as (figure, axes):
        for line, (group, theirs) in zip(axes, rows, strict=True):
            for axis, name in zip(line, group, strict=False):
                _panel(axis, shown, name, theirs)
            for axis in line[len(group) :]:
                axis.set_axis_off()
        rest = list(shown.others)[len(LINES) :]
        _below(figure, axes, [note, f"in the table alone: {'; '.join(rest)}" if rest else ""])
    return figure


def _panel(axis: Axes, shown: Sweep, name: str, theirs: bool) -> None:
    """A measure: what was measured, with what was published unless that has a panel of its own, or that panel (`theirs`)."""
    apart = shown.apart(name)
    if theirs and not apart:
        axis.set_axis_off()
        return
    if not theirs:
        _draw_measured(axis, shown, name)
    if theirs or not apart:
        _draw_published(axis, shown, name)
        axis.set_xlabel(plain(shown.key).replace(", ", ",\n"))
    if theirs:
        axis.set_ylabel(f"{plain(name)}, published (%)", color=THEIRS)
    if apart and (ends := shown.ends(name)):
        _span(axis, *(ends[::-1] if theirs else ends))
    _spread(axis, shown.values)


def settings(labels: Sequence[str], measured: Sequence[Measured], note: str = "") -> Figure:
    """Each measure of settings that no axis orders: a line a setting, from the top, with intervals; a failed one has none."""
    names = list(dict.fromkeys(name for point in measured for name in point))
    lines = np.arange(len(labels))[::-1]
    with canvas(
        min(PAGE_WIDTH, 3 + 1.6 * len(names)), 1.0 + 0.38 * len(labels), columns=len(names), sharey=True, squeeze=False
    ) as (figure, axes):
        for axis, name in zip(axes[0], names, strict=True):
            means, widths = _percent(name, measured)
            axis.errorbar(means, lines, xerr=_whiskers(means, widths), fmt="o", capsize=3, color=OURS)
            axis.set(xlabel=f"{plain(name)} (%)", yticks=lines)
            axis.set_yticklabels([textwrap.fill(plain(label), LABEL_LENGTH) for label in labels])
        _below(figure, axes, [note])
    return figure


def _span(axis: Axes, own: Ends, other: Ends) -> None:
    """An axis around its own values that spans as many points as the wider of two."""
    half = 0.55 * max(own[1] - own[0], other[1] - other[0])
    if half:
        axis.set_ylim(sum(own) / 2 - half, sum(own) / 2 + half)


def _draw_measured(axis: Axes, shown: Sweep, name: str) -> None:
    order = np.argsort(shown.values)
    means, widths = _percent(name, shown.measured)
    at, whiskers = np.asarray(shown.values, dtype=float)[order], _whiskers(means, widths)[:, order]
    axis.errorbar(at, means[order], whiskers, fmt="o-", capsize=3, color=OURS)
    for (label, point), line in zip(shown.drawn().items(), LINES, strict=False):
        if name in point:
            axis.axhline(100 * point[name].mean, color="0.4", linestyle=line, linewidth=1.2, label=plain(label), zorder=1)
    axis.set_ylabel(f"{plain(name)} ({'%' if 'ECE' in name else 'accuracy, %'})")


def _draw_published(axis: Axes, shown: Sweep, name: str) -> None:
    pairs = zip(shown.values, shown.published, strict=True)
    if points := sorted((value, figures[name]) for value, figures in pairs if name in figures):
        axis.plot(*zip(*points, strict=True), "x--", color=THEIRS, label="published")


def _spread(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis for values of several scales, and for shares close to 1, as momenta are, one of their distance from it."""
    low, high = min(values), max(values)
    if low > 0 and high >= 10 * low:
        axis.set_xscale("log")
        axis.set_xlim(low / (high / low) ** MARGIN, high * (high / low) ** MARGIN)
    elif high < 1 and 1 - low >= 10 * (1 - high):
        axis.set_xscale("function", functions=(lambda x: -np.log(np.maximum(1 - x, TINY)), lambda y: 1 - np.exp(-y)))
        axis.set_xticks(values, [f"{value:.3g}" for value in values], rotation=45)
        ratio = ((1 - low) / (1 - high)) ** MARGIN
        axis.set_xlim(1 - (1 - low) * ratio, 1 - (1 - high) / ratio)
    elif high > low:
        axis.set_xlim(low - MARGIN * (high - low), high + MARGIN * (high - low))


def _percent(name: str, measured: Sequence[Measured]) -> tuple[np.ndarray, np.ndarray]:
    """Means and half-widths in percent, (n,) each, NaN where there is none."""
    means, widths = 100 * np.array([point.get(name, NOTHING) for point in measured]).reshape(-1, 2).T
    return means, widths


def _whiskers(means: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """(2, n): how far each interval reaches down and up, within 0 to 100; NaN, which is not drawn, where it is not known."""
    return np.array([np.minimum(widths, means), np.minimum(widths, 100 - means)])


def _below(figure: Figure, axes: np.ndarray, notes: Sequence[str]) -> None:
    """A legend of what has a name, each once, and notes, below all panels."""
    handles = {label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    text = "\n".join(textwrap.fill(plain(note), NOTE_LENGTH) for note in notes if note)
    if handles or text:
        columns = max(1, min(len(handles), 3))
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, title=text, title_fontsize=10)
