"""The modes into which a quadratic loss and its teacher fall: one scalar equation each, or coupled where the metric mixes them."""

from functools import singledispatch
from typing import NamedTuple

from tracer.errors import UserError
from tracer.number_checks import Array
from tracer.theory.problem import LearningProblem, Problem
from tracer.theory.strategies import Distillation


class Modes(NamedTuple):
    """Directions in which the curvature of the undistilled loss is diagonal.

    Attributes:
        gradient: of the undistilled loss at the initial weights, in the modes, (rows, modes).
        curvatures: sigma of the undistilled loss, (modes,).
        teacher_curvatures: l, strength times the metric, (modes,); a matrix (modes, modes) where the metric couples the modes.
        basis: a column for each mode, (columns, modes). Displacements (rows, modes) times its transpose are those of the weights.
    """

    gradient: Array
    curvatures: Array
    teacher_curvatures: Array
    basis: Array

    @property
    def coupled(self) -> bool:
        """Whether the teacher couples the modes."""
        return self.teacher_curvatures.ndim == 2


@singledispatch
def modes_of(posed: LearningProblem, distillation: Distillation) -> Modes:
    """The modes of a problem, as a strategy poses it, under the strategy's distillation; one function for each kind of problem.

    Raises:
        UserError: if the problem has none, its loss not being quadratic, or none in this metric.
    """
    raise UserError(
        f"{type(posed).__name__} does not fall into linear modes, so that it has no closed form of gradient descent: "
        "use gradient_flow, or limit, or run gradient_descent on TowerMaps"
    )


@modes_of.register
def _(posed: Problem, distillation: Distillation) -> Modes:
    metric, basis = distillation.measured_by, posed.eigenvectors
    spectrum = metric.spectrum(posed)
    if spectrum is not None:
        return Modes(posed.initial_modes, posed.curvatures, distillation.strength * spectrum, basis)
    turned = basis.T @ (distillation.strength * metric.matrix(posed)) @ basis
    return Modes(posed.initial_modes, posed.curvatures, turned, basis)


def teacher_spectrum(problem: LearningProblem, distillation: Distillation) -> Array:
    """Curvatures l_j = strength D_j that a teacher adds to the loss, mode by mode, (modes,).

    Raises:
        UserError: if the teacher couples the modes, and as `modes_of` does.
    """
    found = modes_of(problem, distillation)
    if found.coupled:
        raise UserError(
            "the metric is not diagonal in the second moment's eigenvectors, so it has no value per mode: "
            "use gradient_descent, which follows it"
        )
    return found.teacher_curvatures
