"""Figures of what is kept against what is learned: forgetting on the inputs to keep beside the task's loss."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from tracer.number_checks import Array
from tracer.plotting.style import canvas
from tracer.theory import FineTuning, Problem, forgetting, limit

SHOWN = 0.03, 8.0
"""Shares of fine-tuning's forgetting between which a figure shows it."""


class Line(NamedTuple):
    """Weights that a strategy comes to, by its strength or over time.

    Attributes:
        weights: (m, k, d), in their order.
        color: of the line.
        style: matplotlib's format, such as "--" or ".-".
        width: in points.
    """

    weights: Array
    color: str
    style: str = "-"
    width: float = 1.5


def shares(problem: Problem, keep: Array, weights: Array) -> Array:
    """Points (m, 2) of weights (m, k, d): loss above its minimum, of that of W_0; forgetting, of that of fine-tuning.

    Args:
        problem: gives the loss, W_0, and where fine-tuning ends.
        keep: second moment (d, d) of the inputs on which forgetting is measured.
        weights: (m, k, d).
    """
    start, tuned = problem.initial_weights, limit(problem, FineTuning())
    least, fall = problem.loss(tuned), problem.loss(start) - problem.loss(tuned)
    most = forgetting(tuned, start, keep)
    return np.array([[(problem.loss(at) - least) / fall, forgetting(at, start, keep) / most] for at in weights])


def fronts(problem: Problem, keep: Array, panels: Mapping[str, Mapping[str, Line]]) -> Figure:
    """Forgetting on the inputs to keep against the task's loss, in panels side by side; best is the lower left corner.

    A dot marks the first of a line's weights.

    Args:
        problem, keep: as for `shares`.
        panels: by title, lines by their names.
    """
    with canvas(9, 4, columns=len(panels), sharey=True, squeeze=False) as (figure, axes):
        for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
            for name, line in lines.items():
                points = shares(problem, keep, line.weights).T
                axis.semilogy(*points, line.style, color=line.color, linewidth=line.width, label=name)
                axis.semilogy(*points[:, :1], "o", color=line.color, markersize=4)
            axis.set(title=title, xlabel="loss above its minimum, of zero-shot's", xlim=(-0.03, 1), ylim=SHOWN)
            axis.legend(loc="upper right")
        axes[0, 0].set_ylabel("forgetting on inputs to keep, of FLYP's")
    return figure
