"""Mode by mode: the setting of a teacher that leaves a given share of the error that the static teacher leaves.

What one setting must be for one mode and what it must be for another shows whether it can serve a spectrum. Source: this project.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from tracer.quantities import PROPER_SHARE, number
from tracer.theory.closed_forms import ema, wma

RATES = 1e-9, 1.0
EXPONENTS = 1e-6, 1e3
_HALVINGS = 50  # of the logarithm's range


def momentum_that_leaves(
    share: float, curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: float, steps: int
) -> np.ndarray:
    """Momentum m of the EMA whose student has, after a run, that share of the error that the static teacher's has.

    Args:
        share: between 0 and 1; the same for all modes.
        curvature, teacher_curvature: sigma and l of the modes, broadcast to (modes,).
        learning_rate: eta.
        steps: length of the run.

    Returns:
        (modes,); NaN where no momentum does, for instance because even fine-tuning alone leaves more of a slow mode.

    Raises:
        UserError: if the share does not lie between 0 and 1.
    """
    static = ema.student(curvature, teacher_curvature, learning_rate, 1.0, steps)
    return 1 - _crossing(
        lambda rate: ema.student(curvature, teacher_curvature, learning_rate, 1 - rate, steps), share, static, RATES
    )


def exponent_that_leaves(
    share: float, curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: float, steps: int
) -> np.ndarray:
    """Exponent beta of the power-law teacher that leaves that share; everything else as in `momentum_that_leaves`."""
    static = ema.student(curvature, teacher_curvature, learning_rate, 1.0, steps)
    return _crossing(lambda beta: wma.student(curvature, teacher_curvature, learning_rate, beta, steps), share, static, EXPONENTS)


def _crossing(
    left: Callable[[np.ndarray], np.ndarray], share: float, static: np.ndarray, bounds: tuple[float, float]
) -> np.ndarray:
    """Where the errors left, falling functions of a setting, cross a share of the static teacher's, by halving all intervals."""
    number("share", share, PROPER_SHARE)
    target = share * static
    low, high = (np.full(np.shape(target), np.log(bound)) for bound in bounds)
    reached = (left(np.exp(high)) < target) & (target < left(np.exp(low)))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = left(np.exp(middle)) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(reached, np.exp(low), np.nan)
