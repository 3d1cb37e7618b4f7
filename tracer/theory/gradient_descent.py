"""Gradient descent, exactly: what the trainer does on a linear model, computed in the eigenmodes of the problem."""

from functools import partial, singledispatch

from tracer.averaging import Clock
from tracer.errors import UserError
from tracer.schedules import Schedule, constant
from tracer.theory.decoupled_modes import DecoupledModes
from tracer.theory.modes import modes_of
from tracer.theory.path import Solution, WeightPath
from tracer.theory.problem import LearningProblem
from tracer.theory.recursion import CoupledModes, Stepping, propagate
from tracer.theory.stability import max_learning_rate, resonates
from tracer.theory.strategies import Distillation, Posed, Strategy


def gradient_descent(
    problem: Posed,
    strategy: Strategy,
    *,
    learning_rate: float,
    steps: int,
    update_every: int = 1,
    schedule: Schedule = constant,
    heavy_ball: float = 0.0,
    allow_unstable: bool = False,
) -> WeightPath[Posed]:
    """The path of full-batch gradient descent; times are whole numbers of steps.

        W_{t+1} = W_t - eta_t v_{t+1},  v_{t+1} = h v_t + gradient of L at W_t + strength (W_t - Wbar_t) D,
        and then the teacher's update.

    Exact for every kernel, schedule and update period. One eigen-decomposition, then a recursion of scalars per mode (of
    matrices, where the metric does not commute with the second moment).

        >>> import numpy as np
        >>> from tracer import theory
        >>> problem = theory.Problem.from_pairs(np.eye(3), np.eye(3)[:, :2], np.zeros((2, 3)))
        >>> path = theory.gradient_descent(problem, theory.FineTuning(), learning_rate=1.0, steps=200)
        >>> bool(np.allclose(path.weights(200), path.limit()))
        True

    Source: TRACER, arXiv 2605.29380 (the linearised problem and its teachers); the exact recursion: this project.

    Args:
        problem, strategy: what is learned and how; a `Problem`, a `Linearisation`, or the `TowerMaps` of two towers.
        learning_rate: eta, which the schedule multiplies.
        steps: horizon T, which kernels refer to.
        update_every: steps between two teacher updates.
        schedule: multiplier of the learning rate by step.
        heavy_ball: h, SGD's momentum.
        allow_unstable: follow a diverging recursion instead of refusing a step size that is too large.

    Raises:
        UserError: if a number is out of its range, the schedule is of another length, the largest step size is not stable,
            or strategy and problem have no solution together.
    """
    posed, distillation = strategy.prepare(problem), strategy.distillation
    stepping = Stepping(learning_rate, Clock(steps, update_every), distillation.kernel, schedule, heavy_ball)
    solution = descent_of(posed, distillation, stepping, allow_unstable)
    steady = schedule is constant and update_every == 1
    return WeightPath(problem, posed, strategy, steps, solution, learning_rate if steady else None, heavy_ball)


@singledispatch
def descent_of(posed: LearningProblem, distillation: Distillation, stepping: Stepping, allow_unstable: bool) -> Solution:
    """The solution of a problem as the strategy poses it: by modes, or by a function that is registered for its kind.

    Raises:
        UserError: if the problem has none, or the largest step size is not stable.
    """
    if not allow_unstable:
        _require_stable(posed, distillation, stepping)
    modes = modes_of(posed, distillation)
    if modes.coupled:
        return CoupledModes(modes.gradient, modes.curvatures, modes.teacher_curvatures, modes.basis, stepping)
    propagators = partial(propagate, modes.curvatures, modes.teacher_curvatures, stepping)
    return DecoupledModes(modes.gradient, modes.basis, propagators)


def _require_stable(posed: LearningProblem, distillation: Distillation, stepping: Stepping) -> None:
    clock = stepping.clock
    largest = max_learning_rate(
        posed, distillation, update_every=clock.update_every, heavy_ball=stepping.heavy_ball, total_steps=clock.total_steps
    )
    if stepping.peak > largest:
        peak = "" if stepping.schedule is constant else " at the schedule's peak"
        raise UserError(
            f"learning_rate {stepping.peak:g}{peak} is above {largest:g}, the largest at which this strategy is stable: "
            "lower it, or pass allow_unstable=True to see it diverge"
        )
    if stepping.peak > 0 and resonates(posed, distillation, stepping.peak, clock, stepping.heavy_ball):
        raise UserError(
            f"heavy_ball {stepping.heavy_ball:g} resonates with a teacher updated every {clock.update_every} steps and diverges: "
            "lower heavy_ball, update_every or learning_rate, or pass allow_unstable=True to see it"
        )
