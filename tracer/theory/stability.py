"""The largest step size at which gradient descent with a given teacher still converges."""

import numpy as np

from tracer.averaging import Clock, Exponential
from tracer.errors import UserError
from tracer.number_checks import BELOW_ONE, POSITIVE, number, whole_number
from tracer.theory.closed_forms import ema, wma
from tracer.theory.modes import modes_of
from tracer.theory.problem import LearningProblem
from tracer.theory.strategies import Distillation, Strategy

ROUND_OFF = 1e-9
"""By which the computed growth of a mode that stands still may exceed 1."""


def max_learning_rate(
    problem: LearningProblem, strategy: Strategy, *, update_every: int = 1, heavy_ball: float = 0.0, total_steps: int | None = None
) -> float:
    """Constant step size above which the recursion diverges in some mode; infinity where nothing moves.

        2 (1 + h) / (sigma + 2 m l / (1 + m)) for an EMA of (final) momentum m,
        2 (1 + h) / (sigma + l) for teachers whose rate goes to 0 (static, power law, Beta).

    Source: this project.

    Args:
        problem, strategy: what is learned and how.
        update_every: the teacher's update period; above 1, `ema.max_learning_rate` says what is exact (see `resonates`).
        heavy_ball: h.
        total_steps: the horizon, which a momentum given as time constant needs.

    Raises:
        UserError: if such a momentum has no horizon, or update_every or heavy_ball is out of its range.
    """
    whole_number("update_every", update_every)
    number("heavy_ball", heavy_ball, BELOW_ONE)
    if total_steps is not None:
        whole_number("total_steps", total_steps)
    modes = modes_of(strategy.prepare(problem), strategy.distillation)
    momentum = _momentum(strategy.distillation, update_every, total_steps)
    if modes.coupled:
        effective = 1.0 if momentum is None or update_every > 1 else 2 * momentum / (1 + momentum)
        largest = np.linalg.eigvalsh(np.diag(modes.curvatures) + effective * modes.teacher_curvatures)[-1]
        return float(2 * (1 + heavy_ball) / largest) if largest > 0 else np.inf
    each = modes.curvatures, modes.teacher_curvatures
    if modes.curvatures.size == 0:
        return np.inf
    if momentum is None:
        return float(np.min(wma.max_learning_rate(*each, heavy_ball)))
    return float(np.min(ema.max_learning_rate(*each, momentum, update_every, heavy_ball)))


def resonates(problem: LearningProblem, strategy: Strategy, learning_rate: float, clock: Clock, heavy_ball: float) -> bool:
    """Whether a run diverges below `max_learning_rate` because heavy-ball velocity resonates with an EMA's update period.

    Source: this project (`ema.growth`).

    Raises:
        UserError: if learning_rate or heavy_ball is out of its range.
    """
    number("learning_rate", learning_rate, POSITIVE)
    distillation = strategy.distillation
    modes, momentum = (
        modes_of(strategy.prepare(problem), distillation),
        _momentum(distillation, clock.update_every, clock.total_steps),
    )
    if momentum is None or modes.coupled or number("heavy_ball", heavy_ball, BELOW_ONE) == 0 or clock.update_every == 1:
        return False
    growth = ema.growth(modes.curvatures, modes.teacher_curvatures, learning_rate, momentum, clock.update_every, heavy_ball)
    return bool(np.max(growth, initial=0.0) > 1 + ROUND_OFF)


def _momentum(distillation: Distillation, update_every: int, total_steps: int | None) -> float | None:
    """The momentum at which an exponential kernel settles; None for kernels whose rate goes to 0."""
    if not isinstance(distillation.kernel, Exponential):
        return None
    if distillation.kernel.momentum is None and total_steps is None:
        raise UserError("a momentum given as a time constant depends on the horizon: give total_steps")
    try:
        clock = Clock(update_every if total_steps is None else total_steps, update_every)
    except ValueError as error:
        raise UserError(f"{error}") from None
    return 1.0 - distillation.kernel.rate(clock, clock.updates)
