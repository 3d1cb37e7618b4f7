"""The recursion of one eigenmode under gradient descent with a moving teacher, for all modes at once.

With W_t = W_0 + Y_t and G the gradient of the undistilled loss at W_0, a mode of curvature sigma and teacher curvature l (strength
times what the metric sees there) obeys

    y_{t+1} = y_t - eta_t (sigma y_t + l (y_t - ybar_t) + g),    ybar_{t+1} = ybar_t + r_{t+1} (y_{t+1} - ybar_t).

It is solved for g = -1 (the *response*, which multiplies -G) and, without g, from y = ybar = 1 (the *decay*, which multiplies an
initial error, and is 1 - sigma times the response). What is stepped is decay, response and the response's gap y - ybar, of which
decay and gap keep their digits as they vanish:

    v_{t+1} = decay_t - l gap_t (plus h v_t),    response_{t+1} = response_t + eta_t v_{t+1},
    decay_{t+1} = decay_t - sigma eta_t v_{t+1},    gap_{t+1} = (1 - r_{t+1}) (gap_t + eta_t v_{t+1}).

Nothing is divided by an eigenvalue, so modes that the data do not see need no special case.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from tracer.averaging import Clock, Kernel
from tracer.errors import UserError
from tracer.number_checks import BELOW_ONE, NOT_NEGATIVE, POSITIVE, Array, number, numbers, real
from tracer.schedules import Schedule, constant


@dataclass(frozen=True)
class Stepping:
    """How gradient descent is stepped, and how its teacher moves.

    Attributes:
        learning_rate: eta, the peak that `schedule` multiplies.
        clock: horizon in steps, and the teacher's update period.
        kernel: the teacher's averaging kernel.
        schedule: multiplier of the learning rate by step.
        heavy_ball: factor h of the velocity v_{t+1} = h v_t + gradient (torch's SGD momentum, without dampening).

    Raises:
        UserError: if the learning rate is not positive and finite, heavy_ball is outside [0, 1), the schedule is one of
            another length, or (in use) it gives what is no multiplier.
    """

    learning_rate: float
    clock: Clock
    kernel: Kernel
    schedule: Schedule = constant
    heavy_ball: float = 0.0

    def __post_init__(self) -> None:
        number("learning_rate", self.learning_rate, POSITIVE)
        number("heavy_ball", self.heavy_ball, BELOW_ONE)
        length = getattr(self.schedule, "total_steps", self.clock.total_steps)
        if length != self.clock.total_steps:
            raise UserError(f"schedule must have the run's {self.clock.total_steps} steps, not {length}")

    @cached_property
    def peak(self) -> float:
        """The largest learning rate of the whole run."""
        return float(np.max(self.learning_rates(self.clock.total_steps)))

    def learning_rates(self, steps: int) -> Array:
        """Learning rates eta_0 ... of the first `steps` steps, (steps,)."""
        multipliers = [self.schedule(step) for step in range(steps)]
        return self.learning_rate * (numbers("the schedule's multiplier", multipliers, NOT_NEGATIVE) if steps else np.zeros(0))

    def rates(self, steps: int) -> Array:
        """The teacher's rate after each of the first `steps` steps, (steps,); 0 where it is not updated."""
        rates = np.zeros(steps)
        period = self.clock.update_every
        updates = np.arange(1, steps // period + 1)
        if len(updates):
            rates[updates * period - 1] = self.kernel.rates(self.clock, updates)
        return rates


class Propagators(NamedTuple):
    """Propagators of every mode at m times, each (m, modes).

    Attributes:
        student_decay, teacher_decay: share of an initial error that is left; 1 at the start.
        student_response, teacher_response: displacement per unit of -G; 0 at the start.
        gap_response: student minus teacher, per unit of -G, accurate relative to itself.
        decay_impulse, response_impulse: sum of eta_s (y_s - ybar_s) over the steps (integral over time in the flow) so far.
    """

    student_decay: Array
    teacher_decay: Array
    student_response: Array
    teacher_response: Array
    gap_response: Array
    decay_impulse: Array
    response_impulse: Array


def propagate(curvatures: Array, teacher_curvatures: Array, stepping: Stepping, steps: Array) -> Propagators:
    """Propagators after each of the given numbers of steps, by the recursion itself: exact for every kernel and schedule.

    Source: theory of moving teachers, this project (the convention of `tracer.training.trainer`).

    Args:
        curvatures: sigma, (modes,).
        teacher_curvatures: l, (modes,).
        stepping: learning rates and teacher.
        steps: integers in [0, total_steps], (m,), in any order.

    Returns:
        Propagators of (m, modes) arrays.

    Raises:
        UserError: if a step lies outside the run, or a mode's numbers are not finite or in arrays of different shapes.
    """
    curvatures, teacher_curvatures = real("curvatures", curvatures), real("teacher_curvatures", teacher_curvatures)
    if (
        curvatures.ndim != 1
        or curvatures.shape != teacher_curvatures.shape
        or not np.isfinite([curvatures, teacher_curvatures]).all()
    ):
        raise UserError(
            "curvatures and teacher_curvatures must be finite and one each for every mode, not "
            f"{curvatures!r:.80} and {teacher_curvatures!r:.80}"
        )
    steps = whole_steps(steps, stepping.clock.total_steps)
    last = int(steps.max(initial=0))
    learning_rates, rates = stepping.learning_rates(last), stepping.rates(last)
    kept = dict.fromkeys(steps.tolist())
    decay, driving, summed = np.ones_like(curvatures), np.zeros((2, len(curvatures))), np.zeros((2, len(curvatures)))
    velocity, gap = driving  # of the response, as views: each step adds the learning rate times both to response and impulse
    if 0 in kept:
        kept[0] = np.stack([decay, gap, *summed])
    for step, (learning_rate, rate) in enumerate(zip(learning_rates.tolist(), rates.tolist(), strict=True), start=1):
        velocity *= stepping.heavy_ball
        velocity += decay
        velocity -= teacher_curvatures * gap
        moved = learning_rate * driving
        summed += moved
        decay -= curvatures * moved[0]
        gap += moved[0]
        gap *= 1 - rate
        if step in kept:
            kept[step] = np.stack([decay, gap, *summed])
    at = np.array([kept[step] for step in steps.tolist()]).reshape(len(steps), 4, len(curvatures))
    decay, gap, response, impulse = at.transpose(1, 0, 2)
    return Propagators(decay, decay + curvatures * gap, response, response - gap, gap, -curvatures * impulse, impulse)


class MatrixRecursion(ABC):
    """The same recursion for whole weight matrices, each kind of loss with a gradient of its own.

        Y_{t+1} = Y_t - eta_t (G_t + (Y_t - Ybar_t) L),   G_t the gradient of the undistilled loss at W_0 + Y_t,   L = strength D.

    It runs in a basis that it is given, and carries the gap itself, which keeps its digits as it vanishes.

    Args:
        gradient: G_0, (k, d), in the basis.
        teacher_curvature: L there, (d, d).
        basis: (d, d), orthonormal, one vector a column.
        stepping: learning rates and teacher.
    """

    def __init__(self, gradient: Array, teacher_curvature: Array, basis: Array, stepping: Stepping) -> None:
        self._gradient, self._teacher_curvature, self._basis, self._stepping = gradient, teacher_curvature, basis, stepping
        self._solve = lru_cache(maxsize=4)(self._run)

    @abstractmethod
    def _gradient_after(self, gradient: Array, student: Array, moved: Array) -> Array:
        """G at the student's displacement, both (k, d) in the basis, which has moved there from where G was the given one."""

    def student(self, times: Array) -> Array:
        return self._solve(tuple(times.tolist()))[:, 0].copy()

    def teacher(self, times: Array) -> Array:
        return self.student(times) - self.gap(times)

    def gap(self, times: Array) -> Array:
        return self._solve(tuple(times.tolist()))[:, 1].copy()

    def impulse(self, times: Array) -> Array:
        return self._solve(tuple(times.tolist()))[:, 2].copy()

    def _run(self, times: tuple[float, ...]) -> Array:
        """Student's displacement, gap and impulse at the given times, (m, 3, k, d)."""
        stepping = self._stepping
        steps = whole_steps(np.array(times), stepping.clock.total_steps)
        last = int(steps.max(initial=0))
        learning_rates, rates = stepping.learning_rates(last), stepping.rates(last)
        state = np.zeros((3, *self._gradient.shape))
        student, gap, impulse = state
        gradient, velocity = self._gradient, np.zeros_like(student)
        kept, wanted = {0: state.copy()}, set(steps.tolist())
        for step in range(last):
            velocity = stepping.heavy_ball * velocity + gradient + gap @ self._teacher_curvature
            moved = -learning_rates[step] * velocity
            impulse += learning_rates[step] * gap
            student += moved
            gradient = self._gradient_after(gradient, student, moved)
            gap += moved
            gap *= 1 - rates[step]
            if step + 1 in wanted:
                kept[step + 1] = state.copy()
        return np.array([kept[step] for step in steps.tolist()]).reshape(-1, *state.shape) @ self._basis.T


class CoupledModes(MatrixRecursion):
    """The recursion for metrics that do not commute with the second moment, in whose eigenbasis it runs.

        G_{t+1} = G_t + (Y_{t+1} - Y_t) K,   K = rho Sigma + mu I,

    so that the gradient keeps its digits as it vanishes.

    Args:
        gradient: G_0, (k, d), in the eigenbasis.
        curvatures: diagonal of K there, (d,).
        teacher_curvature: L there, (d, d).
        eigenvectors: of the second moment, (d, d), one a column.
        stepping: learning rates and teacher.
    """

    def __init__(
        self,
        gradient: Array,
        curvatures: Array,
        teacher_curvature: Array,
        eigenvectors: Array,
        stepping: Stepping,
    ) -> None:
        super().__init__(gradient, teacher_curvature, eigenvectors, stepping)
        self._curvatures = curvatures

    def _gradient_after(self, gradient: Array, student: Array, moved: Array) -> Array:
        return gradient + moved * self._curvatures


def whole_steps(steps: Array, total_steps: int) -> Array:
    """The given numbers of steps as an integer array, (m,).

    Raises:
        UserError: if one is not whole, negative, or beyond the horizon.
    """
    given = np.atleast_1d(real("steps", steps))
    if given.ndim != 1 or not np.all((given == np.floor(given)) & (given >= 0) & (given <= total_steps)):
        raise UserError(f"steps must be whole numbers between 0 and the horizon of {total_steps}, not {np.asarray(steps)!r:.80}")
    return given.astype(int)


def times_within(times: Array, duration: float) -> Array:
    """The times as they are.

    Raises:
        UserError: if one lies outside the run.
    """
    if not np.all((times >= 0) & (times <= duration)):
        raise UserError(f"times must lie between 0 and the duration {duration:g}, not {times!r:.80}")
    return times
