"""From the claims to settings: which momentum matches a WMA teacher, how strong a distillation a tolerated residual allows."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from tracer.averaging import Clock, Exponential, Kernel, PowerLaw
from tracer.errors import UserError
from tracer.number_checks import POSITIVE, PROPER_SHARE, Array, number
from tracer.schedules import Schedule, constant
from tracer.theory.closed_forms import ema, wma
from tracer.theory.geometry import error_left
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.matrix_checks import matrix, not_negative
from tracer.theory.metrics import Metric
from tracer.theory.problem import Problem
from tracer.theory.recursion import Stepping, propagate
from tracer.theory.strategies import Distillation

STRENGTHS = 1e-6, 1e6
EXPONENTS = 1e-6, 1e3
RATES = 1e-12, 1.0
"""Ranges in which settings are sought; a rate is 1 - momentum."""


class Point(NamedTuple):
    """What a teacher gives up and what it gives, over one run.

    Attributes:
        kernel: the teacher's.
        residual: task error left at the end over the initial one, root mean square on the data.
        impulse: norm of the force summed over the run, each step's times its learning rate.
    """

    kernel: Kernel
    residual: float
    impulse: float


def momentum_of_equal_budget(
    kernel: Kernel, clock: Clock, *, curvature: float, teacher_curvature: float, learning_rate: float
) -> float:
    """Momentum of the EMA (updated at every step) whose gap adds up, for ever, to what the kernel's adds up to over its run.

        m / (1 - m) = sum over the kernel's run of (ubar_t - u_t) / u_0.

        >>> from tracer.averaging import Beta
        >>> mode = {"curvature": 1.0, "teacher_curvature": 0.9, "learning_rate": 0.1}
        >>> [round(momentum_of_equal_budget(Beta(0.5, 0.5), Clock(steps), **mode), 4) for steps in (100, 1000)]
        [0.9619, 0.9939]

    Source: this project (the EMA's finite budget).

    Args:
        kernel, clock: the teacher to match, and its run.
        curvature, teacher_curvature: sigma and l of the mode on which budgets are compared.
        learning_rate: eta.

    Raises:
        UserError: if a curvature is negative, or the learning rate not positive or above 2 / (sigma + l).
    """
    not_negative(curvature=curvature, teacher_curvature=teacher_curvature)
    _require_stable(curvature, teacher_curvature, learning_rate)
    stepping = Stepping(learning_rate, clock, kernel)
    summed = propagate(np.array([curvature]), np.array([teacher_curvature]), stepping, np.array([clock.total_steps]))
    budget = max(0.0, -float(summed.decay_impulse[0, 0]) / learning_rate)
    return budget / (1 + budget)


def momentum_of_equal_mean_age(kernel: Kernel, clock: Clock) -> float:
    """Momentum of the EMA, updated by the same clock, whose weights at the end of the run have the kernel's mean age.

        >>> from tracer.averaging import Beta
        >>> [round(momentum_of_equal_mean_age(Beta(0.5, 0.5), Clock(steps)), 4) for steps in (100, 1000)]
        [0.9844, 0.9984]

    Raises:
        UserError: if no momentum below 1 reaches that age (that of a teacher which never moves).
    """
    age = kernel.mean_age(clock)
    rate = _crossing(lambda rate: Exponential(1 - rate).mean_age(clock), age, RATES)
    if np.isnan(rate):
        raise UserError(f"no momentum below 1 gives a mean age of {age:g}: that is the static teacher's")
    return 1 - rate


def momentum_that_leaves(
    share: float, curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: float, steps: int
) -> Array:
    """Momentum m of the EMA whose student has, after a run, that share of the error that the static teacher's has, mode by mode.

    What it must be for one mode and what for another shows whether one setting can serve a spectrum. Source: this project.

    Args:
        share: between 0 and 1; the same for all modes.
        curvature, teacher_curvature: sigma and l of the modes, broadcast to (modes,).
        learning_rate: eta.
        steps: length of the run.

    Returns:
        (modes,); NaN where no momentum does, for instance because even fine-tuning alone leaves more of a slow mode.

    Raises:
        UserError: if the share does not lie between 0 and 1, the learning rate is above 2 / (sigma + l) in a mode, or another
            number is out of its range.
    """

    def left(rate: float, curvature: float, teacher_curvature: float) -> float:
        return float(ema.student(curvature, teacher_curvature, learning_rate, 1 - rate, steps))

    return 1 - _mode_by_mode(left, share, curvature, teacher_curvature, learning_rate, steps, RATES)


def exponent_that_leaves(
    share: float, curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: float, steps: int
) -> Array:
    """Exponent beta of the power-law teacher that leaves that share; everything else as in `momentum_that_leaves`."""

    def left(beta: float, curvature: float, teacher_curvature: float) -> float:
        return float(wma.student(curvature, teacher_curvature, learning_rate, beta, steps))

    return _mode_by_mode(left, share, curvature, teacher_curvature, learning_rate, steps, EXPONENTS)


def residual(problem: Problem, weights: Array) -> float:
    """Task error of weights (k, d) over that of the initial weights, root mean square on the data; 0 at the optimum.

    It is the root of 1 - adaptation.

    Raises:
        UserError: if the weights have another shape or are not finite.
    """
    weights = matrix("weights", weights, *problem.initial_weights.shape)
    return float(np.sqrt(max(0.0, error_left(problem, weights, problem.task_subspace))))


def measure(
    problem: Problem,
    distillation: Distillation,
    *,
    learning_rate: float,
    steps: int,
    update_every: int = 1,
    schedule: Schedule = constant,
) -> Point:
    """Residual and impulse of one teacher after a run of `gradient_descent`.

    Raises:
        UserError: as `gradient_descent` does.
    """
    path = gradient_descent(
        problem, distillation, learning_rate=learning_rate, steps=steps, update_every=update_every, schedule=schedule
    )
    return Point(distillation.kernel, residual(problem, path.weights(steps)), float(np.linalg.norm(path.impulse(steps))))


def frontier(
    problem: Problem, kernels: Iterable[Kernel], *, strength: float, metric: Metric | str = "data", learning_rate: float, steps: int
) -> list[Point]:
    """Residual and impulse of teachers that differ in their kernel alone: less residual is bought with less impulse.

    With Exponential(m) over many m and PowerLaw or Beta over some exponents it answers whether WMA is just a well-tuned EMA.

        >>> import numpy as np
        >>> from tracer import theory
        >>> from tracer.averaging import Beta
        >>> start = 0.3 * np.random.default_rng(0).standard_normal((4, 16))
        >>> problem = theory.Population.named("decades", features=16, embedding=4).problem(start)
        >>> kernels = Beta(0.5, 0.5), Exponential(0.9), Exponential(0.99)
        >>> for point in frontier(problem, kernels, strength=0.9, learning_rate=0.5, steps=300):
        ...     print(f"{point.residual:.3f} {point.impulse:.1f}")
        0.461 24.3
        0.430 3.9
        0.450 33.3

    Raises:
        UserError: as `gradient_descent` does.
    """
    return [
        measure(problem, Distillation(strength, kernel, metric), learning_rate=learning_rate, steps=steps) for kernel in kernels
    ]


def momentum_of_equal_residual(problem: Problem, distillation: Distillation, *, learning_rate: float, steps: int) -> float:
    """Momentum of the EMA that leaves, at the same strength and metric, the residual that the given teacher leaves after the run.

        >>> import numpy as np
        >>> from tracer import theory
        >>> from tracer.averaging import Beta
        >>> start = 0.3 * np.random.default_rng(0).standard_normal((4, 16))
        >>> problem = theory.Population.named("decades", features=16, embedding=4).problem(start)
        >>> distillation = Distillation(0.9, Beta(0.5, 0.5))
        >>> [round(momentum_of_equal_residual(problem, distillation, learning_rate=0.5, steps=steps), 4) for steps in (100, 300)]
        [0.9797, 0.9924]

    Raises:
        UserError: if no momentum does, or the step size is unstable.
    """
    target = measure(problem, distillation, learning_rate=learning_rate, steps=steps).residual

    def left(rate: float) -> float:
        kernel = Exponential(1 - rate)
        return measure(
            problem, Distillation(distillation.strength, kernel, distillation.metric), learning_rate=learning_rate, steps=steps
        ).residual

    return 1 - _tolerated(left, target, (1e-3 / steps, 1.0), "rate 1 - momentum")


def largest_strength(
    problem: Problem, kernel: Kernel, tolerated: float, *, metric: Metric | str = "data", learning_rate: float, steps: int
) -> float:
    """The largest strength that leaves at most the tolerated residual after a run.

        >>> import numpy as np
        >>> from tracer import theory
        >>> from tracer.averaging import Beta
        >>> start = 0.3 * np.random.default_rng(0).standard_normal((4, 16))
        >>> problem = theory.Population.named("decades", features=16, embedding=4).problem(start)
        >>> round(largest_strength(problem, Beta(0.5, 0.5), tolerated=0.5, learning_rate=0.5, steps=300), 2)
        1.67

    Args:
        problem: what is learned, with its spectrum.
        kernel: the teacher's.
        tolerated: bound on `residual`, between 0 and 1.
        metric, learning_rate, steps: of the run.

    Raises:
        UserError: if even the smallest strength considered leaves more, or the largest less, or a step size is unstable.
    """

    def left(strength: float) -> float:
        distillation = Distillation(strength, kernel, metric)
        return measure(problem, distillation, learning_rate=learning_rate, steps=steps).residual

    bounds = STRENGTHS[0], _stable_strength(problem, kernel, metric, learning_rate)
    return _tolerated(left, tolerated, bounds, "strength")


def smallest_exponent(
    problem: Problem, strength: float, tolerated: float, *, metric: Metric | str = "data", learning_rate: float, steps: int
) -> float:
    """The smallest beta of a power-law teacher, the one that remembers longest, with at most the tolerated residual after a run.

    Args:
        problem, strength: what is learned, and how strong the distillation is.
        tolerated: bound on `residual`, between 0 and 1.
        metric, learning_rate, steps: of the run.

    Raises:
        UserError: if no exponent considered leaves just that residual, or the step size is unstable.
    """

    def left(beta: float) -> float:
        distillation = Distillation(strength, PowerLaw(beta), metric)
        return measure(problem, distillation, learning_rate=learning_rate, steps=steps).residual

    return _tolerated(left, tolerated, EXPONENTS, "exponent")


def _require_stable(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: float) -> None:
    """Refuse a step size at which a student beside a teacher at rest diverges."""
    largest = float(np.min(wma.max_learning_rate(curvature, teacher_curvature)))
    if number("learning_rate", learning_rate, POSITIVE) > largest:
        raise UserError(f"learning_rate {learning_rate:g} is above {largest:g}, the largest at which descent is stable: lower it")


def _stable_strength(problem: Problem, kernel: Kernel, metric: Metric | str, learning_rate: float) -> float:
    """The largest strength, up to a bound, at which the step size is stable for a teacher at rest."""
    weight = Distillation(1.0, kernel, metric).measured_by.matrix(problem)
    room = 2 / number("learning_rate", learning_rate, POSITIVE) - np.linalg.eigvalsh(problem.curvature_matrix)[-1]
    return float(min(STRENGTHS[1], max(STRENGTHS[0], 0.99 * room / np.linalg.eigvalsh(weight)[-1])))


def _tolerated(left: Callable[[float], float], tolerated: float, bounds: tuple[float, float], name: str) -> float:
    """The setting of that name at which a run leaves the tolerated residual."""
    number("the tolerated residual", tolerated, PROPER_SHARE)
    found = _crossing(left, tolerated, bounds)
    if np.isnan(found):
        ends = sorted(map(left, bounds))
        raise UserError(
            f"no {name} between {bounds[0]:g} and {bounds[1]:g} leaves a residual of {tolerated:g} "
            f"(they leave {ends[0]:.3g} to {ends[1]:.3g}): change the tolerated residual or the number of steps"
        )
    return found


def _mode_by_mode(
    left: Callable[[float, float, float], float],
    share: float,
    curvature: ArrayLike,
    teacher_curvature: ArrayLike,
    learning_rate: float,
    steps: int,
    bounds: tuple[float, float],
) -> Array:
    """The setting, in every mode, at which the error left is a share of what the static teacher leaves; NaN where there is none."""
    _require_stable(curvature, teacher_curvature, learning_rate)
    target = number("share", share, PROPER_SHARE) * ema.student(curvature, teacher_curvature, learning_rate, 1.0, steps)

    def match(*mode: float) -> float:
        return _crossing(lambda setting: left(setting, *mode[:2]), mode[2], bounds) if mode[2] else np.nan

    found: Array = np.vectorize(match, otypes=[float])(curvature, teacher_curvature, target)
    return found


def _crossing(left: Callable[[float], float], target: float, bounds: tuple[float, float]) -> float:
    """The setting at which what is left, a monotone function of it, equals the target; NaN if none between the bounds does.

    Settings are tried evenly in their logarithm, and found to a share of 1e-10.
    """

    def excess(log_setting: float) -> float:
        return left(float(np.exp(log_setting))) - target

    low, high = np.log(bounds)
    if np.sign(excess(low)) == np.sign(excess(high)):  # no product, which may underflow
        return np.nan
    return float(np.exp(brentq(excess, low, high, xtol=1e-10)))
