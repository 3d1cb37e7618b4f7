"""Figure of what persists and what that means: the gap is the student's error, and the bounds on it beside the truth."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.plotting.style import LOOKS, canvas

FLOOR = 3e-4
"""Of the drawn errors and gaps, over the initial error."""
KERNELS = tuple(LOOKS[name].color for name in ("tracer", "flyp", "wise_ft", "ema_distillation", "weight_decay", "lp_ft"))
MARKERS = "o", "s", "v", "^", "D", "P"
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}  # the panel: what it names leaves no room within


class Track(NamedTuple):
    """One run at some of its steps, from the first on; all relative to the initial error on the task subspace.

    Attributes:
        kernel: its name.
        horizon: steps of the run.
        errors: of the student, (m,).
        gaps: between student and teacher, (m,).
        rates: of the teacher after these steps, omega_t, (m,).
    """

    kernel: str
    horizon: int
    errors: np.ndarray
    gaps: np.ndarray
    rates: np.ndarray


class Bounds(NamedTuple):
    """The gap at the end of runs of several horizons, (m,) each, and what bounds it below.

    Attributes:
        horizons: steps T.
        gaps: the truth.
        sharp: q (1 - omega_T) times the anchor's weight before that, to the power q.
        published: the anchor's weight times the student's displacement.
    """

    horizons: np.ndarray
    gaps: np.ndarray
    sharp: np.ndarray
    published: np.ndarray


def persistence_is_bias(
    tracks: Sequence[Track], trained: Sequence[Track], strength: float, bounded: Mapping[str, Bounds]
) -> Figure:
    """Left, gap against student error along every run, on (1 - omega)/lambda times it; right, bounds on the last gap against T.

    Args:
        tracks: of the theory, at most six kernels.
        trained: of the trainer, drawn as crosses.
        strength: lambda, of all of them, in the data's metric with embedding penalty 1.
        bounded: by the kernel's name.
    """
    with canvas(9, 5.4, columns=2) as (figure, (left, right)):
        _draw_tracks(left, tracks, trained, strength)
        for (name, bounds), color, marker in zip(bounded.items(), KERNELS, MARKERS, strict=False):
            right.loglog(bounds.horizons, bounds.gaps, marker + "-", color=color, mfc="none", label=name)
            right.loglog(bounds.horizons, bounds.sharp, "--", color=color, zorder=3)
            right.loglog(bounds.horizons, bounds.published, ":", color=color, linewidth=2, zorder=3)
        right.set(xlabel="steps of the run, T", ylabel="gap at its end over the initial error")
        right.plot([], [], "--", color="grey", label="this project's bound")
        right.plot([], [], ":", color="grey", linewidth=2, label="the paper's bound")
        right.legend(**BELOW)
    return figure


def _draw_tracks(axis: Axes, tracks: Sequence[Track], trained: Sequence[Track], strength: float) -> None:
    names = list(dict.fromkeys(track.kernel for track in tracks))
    looks = dict(zip(names, zip(KERNELS, MARKERS, strict=True), strict=False))
    horizons = sorted({track.horizon for track in tracks})
    span = np.array([FLOOR, 1.0])
    axis.loglog(span, span / strength, color="black", linewidth=0.8, label=r"error$/\lambda$: rates that have gone to 0")
    for track in tracks:
        color, marker = looks[track.kernel]
        size = 3 + 2 * horizons.index(track.horizon)
        axis.loglog(track.errors, (1 - track.rates) / strength * track.errors, color=color, linewidth=0.7)
        axis.loglog(track.errors, track.gaps, marker, color=color, mfc="none", markersize=size, markeredgewidth=0.7)
    for track in trained:
        axis.loglog(track.errors, track.gaps, "+", color="black", markersize=7)
    for name, (color, marker) in looks.items():
        axis.plot([], [], marker + "-", color=color, mfc="none", linewidth=0.7, label=name)
    axis.plot([], [], "+", color="black", label="trainer")
    axis.plot([], [], "o", color="grey", mfc="none", label="theory (larger: longer runs)")
    axis.plot([], [], color="grey", linewidth=0.7, label=r"$(1 - \omega_t)/\lambda$ times the error")
    axis.set(xlabel="student's error over the initial one", ylabel="gap over the initial error", xlim=(FLOOR, 1), ylim=(FLOOR, 1))
    axis.legend(**BELOW)
