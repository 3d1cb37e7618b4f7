"""Figures of what runs measured: trade-offs, calibration, gaps of teacher and student, horizons, sweeps."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer import comparison
from tracer.data.sets import Suite
from tracer.evaluation.intervals import Interval
from tracer.evaluation.metrics import BINS
from tracer.plotting.style import COLORS, LABELS, LOOKS, canvas
from tracer.study import Row

COLUMNS = 3  # panels that a page's width has room for
TINY = 1e-12  # an axis reaches beyond its values
LABEL_LENGTH = 36  # characters of a setting beside the panels


def trade_off(rows: Sequence[Row]) -> Figure:
    """OOD and knowledge accuracy against ID accuracy: a large point a strategy, a small one each run, WiSE-FT as a curve."""
    with canvas(9, 4, columns=2) as (figure, axes):
        for axis, measure in zip(axes, ("OOD", "knowledge"), strict=True):
            for method in [method for method in comparison.CHOSEN if method != "wise_ft"]:
                points = _points([row for row in rows if row["method"] == method], measure)
                axis.plot(*points.T, ".", color=COLORS[method], alpha=0.35)
                axis.plot(*points.mean(0), LOOKS[method].marker, color=COLORS[method], label=LABELS[method], markersize=8)
            axis.plot(*_interpolations(rows, measure).T, ".--", color=COLORS["wise_ft"], label=LABELS["wise_ft"], zorder=1)
            axis.set(xlabel="ID accuracy (%)", ylabel=f"{measure} accuracy (%)")
        axes[0].legend(loc="best")
    return figure


def reliability(rows: Sequence[Row], methods: Sequence[str] = ("zero_shot", "flyp", "ema_distillation", "tracer")) -> Figure:
    """Reliability diagrams on all OOD images, all seeds together: bars are accuracy, the diagonal is perfect calibration."""
    with canvas(2.4 * len(methods), 2.7, columns=len(methods), sharey=True) as (figure, axes):
        summary = comparison.table(rows)
        for axis, method in zip(axes, methods, strict=True):
            accuracy = _pooled_accuracy([row["report"]["reliability"]["ood"] for row in rows if row["method"] == method])
            axis.bar((np.arange(BINS) + 0.5) / BINS, accuracy, 0.9 / BINS, color=COLORS[method])
            axis.plot([0, 1], [0, 1], "k:", linewidth=1)
            axis.set(xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
            axis.set_title(f"{LABELS[method]}\nmean ECE of the sets {100 * summary[method]['OOD ECE'].mean:.1f}", fontsize=9)
        axes[0].set_ylabel("accuracy")
    return figure


def gaps(rows: Sequence[Row], methods: Sequence[str] = ("static_distillation", "ema_distillation", "tracer")) -> Figure:
    """The teacher's distance from the student over training, in weights and in what they say of a batch; a line a seed."""
    panels = {
        "student - teacher distance\nover student - anchor distance": lambda m: m["gap.student_teacher"] / m["gap.student_anchor"],
        "KL(teacher || student) of the batch": lambda m: m["gap.batch_kl"],
    }
    with canvas(9, 3.6, columns=2) as (figure, axes):
        for axis, (label, gap) in zip(axes, panels.items(), strict=True):
            for method in methods:
                lines = [row["metrics"] for row in rows if row["method"] == method]
                for number, line in enumerate(lines):
                    name = LABELS[method] if number == 0 else None
                    steps = [m["step"] for m in line]
                    axis.semilogy(steps, [gap(m) for m in line], color=COLORS[method], label=name, alpha=0.8)
            axis.set(xlabel="step", ylabel=label)
        axes[0].legend()
    return figure


def samples(suite: Suite, per_set: int = 10) -> Figure:
    """Sample images of every set, a row each."""
    sets = suite.sets()
    with canvas(7, 0.72 * len(sets), rows=len(sets)) as (figure, axes):
        for axis, (name, images) in zip(axes, sets.items(), strict=True):
            chosen = np.linspace(0, len(images) - 1, per_set).round().astype(int)
            axis.imshow(np.concatenate([images.images[i] for i in chosen], axis=1))
            axis.set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
    return figure


def interpolations(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean OOD against ID accuracy along WiSE-FT's path, each point with its share of the fine-tuned weights."""
    points = 100 * np.array([[report["id"]["accuracy"], report["ood"]["accuracy"]] for report in reports])
    with canvas(4.5, 4) as (figure, axis):
        axis.plot(*points.T, "o--", color=COLORS["wise_ft"])
        for report, point in zip(reports, points, strict=True):
            axis.annotate(f"{report['interpolation']:g}", point, textcoords="offset points", xytext=(5, 5), fontsize=8)
        axis.set(xlabel="ID accuracy (%)", ylabel="mean OOD accuracy (%)", title="share of the fine-tuned weights")
    return figure


def _interpolations(rows: Sequence[Row], measure: str) -> np.ndarray:
    """(points, 2): means over runs along WiSE-FT's coefficient, from zero-shot to FLYP."""
    by_coefficient: dict[float, list[Row]] = {}
    ends = {"zero_shot": 0.0, "flyp": 1.0}
    for row in rows:
        if row["method"] in (*ends, "wise_ft"):
            coefficient = ends[row["method"]] if row["method"] in ends else row["strength"]
            by_coefficient.setdefault(coefficient, []).append(row)
    return np.array([_points(group, measure).mean(0) for _, group in sorted(by_coefficient.items())])


def _points(rows: Sequence[Row], measure: str) -> np.ndarray:
    """(runs, 2): ID accuracy and a measure, in percent."""
    return 100 * np.array([[comparison.measure(row, name) for name in ("ID", measure)] for row in rows])


def _pooled_accuracy(diagrams: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Accuracy by bin of several diagrams together, 0 where no image fell."""
    counts = np.array([diagram["counts"] for diagram in diagrams])
    right = np.array([diagram["accuracy"] for diagram in diagrams]) * counts
    return right.sum(0) / np.maximum(counts.sum(0), 1)


def horizons(
    tables: Mapping[int, Mapping[str, Mapping[str, Interval]]], measures: Sequence[str] = ("ID", "OOD", "knowledge")
) -> Figure:
    """Accuracies against the length of the run: for each horizon a table of methods, named "method" or "method, setting"."""
    with canvas(3.4 * len(measures), 3.4, columns=len(measures)) as (figure, axes):
        steps = sorted(tables)
        for axis, measure in zip(axes, measures, strict=True):
            for method in tables[steps[0]]:
                name, _, setting = method.partition(", ")
                values = [100 * tables[step][method][measure].mean for step in steps]
                label = f"{LABELS[name]}, {setting}" if setting else LABELS[name]
                axis.plot(steps, values, "o--" if "best" in setting else "o-", color=COLORS[name], label=label, markersize=4)
            axis.set(xscale="log", xlabel="steps of the run", ylabel=f"{measure} accuracy (%)", xticks=steps, xticklabels=steps)
            axis.minorticks_off()
        axes[-1].legend()
    return figure


def sweep(
    key: str,
    values: Sequence[float],
    measured: Sequence[Mapping[str, Interval]],
    published: Sequence[Mapping[str, float]],
) -> Figure:
    """Each measure against a key's values, with intervals; published figures, in percent, on an axis of their own to the right.

    Both axes span as many points, so that changes compare although the levels (of another data set, say) may not.
    """
    names = list(measured[0])
    rows = math.ceil(len(names) / COLUMNS)
    with canvas(3.2 * min(COLUMNS, len(names)), 2.9 * rows, rows, min(COLUMNS, len(names)), squeeze=False) as (figure, axes):
        for axis, name in zip(axes.flat, names, strict=False):
            means, widths = (100 * np.array([point[name] for point in measured])).T
            _with_published(axis, values, (means, np.nan_to_num(widths)), [figures.get(name, np.nan) for figures in published])
            axis.set(xlabel=key.replace(", ", ",\n"), ylabel=f"{name} ({'%' if 'ECE' in name else 'accuracy, %'})")
            _spread(axis, values)
        for axis in axes.flat[len(names) :]:
            axis.set_axis_off()
    return figure


def _spread(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis for values of several scales, and for shares close to 1, as momenta are, one of their distance from it."""
    low, high = min(values), max(values)
    if low > 0 and high >= 10 * low:
        axis.set_xscale("log")
    elif high < 1 and 1 - low >= 10 * (1 - high):
        axis.set_xscale("function", functions=(lambda x: -np.log(np.maximum(1 - x, TINY)), lambda y: 1 - np.exp(-y)))
        axis.set_xticks(values, [f"{value:.3g}" for value in values], rotation=45)


def _with_published(
    axis: Axes, values: Sequence[float], measured: tuple[np.ndarray, np.ndarray], published: Sequence[float]
) -> None:
    """Means with half-widths, and published figures (NaN where there is none) on a second axis of the same span."""
    order = np.argsort(values)
    at, theirs = np.asarray(values, dtype=float)[order], np.asarray(published, dtype=float)[order]
    means, widths = (numbers[order] for numbers in measured)
    axis.errorbar(at, means, widths, fmt="o-", capsize=3, color=COLORS["tracer"])
    axis.yaxis.label.set_color(COLORS["tracer"])
    there = np.isfinite(theirs)
    if not there.any():
        return
    other = axis.twinx()
    other.plot(at[there], theirs[there], "x--", color=COLORS["flyp"])
    other.set_ylabel("published (%)", color=COLORS["flyp"])
    other.grid(False)
    other.spines["right"].set_visible(True)
    own_ends, their_ends = ((means - widths).min(), (means + widths).max()), (theirs[there].min(), theirs[there].max())
    half_span = 0.55 * max(own_ends[1] - own_ends[0], their_ends[1] - their_ends[0])
    for each, ends in ((axis, own_ends), (other, their_ends)):
        if half_span:
            each.set_ylim(sum(ends) / 2 - half_span, sum(ends) / 2 + half_span)


def settings(labels: Sequence[str], measured: Sequence[Mapping[str, Interval]]) -> Figure:
    """Each measure of settings that no axis orders: a line a setting, from the top, with intervals."""
    names = list(dict.fromkeys(name for point in measured for name in point))
    lines = np.arange(len(labels))[::-1]
    with canvas(2.2 + 1.6 * len(names), 1.0 + 0.3 * len(labels), columns=len(names), sharey=True, squeeze=False) as (figure, axes):
        for axis, name in zip(axes[0], names, strict=True):
            means, widths = 100 * np.array([point.get(name, (np.nan, np.nan)) for point in measured]).T
            axis.errorbar(means, lines, xerr=np.nan_to_num(widths), fmt="o", capsize=3, color=COLORS["tracer"])
            axis.set(xlabel=f"{name} (%)", yticks=lines)
            axis.set_yticklabels([textwrap.fill(label, LABEL_LENGTH) for label in labels], fontsize=8)
    return figure
