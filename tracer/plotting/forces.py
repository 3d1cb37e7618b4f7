"""Figures of the regularising force: how an EMA's collapses and a WMA's persists, in theory, simulation and training."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tracer.averaging import Exponential, PowerLaw
from tracer.crosscheck.gaps import exponent_of, exponents, modal_shares, momentum_of, rates
from tracer.crosscheck.history import WeightHistory
from tracer.errors import UserError
from tracer.looks import POWER_LAW_LABEL
from tracer.plotting.style import LOOKS, canvas
from tracer.theory import Distillation, Population, Problem, gradient_descent
from tracer.theory.closed_forms import ema, wma
from tracer.theory.modes import teacher_spectrum

TEACHERS = "ema_distillation", "tracer"
LABELS = {"ema_distillation": LOOKS["ema_distillation"].label, "tracer": POWER_LAW_LABEL}
"""The second has TRACER's colour but the power law's weights, for which there are closed forms; TRACER's Beta kernel has none."""
SHADES = "-", "--", ":"
FEATURES, EMBEDDING, PAIRS = 8, 4, 64
FLOOR = 1e-9
"""Of the drawn force: below lies the round-off of a trainer's weights."""
PERSISTENT = 500
"""Range of the right-hand panel, in which a power law's slope is seen and an exponential falls out."""
Taught = tuple[Distillation, WeightHistory]
SHARE_OF_STABLE = 0.5
"""Step size of the explorer, times curvature and teacher curvature of the stiffest mode."""


def two_forces(
    problem: Problem,
    distillations: tuple[Distillation, Distillation],
    *,
    learning_rate: float,
    steps: int,
    modes: Sequence[int] = (0,),
    runs: Sequence[WeightHistory] = (),
) -> Figure:
    """The force l_j |gap_j| of an EMA and of a power-law teacher on some modes, over their initial error.

    Lines are the closed forms of gradient descent and, thin, of its flow; circles are `gradient_descent`, crosses are the trainer's
    runs. On the left an exponential is a straight line, on the right a power law is.

    Args:
        problem: what is learned.
        distillations: with an Exponential kernel, and with a PowerLaw kernel.
        learning_rate, steps: of the runs.
        modes: eigendirections to draw, at most three.
        runs: of the trainer, one for each distillation.

    Raises:
        UserError: if the kernels are others or more than three modes are asked for.
    """
    momentum_of(distillations[0]), exponent_of(distillations[1])  # refuses other kernels
    if len(modes) > len(SHADES):
        raise UserError(f"the figure has {len(SHADES)} kinds of lines, so ask for at most that many modes, not {len(modes)}")
    spaced = np.linspace(1, steps, 16).astype(int), np.unique(np.geomspace(1, steps, 20).astype(int))
    with canvas(9, 4.8, columns=2) as (figure, axes):
        for distillation, name, run in zip(distillations, TEACHERS, runs or (None, None), strict=True):
            path = gradient_descent(problem, distillation, learning_rate=learning_rate, steps=steps)
            for axis, times in zip(axes, spaced, strict=True):
                points = {"o": path.gap(times), **({"+": run.gaps[times]} if run else {})}
                for mode, shade in zip(modes, SHADES, strict=False):
                    teacher_curvature = teacher_spectrum(problem, distillation)[mode]
                    _draw_lines(axis, problem, distillation, mode, (LOOKS[name].color, shade, LABELS[name]), learning_rate, steps)
                    for marker, gap in points.items():
                        color = LOOKS[name].color if marker == "o" else "black"
                        axis.plot(times, teacher_curvature * modal_shares(problem, gap)[:, mode], marker, mfc="none", color=color)
        _finish(axes, bool(runs))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _draw_lines(
    axis: Axes,
    problem: Problem,
    distillation: Distillation,
    mode: int,
    look: tuple[str, str, str],
    learning_rate: float,
    steps: int,
) -> None:
    """The closed forms of a mode's force, and what a power-law teacher's comes to in the long run."""
    color, shade, label = look
    curvature, teacher_curvature = problem.curvatures[mode], teacher_spectrum(problem, distillation)[mode]
    times = np.unique(np.geomspace(1, steps, 300).astype(int))
    descended, flowed = (
        teacher_curvature * np.abs(gap) for gap in closed_gaps(distillation, curvature, teacher_curvature, learning_rate, times)
    )
    axis.plot(times, descended, color=color, linestyle=shade, label=f"{label}, s = {problem.eigenvalues[mode]:.2g}")
    axis.plot(times, flowed, color=color, linewidth=0.6, alpha=0.7)
    if isinstance(distillation.kernel, PowerLaw):
        beta, late = distillation.kernel.beta, times[times >= steps / 20]
        law = wma.persistence_constant(curvature, teacher_curvature, beta) * (
            learning_rate * (curvature + teacher_curvature) * late
        ) ** -(wma.persistence_exponent(curvature, teacher_curvature, beta))
        axis.plot(
            late, teacher_curvature * curvature / (curvature + teacher_curvature) * law, color="black", linewidth=0.8, zorder=3
        )


def closed_gaps(
    distillation: Distillation, curvature: float, teacher_curvature: float, learning_rate: float, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gap of a mode by the closed forms of gradient descent and of its flow, over the initial error; in the shape of the steps."""
    if isinstance(distillation.kernel, PowerLaw):
        beta = exponent_of(distillation)
        descended = wma.gap(curvature, teacher_curvature, learning_rate, beta, steps)
        return descended, wma.flow_gap(curvature, teacher_curvature, beta, learning_rate * steps)
    momentum = momentum_of(distillation)
    descended = ema.gap(curvature, teacher_curvature, learning_rate, momentum, steps)
    return descended, ema.flow_gap(curvature, teacher_curvature, (1 - momentum) / learning_rate, learning_rate * steps)


def explore_forces(
    strength: float = 0.9, momentum: float = 0.9, beta: float = 0.5, steps: int = 1000, spectrum: str = "power_law"
) -> Figure:
    """`two_forces` on the first, middle and last mode of a sample with one of `theory.populations.SPECTRA`: for sliders.

    Weights are compared in the parameter metric, where the teacher's curvature is the same in every mode.

    Args:
        strength: lambda.
        momentum, beta: of the two teachers.
        steps: the horizon.
        spectrum: name of the population.

    Raises:
        UserError: if the name is unknown or a number out of its range.
    """
    images, texts = Population.named(spectrum, FEATURES, EMBEDDING).sample(PAIRS)
    problem = Problem.from_pairs(images, texts, np.zeros((EMBEDDING, FEATURES)))
    distillations = (
        Distillation(strength, Exponential(momentum), "parameter"),
        Distillation(strength, PowerLaw(beta), "parameter"),
    )
    learning_rate = SHARE_OF_STABLE / (problem.curvatures[0] + strength)
    modes = 0, (problem.rank - 1) // 2, problem.rank - 1
    return two_forces(problem, distillations, learning_rate=learning_rate, steps=steps, modes=modes)


def decays(problem: Problem, collapsing: Sequence[Taught], persisting: Sequence[Taught], learning_rate: float) -> Figure:
    """How fast the trainer's gaps fell in every mode of the task, against the theory; the diagonal is equality.

    Args:
        problem: what was learned.
        collapsing: distillation with Exponential kernels, and the trainer's runs.
        persisting: distillation with PowerLaw kernels, and the trainer's runs.
        learning_rate: of the runs.
    """
    with canvas(9, 4, columns=2) as (figure, axes):
        for (distillation, run), marker in zip(collapsing, "^v<>", strict=False):
            predicted, measured = rates(problem, distillation, run, learning_rate)
            label = f"{LABELS[TEACHERS[0]]}, m = {momentum_of(distillation):g}"
            axes[0].loglog(predicted, measured, marker, mfc="none", color=LOOKS[TEACHERS[0]].color, label=label)
        for (distillation, run), marker in zip(persisting, "osDp", strict=False):
            predicted, measured = exponents(problem, distillation, run)
            label = f"{LABELS[TEACHERS[1]]}, β = {exponent_of(distillation):g}"
            axes[1].plot(predicted, measured, marker, mfc="none", color=LOOKS[TEACHERS[1]].color, label=label)
        axes[0].set(xlabel=r"predicted rate, $-\ln\,\theta_+$ per step", ylabel="rate of the trainer's gap")
        axes[1].set(xlabel=r"predicted exponent, $\kappa = \beta\sigma/(\sigma + \ell)$", ylabel="exponent of the trainer's gap")
        for axis in axes:
            axis.axline((0.1, 0.1), (0.2, 0.2), color="black", linewidth=0.8)
            axis.legend()
    return figure


def budgets(problem: Problem, collapsing: Sequence[Taught], persisting: Sequence[Taught], modes: Sequence[int]) -> Figure:
    """The trainer's gap in some modes, summed up to each step: an EMA's ends at m / (1 - m), a WMA's grows.

    Args:
        problem: what was learned.
        collapsing, persisting: as for `decays`.
        modes: eigendirections to draw.
    """
    with canvas(6.5, 4) as (figure, axis):
        for taught, name in ((collapsing, TEACHERS[0]), (persisting, TEACHERS[1])):
            for (distillation, run), shade in zip(taught, SHADES, strict=False):
                sums = np.cumsum(modal_shares(problem, run.gaps)[:, list(modes)], axis=0)
                lines = axis.loglog(np.arange(1, len(sums)), sums[1:], shade, color=LOOKS[name].color, linewidth=1.1)
                lines[0].set_label(f"{LABELS[name]}, {_setting(distillation)}")
        for distillation, _ in collapsing:
            bound = -float(ema.budget(momentum_of(distillation)))
            axis.axhline(bound, color="black", linewidth=0.8)
            axis.annotate(f"m/(1 - m) = {bound:.3g}", (1, bound), xytext=(3, 3), textcoords="offset points", fontsize=10)
        axis.set(xlabel="step", ylabel="sum of |gap| up to here\nover the initial error")
        axis.legend()
    return figure


def _setting(distillation: Distillation) -> str:
    return (
        f"m = {momentum_of(distillation):g}"
        if isinstance(distillation.kernel, Exponential)
        else f"β = {exponent_of(distillation):g}"
    )


def _finish(axes: Sequence[Axes], trained: bool) -> None:
    axes[0].set(xlabel="step", ylabel=r"force $\ell\,|g|$ over the initial error", yscale="log")
    axes[1].set(xlabel="step, logarithmic", xscale="log", yscale="log")
    axes[0].plot([], [], color="grey", linewidth=0.6, label="limit of small steps")
    axes[0].plot([], [], color="black", linewidth=0.8, label=r"law $t^{-\kappa}$ of late times")
    axes[0].plot([], [], "o", mfc="none", color="grey", label="simulated recursion")
    if trained:
        axes[0].plot([], [], "+", color="black", label="trainer")
    top = axes[1].get_ylim()[1]
    axes[0].set_ylim(bottom=max(FLOOR, axes[0].get_ylim()[0]))
    axes[1].set_ylim(top / PERSISTENT, top)
