"""The way of the weights through training, as a function of time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Generic, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.number_checks import Array, real
from tracer.theory.limits import limit
from tracer.theory.recursion import Propagators
from tracer.theory.strategies import Posed, Strategy


class Solution(Protocol):
    """What a path is computed by: displacements from the start at the given times (m,), (m, k, d) each or what reshapes to it."""

    def student(self, times: Array) -> Array: ...

    def teacher(self, times: Array) -> Array: ...

    def gap(self, times: Array) -> Array: ...

    def impulse(self, times: Array) -> Array: ...


class DecoupledModes:
    """A solution whose modes do not interact: scalars per mode multiply the initial gradient.

    Args:
        gradient: G_0 in the modes, (rows, modes).
        curvatures: of the undistilled loss in each mode, (modes,).
        basis: a column for each mode, (columns, modes), into which displacements turn back; rows x columns is k x d.
        propagate: propagators at the given times.
    """

    def __init__(self, gradient: Array, curvatures: Array, basis: Array, propagate: Callable[[Array], Propagators]) -> None:
        self._gradient, self._curvatures, self._basis = gradient, curvatures, basis
        self._propagate = lru_cache(maxsize=4)(lambda key: propagate(np.array(key)))

    def response(self, times: Array) -> Propagators:
        """Propagators at the given times, (m, modes) each."""
        return self._propagate(tuple(times.tolist()))

    def student(self, times: Array) -> Array:
        return self._displacement(self.response(times).student_response)

    def teacher(self, times: Array) -> Array:
        return self._displacement(self.response(times).teacher_response)

    def gap(self, times: Array) -> Array:
        return self._displacement(self.response(times).gap_response(self._curvatures))

    def impulse(self, times: Array) -> Array:
        return self._displacement(self.response(times).response_impulse)

    def _displacement(self, responses: Array) -> Array:
        moved = -self._gradient * responses[:, None, :]
        (rows, modes), columns = self._gradient.shape, len(self._basis)
        return (moved.reshape(len(moved) * rows, modes) @ self._basis.T).reshape(len(moved), rows, columns)


@dataclass(frozen=True, eq=False)
class WeightPath(Generic[Posed]):
    """Weights of student and teacher over time.

    Made by `gradient_descent` and `proximal` (time in steps) and by `gradient_flow` (time in learning rate x steps).

    Times are a scalar, giving (k, d), or an array of m times, giving (m, k, d).

    Attributes:
        problem: what is learned.
        strategy: how it is learned.
        horizon: last time of the run.
        solution: what computes the displacements.
        learning_rate: of gradient descent, if it is constant and the teacher moves at every step; otherwise, and in the flow, None.
        heavy_ball: of gradient descent; 0 in the flow.
    """

    problem: Posed
    strategy: Strategy
    horizon: float
    solution: Solution
    learning_rate: float | None = None
    heavy_ball: float = 0.0

    @cached_property
    def posed(self) -> Posed:
        """The problem as the strategy poses it: its initial weights are where training starts."""
        return self.strategy.prepare(self.problem)

    def weights(self, t: ArrayLike) -> Array:
        """The strategy's weights: the student's, or what WiSE-FT makes of them."""
        return self.posed.initial_weights + self.strategy.interpolation * self._at(self.solution.student, t)

    def student(self, t: ArrayLike) -> Array:
        """The student's weights, before any interpolation."""
        return self.posed.initial_weights + self._at(self.solution.student, t)

    def teacher(self, t: ArrayLike) -> Array:
        """The teacher's weights."""
        return self.posed.initial_weights + self._at(self.solution.teacher, t)

    def gap(self, t: ArrayLike) -> Array:
        """Student minus teacher, accurate relative to itself however small it has become."""
        return self._at(self.solution.gap, t)

    def force(self, t: ArrayLike) -> Array:
        """The regularising force, strength x gap x D: the distillation's gradient, which the learning rate multiplies."""
        return self._force_of(self.gap(t))

    def impulse(self, t: ArrayLike) -> Array:
        """The force summed over the steps before t, each times its learning rate (in the flow, its integral up to t)."""
        return self._force_of(self._at(self.solution.impulse, t))

    def limit(self) -> Array:
        """The weights as time grows without bound, (k, d).

        Raises:
            UserError: if there is no closed limit.
        """
        return limit(self.problem, self.strategy, self.learning_rate, self.heavy_ball)

    def _force_of(self, gap: Array) -> Array:
        distillation = self.strategy.distillation
        return distillation.strength * gap @ distillation.measured_by.matrix(self.posed)

    def _at(self, displacement: Callable[[Array], Array], t: ArrayLike) -> Array:
        times = real("times", t)
        if times.ndim > 1:
            raise UserError(f"times must be a number or an array of one dimension, not of shape {times.shape}")
        found = displacement(np.atleast_1d(times)).reshape(-1, *self.posed.initial_weights.shape)
        return found[0] if times.ndim == 0 else found
