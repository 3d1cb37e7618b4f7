"""Figures of theory against trainer: errors at round-off, the order of what the theory leaves out, in-batch negatives."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tracer.crosscheck.history import Agreement, fitted_order
from tracer.evaluation.intervals import Interval
from tracer.plotting.style import LOOKS, canvas

NULL = "#D55E00"
"""Colour of what is known to be wrong."""


def exactness(compared: Mapping[str, Agreement], tolerance: float) -> Figure:
    """Relative error of the theory's whole path, and of predicting that nothing moves, a row each; the line is the tolerance.

    Args:
        compared: by label.
        tolerance: what the tests allow.
    """
    rows = np.arange(len(compared))[::-1]
    with canvas(7.5, 0.27 * len(rows) + 1.2) as (figure, axis):
        axis.semilogx([each.error for each in compared.values()], rows, "o", color=LOOKS["tracer"].color, label="theory")
        still = [each.nothing_moves for each in compared.values()]
        axis.semilogx(still, rows, "x", color=NULL, label="null prediction: nothing moves")
        axis.axvline(tolerance, color="black", linewidth=0.8)
        axis.annotate(
            f"tolerance {tolerance:g}", (tolerance, rows[-1] - 0.6), xytext=(4, 0), textcoords="offset points", fontsize=10
        )
        axis.set(yticks=rows, yticklabels=list(compared), xlabel="largest relative error over the run", xlim=(1e-17, 10))
        axis.set_ylim(rows[-1] - 0.8, rows[0] + 0.6)
        axis.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return figure


def orders(scales: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """How far the contrastive loss leads from the linearised one's path, against its logit scale, with the fitted slopes.

    Args:
        scales: logit scales, (m,).
        errors: relative to the displacement, (m,), by the strategies' names.
    """
    with canvas(6, 4) as (figure, axis):
        for name, found in errors.items():
            label = f"{LOOKS[name].label}, slope {fitted_order(scales, found):.3f}"
            axis.loglog(scales, found, LOOKS[name].marker + "-", mfc="none", color=LOOKS[name].color, label=label)
        axis.loglog(scales, np.ones(len(scales)), ":", color=NULL, label="null prediction: nothing moves")
        axis.set_xticks(scales, [f"{scale:g}" for scale in scales])
        axis.minorticks_off()
        axis.set(xlabel="logit scale", ylabel="distance from the theory's path\nover the displacement")
        axis.legend()
    return figure


def in_batches(
    sizes: Sequence[int],
    measured: Mapping[tuple[str, bool], Sequence[Interval]],
    predicted: Mapping[tuple[str, bool], Sequence[float]],
) -> Figure:
    """Share of the full batch's displacement that runs in random batches go, mean and 95 % interval, against the batch size.

    Args:
        sizes: pairs in a batch.
        measured: over seeds, by the strategy's name and whether pairs are drawn with replacement.
        predicted: the corrected prediction, by the same.
    """
    apart = np.geomspace(0.97, 1.03, len(measured))  # so that bars do not hide one another
    with canvas(6.5, 4) as (figure, axis):
        axis.axhline(1, linestyle=":", color="black", label="uncorrected prediction: the full batch's")
        for shift, ((name, replacement), means) in zip(apart, measured.items(), strict=True):
            look = {"color": LOOKS[name].color, "linestyle": "--" if replacement else "-"}
            values, widths = np.transpose(means)
            axis.plot(sizes, predicted[name, replacement], linewidth=1, **look)
            marker = "s" if replacement else "o"
            label = f"{LOOKS[name].label}, {'with' if replacement else 'without'} replacement"
            at = shift * np.asarray(sizes)
            axis.errorbar(at, values, widths, fmt=marker, mfc="none", capsize=3, color=LOOKS[name].color, label=label)
        axis.plot([], [], color="grey", linewidth=1, label="corrected predictions (lines)")
        axis.set(xlabel="pairs in a batch", ylabel="share of the full batch's displacement", xscale="log")
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.legend()
    return figure
