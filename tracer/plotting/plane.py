"""Figures of what is learned and what is forgotten: weights in the task subspace and in its orthogonal complement."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tracer.averaging import Exponential, Static
from tracer.crosscheck.gaps import modal_shares
from tracer.crosscheck.history import WeightHistory
from tracer.looks import LOOKS, Look
from tracer.plotting.style import canvas
from tracer.theory import Problem, Strategy, WeightPath, anchor_bias, describe, optimum

FILM_DPI = 85
FILM_FPS = 5
OTHER = Look("#CC79A7", "^", "")
"""Of what is no named strategy."""


def travelled(problem: Problem, weights: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Share of the way from W_0 to the optimum W* that weights (..., k, d) have gone in the span of a basis (d, r), (...)."""
    way = (optimum(problem) - problem.initial_weights) @ basis
    return np.asarray(np.sum(((weights - problem.initial_weights) @ basis) * way, axis=(-2, -1)) / np.sum(way**2))


def retained(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Share of the orthogonal part of W_0 that weights (..., k, d) still have, <W Q, W_0 Q> / |W_0 Q|^2, (...)."""
    kept = problem.task_subspace.orthogonal(problem.initial_weights)
    return np.asarray(np.sum(problem.task_subspace.orthogonal(weights) * kept, axis=(-2, -1)) / np.sum(kept**2))


def in_the_plane(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Weights (..., k, d) as points (2, ...): share of the way to the task's optimum, share of the orthogonal part kept."""
    return np.stack([travelled(problem, weights, problem.task_subspace.basis), retained(problem, weights)])


def in_the_task(problem: Problem, weights: np.ndarray) -> np.ndarray:
    """Weights (..., k, d) as points (2, ...): shares of the way to the optimum in the task's stiffest and slowest direction."""
    first, last = problem.eigenvectors[:, :1], problem.eigenvectors[:, problem.rank - 1 : problem.rank]
    return np.stack([travelled(problem, weights, first), travelled(problem, weights, last)])


def trajectories(paths: Mapping[str, WeightPath[Problem]], runs: Mapping[str, WeightHistory]) -> Figure:
    """Where each strategy goes: within the task subspace, and in the plane of task and orthogonal complement.

    Lines are the theory's, markers where the trainer's run ended, dots its steps 1, 2, 4, 8 ...

    Args:
        paths: of `theory.gradient_descent`, by the strategies' names.
        runs: of the trainer, by the same names.
    """
    with canvas(9, 4.2, columns=2) as (figure, axes):
        for axis, coordinates in zip(axes, (in_the_task, in_the_plane), strict=True):
            for name, path in paths.items():
                problem, run = path.problem, runs[name]
                steps = np.arange(len(run.student))
                axis.plot(*coordinates(problem, path.weights(steps)), color=LOOKS[name].color, linewidth=1.2)
                seen = coordinates(problem, _interpolated(path, run)[2 ** np.arange(int(np.log2(len(steps))))])
                axis.plot(*seen, ".", color=LOOKS[name].color, markersize=4)
                axis.plot(*coordinates(problem, run.final), LOOKS[name].marker, mfc="none", mew=1.6, color=LOOKS[name].color, ms=9)
        _label(axes)
        axes[1].legend(handles=_handles(paths), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def film(paths: Mapping[str, WeightPath[Problem]], frames: Sequence[int]) -> str:
    """The same two planes as a looping GIF, in an HTML element that holds it.

    Each frame shows where the strategies stand after so many steps, and the way they came.

    Args:
        paths: of `theory.gradient_descent`, by the strategies' names.
        frames: steps to show, one a frame.
    """
    with canvas(7.8, 3.4, columns=2) as (figure, axes):
        drawn = []
        for axis, coordinates in zip(axes, (in_the_task, in_the_plane), strict=True):
            for name, path in paths.items():
                ways = coordinates(path.problem, path.weights(np.arange(frames[-1] + 1)))
                axis.plot(*ways, color=LOOKS[name].color, linewidth=0.5, alpha=0.4)
                (line,) = axis.plot([], [], color=LOOKS[name].color, linewidth=1.4)
                (head,) = axis.plot([], [], LOOKS[name].marker, mfc="none", mew=1.6, color=LOOKS[name].color, ms=8)
                drawn.append((ways, line, head))
        _label(axes)
        axes[1].legend(handles=_handles(paths), loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)

        def show(step: int) -> None:
            for ways, line, head in drawn:
                line.set_data(*ways[:, : step + 1])
                head.set_data(*ways[:, step : step + 1])
            axes[0].set_title(f"step {step}", loc="left")

        show(frames[0])
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: again for every frame would take most of the time
        with TemporaryDirectory() as folder:
            file = Path(folder) / "film.gif"
            FuncAnimation(figure, show, frames=list(frames)).save(file, PillowWriter(FILM_FPS), dpi=FILM_DPI)
            held = base64.b64encode(file.read_bytes()).decode()
    return f'<img alt="trajectories of the strategies, step by step" src="data:image/gif;base64,{held}">'


def anchor_biases(problem: Problem, strategies: Mapping[str, Strategy], runs: Mapping[str, WeightHistory]) -> Figure:
    """Share of the initial error that a strategy leaves, by eigenvalue: lines in theory, markers at the end of the trainer's runs.

    Args:
        problem: what was learned.
        strategies: by their names, or any label.
        runs: of the trainer, by the same names.
    """
    task = slice(problem.rank)
    with canvas(7.5, 4) as (figure, axis):
        for name, strategy in strategies.items():
            look = LOOKS.get(name, OTHER._replace(label=name))
            left = modal_shares(problem, runs[name].final[None] - optimum(problem))[0]
            axis.semilogx(problem.eigenvalues[task], anchor_bias(problem, strategy)[task], color=look.color)
            axis.semilogx(problem.eigenvalues[task], left[task], look.marker, mfc="none", color=look.color, label=look.label)
        axis.set(xlabel="eigenvalue s of the second moment", ylabel="share of the initial error left", ylim=(-0.03, 1))
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def replay(paths: Mapping[str, Mapping[float, WeightPath[Problem]]], runs: Mapping[str, Mapping[float, WeightHistory]]) -> Figure:
    """How far the orthogonal part moves when the replayed inputs lie at an angle between task subspace and complement.

    Lines are the theory's at the end of the run, dotted ones as time goes on, where that has a closed form; markers the trainer's.

    Args:
        paths: of `theory.gradient_descent`, by strategy and angle in degrees; 0 lies in the task subspace, 90 in its complement.
        runs: of the trainer, by strategy and angle.
    """
    with canvas(6.5, 4) as (figure, axis):
        for name, turned in paths.items():
            color, label = LOOKS[name].color, LOOKS[name].label
            ends = [_moved_off(path.problem, path.weights(path.horizon)) for path in turned.values()]
            axis.plot(list(turned), ends, color=color, label=label)
            distillation = next(iter(turned.values())).strategy.distillation
            if isinstance(distillation.kernel, Static | Exponential):
                axis.plot(list(turned), [_moved_off(path.problem, path.limit()) for path in turned.values()], ":", color=color)
            trained = [_moved_off(turned[angle].problem, run.final) for angle, run in runs[name].items()]
            axis.plot(list(runs[name]), trained, LOOKS[name].marker, mfc="none", color=color)
        axis.plot([], [], ":", color="grey", label="as the number of steps grows")
        axis.plot([], [], "o", mfc="none", color="grey", label="trainer")
        axis.set(xlabel="angle of the replayed inputs to the task subspace (degrees)", ylabel="|(W - W₀) Q| at the end")
        axis.legend()
    return figure


def _moved_off(problem: Problem, weights: np.ndarray) -> float:
    return describe(problem, weights).orthogonal_displacement


def _interpolated(path: WeightPath[Problem], run: WeightHistory) -> np.ndarray:
    """The strategy's weights at every step of a run: WiSE-FT's lie between the start and the student."""
    start = run.student[0]
    return np.asarray(start + path.strategy.interpolation * (run.student - start))


def _label(axes: Sequence[Axes]) -> None:
    axes[0].set(xlabel="stiffest direction: share of the way to W*", ylabel="slowest direction: share of the way to W*")
    axes[1].set(xlabel="task subspace: share of the way to W*", ylabel="orthogonal complement: share of W₀ kept")
    for axis, optimum_at in zip(axes, ((1, 1), (1, 1)), strict=True):
        axis.plot(*optimum_at, "*", color="gold", markersize=16, zorder=0)


def _handles(paths: Mapping[str, WeightPath[Problem]]) -> list[Line2D]:
    looks = [
        Line2D([], [], color=LOOKS[name].color, marker=LOOKS[name].marker, mfc="none", label=LOOKS[name].label) for name in paths
    ]
    return [*looks, Line2D([], [], color="gold", marker="*", linestyle="", markersize=12, label="optimum, all kept")]
