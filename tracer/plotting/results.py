"""Figures of what runs measured: trade-offs, calibration, gaps of teacher and student, interpolations, horizons."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tracer.data.datasets import Suite
from tracer.evaluation import across_runs
from tracer.evaluation.across_runs import Row
from tracer.evaluation.intervals import Interval
from tracer.plotting.style import LOOKS, PAGE_WIDTH, canvas, plain


def trade_off(rows: Sequence[Row]) -> Figure:
    """OOD and knowledge accuracy against ID accuracy: a large point a strategy, a small one each run, WiSE-FT as a curve."""
    with canvas(9, 4, columns=2) as (figure, axes):
        for axis, measure in zip(axes, ("OOD", "knowledge"), strict=True):
            for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "wise_ft"):
                points = _points([row for row in rows if row["method"] == method], measure)
                look = LOOKS[method]
                axis.plot(*points.T, ".", color=look.color, alpha=0.35)
                axis.plot(*points.mean(0), look.marker, color=look.color, label=look.label, markersize=8)
            mixed = LOOKS["wise_ft"]
            axis.plot(*_interpolations(rows, measure).T, ".--", color=mixed.color, label=mixed.label, zorder=1)
            axis.set(xlabel="ID accuracy (%)", ylabel=f"{measure} accuracy (%)")
        axes[0].legend(loc="best")
    return figure


def reliability(rows: Sequence[Row], methods: Sequence[str] = ("zero_shot", "flyp", "ema_distillation", "tracer")) -> Figure:
    """Reliability diagrams on all OOD images, all seeds together: bars are accuracy, the diagonal is perfect calibration."""
    with canvas(PAGE_WIDTH, 3, columns=len(methods), sharey=True) as (figure, axes):
        summary = across_runs.summary(rows)
        for axis, method in zip(axes, methods, strict=True):
            accuracy = _pooled_accuracy([row["report"]["reliability"]["ood"] for row in rows if row["method"] == method])
            bins = len(accuracy)
            axis.bar((np.arange(bins) + 0.5) / bins, accuracy, 0.9 / bins, color=LOOKS[method].color)
            axis.plot([0, 1], [0, 1], "k:", linewidth=1)
            axis.set(xlabel="confidence", xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1))
            axis.set_title(f"{LOOKS[method].label}\nmean ECE of the sets {100 * summary[method]['OOD ECE'].mean:.1f}", fontsize=10)
        axes[0].set_ylabel("accuracy")
    return figure


def gaps(rows: Sequence[Row], methods: Sequence[str] = ("static_distillation", "ema_distillation", "tracer")) -> Figure:
    """The teacher's distance from the student over training, in weights and in what they say of a batch; a line a seed."""
    panels: dict[str, Callable[[Mapping[str, float]], float]] = {
        "student - teacher distance\nover student - anchor distance": lambda m: m["gap.student_teacher"] / m["gap.student_anchor"],
        "KL(teacher || student) of the batch": lambda m: m["gap.batch_kl"],
    }
    with canvas(9, 3.6, columns=2) as (figure, axes):
        for axis, (label, gap) in zip(axes, panels.items(), strict=True):
            for method in methods:
                lines = [row["metrics"] for row in rows if row["method"] == method]
                for number, line in enumerate(lines):
                    name = LOOKS[method].label if number == 0 else None
                    steps = [m["step"] for m in line]
                    axis.semilogy(steps, [gap(m) for m in line], color=LOOKS[method].color, label=name, alpha=0.8)
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
            axis.set_ylabel(plain(name).replace("_", " "), rotation=0, ha="right", va="center")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
    return figure


def interpolations(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean OOD and knowledge against ID accuracy along WiSE-FT's path, and calibration against the share; a ring is the one taken.

    Points are annotated with their shares of the fine-tuned weights. What the suite lacks has no panel and no line.
    """
    shares = [report["interpolation"] for report in reports]
    taken = next((place for place, report in enumerate(reports) if report.get("taken")), None)
    kinds = {kind: name for kind, name in (("ood", "mean OOD"), ("knowledge", "mean knowledge")) if reports[0][kind]}
    with canvas(3 * (len(kinds) + 1), 3.4, columns=len(kinds) + 1, squeeze=False) as (figure, axes):
        for axis, (kind, name) in zip(axes[0], kinds.items(), strict=False):
            points = 100 * np.array([[report[part]["accuracy"] for part in ("id", kind)] for report in reports])
            axis.plot(*points.T, "o--", color=LOOKS["wise_ft"].color)
            for share, point in zip(shares, points, strict=True):
                axis.annotate(f"{share:g}", point, textcoords="offset points", xytext=(5, 5), fontsize=10)
            if taken is not None:
                axis.plot(*points[taken], "o", mfc="none", color="black", markersize=11)
            axis.set(xlabel="ID accuracy (%)", ylabel=f"{name} accuracy (%)")
        for (kind, name), line in zip({"id": "ID", **kinds}.items(), ("o-", "s--", "v:"), strict=False):
            errors = [100 * report[kind]["ece"] for report in reports]
            axes[0, -1].plot(shares, errors, line, color=LOOKS["wise_ft"].color, label=name)
        axes[0, -1].set(xlabel="share of the fine-tuned weights", ylabel="ECE (%)")
        axes[0, -1].legend()
    return figure


def averages(reports: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy of a run's averages against their kernels' mean age, a line a kind of set; a ring is the average that is taken.

    Age 0 is the last student and 1 the pretrained model. Kernels other than power laws, which may have the age of one, stand beside
    the line.
    """
    kinds = {"id": ("ID", "o-"), "ood": ("mean OOD", "s--"), "knowledge": ("mean knowledge", "v:")}
    with canvas(6, 3.6) as (figure, axis):
        for kind, (name, line) in kinds.items():
            if reports[0][kind]:
                points = [(report["mean_age"], 100 * report[kind]["accuracy"], report["kernel"]["kind"]) for report in reports]
                path = [point[:2] for point in points if point[2] != "beta"]
                (drawn,) = axis.plot(*np.transpose(path), line, label=name)
                for age, accuracy, kernel in points:
                    if kernel == "beta":
                        axis.plot(age, accuracy, line[0], mfc="none", color=drawn.get_color(), markersize=8)
                axis.plot(*next(p[:2] for p, r in zip(points, reports, strict=True) if r["taken"]), "ko", mfc="none", markersize=12)
        axis.set(xlabel="mean age of the average, as a share of the run", ylabel="accuracy (%)")
        axis.legend()
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
    return 100 * np.array([[across_runs.measure(row, name) for name in ("ID", measure)] for row in rows])


def _pooled_accuracy(diagrams: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Accuracy by bin of several diagrams together, 0 where no image fell."""
    counts = np.array([diagram["counts"] for diagram in diagrams])
    right = np.array([diagram["accuracy"] for diagram in diagrams]) * counts
    return np.asarray(right.sum(0) / np.maximum(counts.sum(0), 1))


def horizons(
    tables: Mapping[int, Mapping[str, Mapping[str, Interval]]], measures: Sequence[str] = ("ID", "OOD", "knowledge")
) -> Figure:
    """Accuracies against the length of the run: for each horizon a table of methods, named "method" or "method, setting"."""
    with canvas(PAGE_WIDTH, 3.8, columns=len(measures)) as (figure, axes):
        steps = sorted(tables)
        for axis, measure in zip(axes, measures, strict=True):
            for method in tables[steps[0]]:
                name, _, setting = method.partition(", ")
                values = [100 * tables[step][method][measure].mean for step in steps]
                label = f"{LOOKS[name].label}, {setting}" if setting else LOOKS[name].label
                axis.plot(steps, values, "o--" if "best" in setting else "o-", color=LOOKS[name].color, label=label, markersize=4)
            axis.set(xscale="log", xlabel="steps of the run", ylabel=f"{measure} accuracy (%)", xticks=steps, xticklabels=steps)
            axis.minorticks_off()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
