"""The way of the weights through training, as a function of time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError
from tracer.number_checks import Array, real
from tracer.theory import modal_weights
from tracer.theory.decoupled_modes import DecoupledModes
from tracer.theory.geometry import Geometry, Risk, describe, fitting, forgetting, ood_risk
from tracer.theory.limits import limit
from tracer.theory.matrix_checks import matrix, positive_semidefinite
from tracer.theory.modal_weights import ModalWeights
from tracer.theory.modes import teacher_spectrum
from tracer.theory.problem import LearningProblem, Problem
from tracer.theory.strategies import Posed, Strategy
from tracer.theory.subspace import Subspace


class Solution(Protocol):
    """What a path is computed by: displacements from the start at times (m,), new arrays of (m, k, d) or what reshapes to it."""

    def student(self, times: Array) -> Array: ...

    def teacher(self, times: Array) -> Array: ...

    def gap(self, times: Array) -> Array: ...

    def impulse(self, times: Array) -> Array: ...


@dataclass(frozen=True, eq=False)
class WeightPath(Generic[Posed]):
    """Weights of student and teacher over time.

    Made by `gradient_descent` and `proximal` (time in steps) and by `gradient_flow` (time in learning rate x steps).

    Times are a scalar, giving (k, d), or an array of m times, giving (m, k, d).

    Attributes:
        problem: what is learned.
        posed: the problem as the strategy poses it: its initial weights are where training starts.
        strategy: how it is learned.
        horizon: last time of the run.
        solution: what computes the displacements.
        learning_rate: of gradient descent, if it is constant and the teacher moves at every step; otherwise, and in the flow, None.
        heavy_ball: of gradient descent; 0 in the flow.
    """

    problem: Posed
    posed: Posed
    strategy: Strategy
    horizon: float
    solution: Solution
    learning_rate: float | None = None
    heavy_ball: float = 0.0

    def weights(self, t: ArrayLike) -> Array:
        """The strategy's weights: the student's, or what WiSE-FT makes of them."""
        moved = self._at(self.solution.student, t)
        moved *= self.strategy.interpolation
        moved += self.posed.initial_weights
        return moved

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

    def gap_norm(self, t: ArrayLike) -> Array:
        """|W - Wbar|, a number or (m,)."""
        gaps = self._modal_gaps(t)
        return _norm(self.gap(t), (-2, -1)) if gaps is None else _norm(gaps, -1)

    def force_norm(self, t: ArrayLike) -> Array:
        """|strength (W - Wbar) D|, a number or (m,)."""
        gaps = self._modal_gaps(t)
        if gaps is None:
            return _norm(self.force(t), (-2, -1))
        return _norm(gaps * teacher_spectrum(self.posed, self.strategy.distillation), -1)

    def geometry(self, t: ArrayLike, subspace: Subspace | None = None) -> Geometry[Array]:
        """`describe` of the weights in the problem, numbers or (m,) each.

        Where the modes decouple, this, `forgetting`, `ood_risk` and the norms of gap and force make no weights, so that they cost
        little more than the recursion. Any other subspace than one of eigenvectors, the default, takes the weights themselves.

        Raises:
            UserError: if the path is not of a `Problem`, and as `describe` does.
        """
        problem = _with_moments(self.problem)
        space = problem.task_subspace if subspace is None else fitting(subspace, problem.initial_weights)
        modal = self._modal_weights(t)
        inside = None if modal is None else modal.inside(space)
        if modal is None or inside is None:
            return Geometry(*self._each(t, 6, lambda weights: describe(problem, weights, space)))
        return Geometry(*(value.reshape(np.shape(t)) for value in modal_weights.describe(problem, modal, inside)))

    def forgetting(self, t: ArrayLike, second_moment: Array) -> Array:
        """What the weights have forgotten of the problem's initial ones on inputs of second moment D (d, d), a number or (m,).

        It is 1/2 tr((W - W_0) D (W - W_0)^T), as `theory.forgetting` has it.

        Raises:
            UserError: as that does.
        """
        start, modal = _with_moments(self.problem).initial_weights, self._modal_weights(t)
        moment = positive_semidefinite("second_moment", second_moment, start.shape[1])
        if modal is None:
            return self._each(t, 1, lambda weights: (forgetting(weights, start, moment),)).reshape(np.shape(t))
        return modal_weights.forgetting(modal, start, moment).reshape(np.shape(t))

    def ood_risk(self, t: ArrayLike, ideal: Array, second_moment: Array, subspace: Subspace) -> Risk[Array]:
        """`geometry.ood_risk` of the weights, numbers or (m,) each; arguments and errors as there."""
        ideal = matrix("ideal", ideal, *_with_moments(self.problem).initial_weights.shape)
        moment, modal = positive_semidefinite("second_moment", second_moment, ideal.shape[1]), self._modal_weights(t)
        if modal is None:
            return Risk(*self._each(t, 4, lambda weights: ood_risk(weights, ideal, moment, subspace)))
        risk = modal_weights.ood_risk(modal, ideal, moment, fitting(subspace, ideal))
        return Risk(*(value.reshape(np.shape(t)) for value in risk))

    def limit(self) -> Array:
        """The weights as time grows without bound, (k, d).

        Raises:
            UserError: if there is no closed limit.
        """
        return limit(self.problem, self.strategy, self.learning_rate, self.heavy_ball)

    @property
    def _eigenmodes(self) -> DecoupledModes | None:
        """The solution, if its modes are the eigenvectors of a second moment: then scalars need no weights."""
        posed, solution = self.posed, self.solution
        if isinstance(solution, DecoupledModes) and isinstance(posed, Problem) and solution.basis is posed.eigenvectors:
            return solution
        return None

    def _modal_gaps(self, t: ArrayLike) -> Array | None:
        """|(W - Wbar) v_j| with a sign, in each of such modes, (modes,) or (m, modes)."""
        modes, times = self._eigenmodes, _times(t)
        if modes is None:
            return None
        return (modes.response(np.atleast_1d(times)).gap_response * modes.lengths).reshape(*times.shape, len(modes.lengths))

    def _modal_weights(self, t: ArrayLike) -> ModalWeights | None:
        modes, share = self._eigenmodes, self.strategy.interpolation
        if modes is None:
            return None
        moved = share * modes.response(np.atleast_1d(_times(t))).student_response * modes.lengths
        return ModalWeights(self.posed.initial_weights, moved, modes.directions, modes.basis)

    def _each(self, t: ArrayLike, quantities: int, told: Callable[[Array], tuple[float, ...]]) -> Array:
        """What is told of the weights at each time, (quantities,) or (quantities, m)."""
        found = [told(weights) for weights in self.weights(np.atleast_1d(_times(t)))]
        return np.array(found).reshape(-1, quantities).T.reshape(quantities, *np.shape(t))

    def _force_of(self, gap: Array) -> Array:
        distillation = self.strategy.distillation
        return distillation.strength * gap @ distillation.measured_by.matrix(self.posed)

    def _at(self, displacement: Callable[[Array], Array], t: ArrayLike) -> Array:
        times = _times(t)
        found = displacement(np.atleast_1d(times)).reshape(-1, *self.posed.initial_weights.shape)
        return found[0] if times.ndim == 0 else found


def _with_moments(problem: LearningProblem) -> Problem:
    """The problem, if it is one by whose second moment weights are judged."""
    if not isinstance(problem, Problem):
        raise UserError(f"geometry, forgetting and risk are those of a Problem, not of {type(problem).__name__}")
    return problem


def _times(t: ArrayLike) -> Array:
    times = real("times", t)
    if times.ndim > 1:
        raise UserError(f"times must be a number or an array of one dimension, not of shape {times.shape}")
    return times


def _norm(values: Array, axis: int | tuple[int, int]) -> Array:
    return np.asarray(np.linalg.norm(values, axis=axis))
