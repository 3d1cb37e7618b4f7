"""What a run of the trainer did to the weights of a linear model."""

from typing import NamedTuple

import numpy as np


class WeightHistory(NamedTuple):
    """What the trainer did.

    Attributes:
        student, teacher: weights after 0 ... T steps, (T + 1, k, d).
        final: the strategy's own weights at the end, (k, d): the student's, or what WiSE-FT makes of them.
    """

    student: np.ndarray
    teacher: np.ndarray
    final: np.ndarray


class Agreement(NamedTuple):
    """Largest relative errors over a run, in the norm of the weights.

    Attributes:
        error: of the theory against the trainer, student or teacher, whichever is worse.
        nothing_moves: of the prediction that student and teacher stay where they start, at the last step.
    """

    error: float
    nothing_moves: float
