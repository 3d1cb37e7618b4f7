"""How a gap falls over a run: fits of the two shapes between which the theory decides."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracer.errors import UserError


class Decay(NamedTuple):
    """A fitted shape.

    Attributes:
        rate: of an exponential, per step; of a power law its exponent. Positive if the gap falls.
        scale: the fitted gap at step 0 of an exponential, at step 1 of a power law.
        deviation: root-mean-square deviation of the fit in the natural logarithm of the gap.
    """

    rate: float
    scale: float
    deviation: float


def exponential(steps: ArrayLike, gaps: ArrayLike) -> Decay:
    """The fit gap = scale exp(-rate step), by least squares of logarithms.

    Args:
        steps: at which gaps were measured, (n,).
        gaps: positive, (n,).

    Raises:
        UserError: if there are fewer than three gaps, or one is not positive.
    """
    return _line(np.asarray(steps, dtype=float), gaps)


def power_law(steps: ArrayLike, gaps: ArrayLike) -> Decay:
    """The fit gap = scale step^-rate, by least squares of logarithms.

    Args:
        steps: positive, (n,).
        gaps: positive, (n,).

    Raises:
        UserError: as `exponential`, and if a step is not positive.
    """
    steps = np.asarray(steps, dtype=float)
    if np.any(steps <= 0):
        raise UserError("a power law starts after step 0: leave that step out of the fit")
    return _line(np.log(steps), gaps)


def _line(positions: np.ndarray, gaps: Sequence[float] | ArrayLike) -> Decay:
    gaps = np.asarray(gaps, dtype=float)
    if len(gaps) < 3 or not np.all(gaps > 0):
        raise UserError("a decay is fitted to at least three gaps, all positive: take more steps, or those before the gap is 0")
    logs = np.log(gaps)
    slope, intercept = np.polyfit(positions, logs, 1)
    deviation = np.sqrt(np.mean((logs - slope * positions - intercept) ** 2))
    return Decay(float(-slope), float(np.exp(intercept)), float(deviation))
