"""The two eigenvalues of a mode with an exponential teacher, and whatever would cancel if it were computed from them.

Steps have factors theta_plus >= m >= theta_minus, flow has rates slow <= fast; each pair may nearly coincide, lie next to 1 (or 0),
or be raised to the power of a long run. Source: this project.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tracer.number_checks import NOT_NEGATIVE, POSITIVE, SHARE, Array, numbers
from tracer.theory.closed_forms.ratio import ratio


@dataclass(frozen=True)
class Factors:
    """What student and teacher are multiplied by per step.

    Attributes:
        plus, minus: theta_plus in [0, 1], theta_minus.
        left_plus, left_minus: 1 - theta_plus, 1 - theta_minus.
        distance: theta_plus - theta_minus.
        lift: (theta_plus - m) / (1 - m).
    """

    plus: Array
    minus: Array
    left_plus: Array
    left_minus: Array
    distance: Array
    lift: Array

    def plus_power(self, steps: Array) -> Array:
        """theta_plus^t."""
        return _power(self.plus, self.left_plus, steps)

    def minus_power(self, steps: Array) -> Array:
        """theta_minus^t."""
        return _power(self.minus, self.left_minus, steps)

    def power_difference(self, steps: Array) -> Array:
        """(theta_plus^t - theta_minus^t) / (theta_plus - theta_minus); t theta^(t - 1) where they coincide."""
        plus, minus = self.plus_power(steps), self.minus_power(steps)
        distinct = self.distance > 0
        apart = np.where(distinct, (plus - minus) / np.where(distinct, self.distance, 1), steps == 1)
        share = np.divide(self.distance, self.plus, out=np.ones_like(self.plus), where=self.plus > 0)
        close = share < 0.5
        share = np.where(close, share, 0.5)
        powers = np.where(share > 0, -np.expm1(steps * np.log1p(-share)) / np.where(share > 0, share, 1), steps)
        return np.where(close, plus / np.where(close, self.plus, 1) * powers, apart)


@dataclass(frozen=True)
class Rates:
    """How fast student and teacher decay in gradient flow.

    Attributes:
        slow, fast: rates of decay, >= 0.
        distance: fast - slow.
        lift: fast - sigma.
    """

    slow: Array
    fast: Array
    distance: Array
    lift: Array

    def exponential_difference(self, time: Array) -> Array:
        """(e^{-slow s} - e^{-fast s}) / (fast - slow); s e^{-slow s} where they coincide."""
        difference: Array = np.exp(-self.slow * time) * time * special.exprel(-self.distance * time)
        return difference


def factors(curvature: ArrayLike, teacher_curvature: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike) -> Factors:
    """Factors of one step with sigma, l, eta and m.

    Relative to m they are the roots of z^2 - d z - (1 - m) m b with d = a - m + (1 - m) b: of opposite sign, so that the larger
    comes from the quadratic formula and the smaller from their product, without cancellation.

    Raises:
        UserError: if a number is out of its range.
    """
    curvature, teacher_curvature, learning_rate, momentum = np.broadcast_arrays(
        numbers("curvature", curvature, NOT_NEGATIVE),
        numbers("teacher_curvature", teacher_curvature, NOT_NEGATIVE),
        numbers("learning_rate", learning_rate, POSITIVE),
        numbers("momentum", momentum, SHARE),
    )
    data, held, rate = learning_rate * curvature, learning_rate * teacher_curvature, 1 - momentum
    difference = rate - data - momentum * held
    distance = np.hypot(difference, 2 * np.sqrt(rate * momentum * held))
    larger = (np.abs(difference) + distance) / 2
    smaller = ratio(rate * momentum * held, larger)
    rising = difference >= 0
    above, below = np.where(rising, larger, smaller), np.where(rising, smaller, larger)
    plus, left_minus = momentum + above, rate + below
    return Factors(
        plus=plus,
        minus=np.where(plus > 0, ratio((1 - data - held) * momentum, plus), -below)[()],
        left_plus=ratio(rate * data, left_minus),
        left_minus=left_minus,
        distance=distance,
        lift=np.where(rising, ratio(above, rate), ratio(momentum * held, below))[()],
    )


def rates(curvature: ArrayLike, teacher_curvature: ArrayLike, teacher_rate: ArrayLike) -> Rates:
    """Rates of the flow with sigma, l and the teacher's speed gamma; raises as `factors` does."""
    curvature, teacher_curvature, teacher_rate = np.broadcast_arrays(
        numbers("curvature", curvature, NOT_NEGATIVE),
        numbers("teacher_curvature", teacher_curvature, NOT_NEGATIVE),
        numbers("teacher_rate", teacher_rate, NOT_NEGATIVE),
    )
    difference = curvature + teacher_curvature - teacher_rate
    distance = np.hypot(difference, 2 * np.sqrt(teacher_rate * teacher_curvature))
    larger = (np.abs(difference) + distance) / 2
    above_total = np.where(difference > 0, ratio(teacher_rate * teacher_curvature, larger), larger)
    fast = curvature + teacher_curvature + above_total
    return Rates(slow=ratio(teacher_rate * curvature, fast), fast=fast, distance=distance, lift=teacher_curvature + above_total)


def _power(root: Array, left: Array, steps: Array) -> Array:
    """root^steps with left = 1 - root: for roots near 1 from left, whose digits the root has lost."""
    return np.where(left < 0.5, np.exp(steps * np.log1p(-np.minimum(left, 0.5))), root**steps)
