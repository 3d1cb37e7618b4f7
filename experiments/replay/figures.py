"""The figures: pools against what was known of them, horizons, and frontiers against strength."""

from collections.abc import Iterable, Sequence

import numpy as np
from cells import HERE, Line, grouped
from coverage import Predictions
from matplotlib.axes import Axes

from tracer import plotting
from tracer.evaluation.intervals import interval

DRAWN = ("ID", "OOD", "knowledge")
LOOKS = {
    **plotting.LOOKS,
    "replay, photographs": plotting.LOOKS["replay_distillation"],
    "wise_ft of flyp": plotting.LOOKS["wise_ft"],
    "tracer + replay": plotting.Look("#AA4499", "P", "TRACER + replay"),
}
POOL_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#000000")


def pools(by_model: Predictions, lines: Sequence[Line]) -> None:
    """What each pool kept against its coverage; a point a pretrained model."""
    with plotting.canvas(9, 3.8, columns=2) as (figure, axes):
        for axis, measure in zip(axes, DRAWN[1:], strict=True):
            for (name, group), color in zip(grouped(lines).items(), POOL_COLORS, strict=True):
                missed = [1 - by_model[line["model"]][name]["coverage"] for line in group]
                axis.plot(missed, [100 * line[measure] for line in group], "o", color=color, label=name)
            axis.set(xscale="log", xlabel="1 - coverage, before training", ylabel=f"{measure} (%)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plotting.save(figure, HERE / "pools")


def horizons(lines: Sequence[Line]) -> None:
    """Each measure against the number of steps; dashed with the text tower frozen."""
    with plotting.canvas(9, 4.2, columns=3) as (figure, axes):
        for axis, measure in zip(axes, DRAWN, strict=True):
            zero_shot = np.mean([line[measure] for line in lines if line["method"] == "zero_shot"])
            axis.axhline(100 * zero_shot, color="black", linestyle=":", label="zero-shot")
            for (what, text), group in _by(lines, "what", "text").items():
                style, note = ("--", ", text tower frozen") if text == "frozen" else ("-", "")
                _band(axis, group, measure, style, what, f"{LOOKS[what].label}{note}")
            axis.set(xscale="log", xlabel="steps", ylabel=f"{measure} (%)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    plotting.save(figure, HERE / "horizons")


def frontiers(lines: Sequence[Line]) -> None:
    """What each strategy keeps against its ID accuracy, a point a strength; dashed at the larger learning rate."""
    smaller = min(line["learning_rate"] for line in lines)
    with plotting.canvas(9, 4.8, columns=2) as (figure, axes):
        for axis, measure in zip(axes, DRAWN[1:], strict=True):
            for (what, rate), group in _by(lines, "what", "learning_rate").items():
                points = [[100 * np.mean([line[m] for line in cell]) for m in ("ID", measure)] for cell in grouped(group).values()]
                x, y = zip(*points, strict=True)
                look, style = LOOKS[what], "-" if rate == smaller else "--"
                axis.plot(x, y, style, marker=look.marker, color=look.color, label=f"{look.label}, {rate:g}")
            axis.set(xlabel="ID (%)", ylabel=f"{measure} (%)", xlim=(93, None))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    plotting.save(figure, HERE / "frontiers")


def _by(lines: Iterable[Line], *keys: str) -> dict[tuple, list[Line]]:
    """Lines that have all of some keys, by their values."""
    found: dict[tuple, list[Line]] = {}
    for line in lines:
        if all(key in line for key in keys):
            found.setdefault(tuple(line[key] for key in keys), []).append(line)
    return found


def _band(axis: Axes, lines: Sequence[Line], measure: str, style: str, what: str, label: str) -> None:
    """Means against steps with their intervals."""
    by_steps = sorted(_by(lines, "steps").items())
    values = [interval([100 * line[measure] for line in group], [line["model"] for line in group]) for _, group in by_steps]
    steps = [key[0] for key, _ in by_steps]
    means, widths = np.array(values).T
    look = LOOKS[what]
    axis.plot(steps, means, style, marker=look.marker, markersize=4, color=look.color, label=label)
    axis.fill_between(steps, means - widths, means + widths, color=look.color, alpha=0.12, linewidth=0)
