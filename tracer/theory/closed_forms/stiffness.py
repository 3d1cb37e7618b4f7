"""How one eigenmode divides its stiffness between the data and the teacher; the closed forms of every teacher are written in it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracer.number_checks import COUNT, NOT_NEGATIVE, POSITIVE, Array, numbers
from tracer.theory.closed_forms.ratio import ratio


class Stiffness(NamedTuple):
    """What drives a mode's student, in arrays of one shape.

    Attributes:
        total: c = sigma + l.
        data_share: q = sigma / c.
        teacher_share: p = l / c, computed as such, so that it keeps its digits when it is small; 1 where c is 0.
    """

    total: Array
    data_share: Array
    teacher_share: Array


def stiffness(curvature: ArrayLike, teacher_curvature: ArrayLike) -> Stiffness:
    """c = sigma + l and its shares q = sigma / c, p = l / c; a mode that nothing drives (c = 0) counts as the teacher's.

    Args:
        curvature: sigma >= 0.
        teacher_curvature: l >= 0, in a shape that broadcasts with it.

    Raises:
        UserError: if a number is negative or not finite.
    """
    curvature, teacher_curvature = np.broadcast_arrays(
        numbers("curvature", curvature, NOT_NEGATIVE), numbers("teacher_curvature", teacher_curvature, NOT_NEGATIVE)
    )
    total = curvature + teacher_curvature
    return Stiffness(total, ratio(curvature, total)[()], ratio(teacher_curvature, total, 1.0)[()])


def learning_rate_per_update(
    curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, update_every: ArrayLike
) -> Array:
    """Step size that takes student and teacher from one update to the next in one step, where they take k steps.

        eta_k = (1 - (1 - eta c)^k) / c;   k eta where c is 0

    While the teacher rests, the student's distance to p times its teacher shrinks by 1 - eta c per step. So the closed forms of
    `ema` and `wma` with this step size, and updates in place of steps, hold for any update period. Source: this project.

    Args:
        curvature, teacher_curvature: sigma, l >= 0.
        learning_rate: eta > 0.
        update_every: k >= 1. All broadcast.

    Raises:
        UserError: if a number is out of its range.
    """
    total, learning_rate = stiffness(curvature, teacher_curvature).total, numbers("learning_rate", learning_rate, POSITIVE)
    x, k = np.broadcast_arrays(learning_rate * total, numbers("update_every", update_every, COUNT))
    slow = x < 0.5
    taken = np.where(slow, -np.expm1(k * np.log1p(-np.where(slow, x, 0))), 1 - (1 - x) ** k)
    return np.where(total > 0, taken / np.where(total > 0, total, 1), k * learning_rate)[()]
