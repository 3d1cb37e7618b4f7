"""What a run of the trainer did to the weights of a linear model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tracer.number_checks import Array


class WeightHistory(NamedTuple):
    """What the trainer did.

    Attributes:
        student, teacher: weights after 0 ... T steps, (T + 1, k, d).
        final: the strategy's own weights at the end, (k, d): the student's, or what WiSE-FT makes of them.
    """

    student: Array
    teacher: Array
    final: Array

    @property
    def gaps(self) -> Array:
        """Student minus teacher after 0 ... T steps, (T + 1, k, d)."""
        return self.student - self.teacher


class Agreement(NamedTuple):
    """Largest relative errors over a run, in the norm of the weights.

    Attributes:
        error: of the theory against the trainer, student or teacher, whichever is worse.
        nothing_moves: of the prediction that student and teacher stay where they start, at the last step.
    """

    error: float
    nothing_moves: float


def deviation(predicted: Array, measured: Array) -> float:
    """Largest relative error of predicted weights (..., k, d), by the norm of the measured ones."""
    size = np.linalg.norm(measured, axis=(-2, -1))
    return float(np.max(np.linalg.norm(predicted - measured, axis=(-2, -1)) / size))


def fitted_order(sizes: Sequence[float], errors: Sequence[float]) -> float:
    """Slope of log error against log size, by least squares: 1 for an error of first order."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])
