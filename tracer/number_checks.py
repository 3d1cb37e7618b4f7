"""Numbers that a user gives, each checked against the range in which it means something; a fault is answered with one sentence."""

import math
from collections.abc import Callable
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracer.errors import UserError

Array = NDArray[np.floating[Any]]
"""Real numbers; docstrings say in which shape."""


class Range(NamedTuple):
    """What a number has to be, besides real and finite.

    Attributes:
        words: to follow "must".
        holds: the same of an array, element by element.
    """

    words: str
    holds: Callable[[Any], Any]


FINITE = Range("be finite", np.isfinite)
POSITIVE = Range("be positive and finite", lambda x: x > 0)
NOT_NEGATIVE = Range("be finite and not negative", lambda x: x >= 0)
SHARE = Range("lie in [0, 1]", lambda x: (x >= 0) & (x <= 1))
BELOW_ONE = Range("lie in [0, 1)", lambda x: (x >= 0) & (x < 1))
PROPER_SHARE = Range("lie between 0 and 1", lambda x: (x > 0) & (x < 1))
LEADING_SHARE = Range("lie in (0, 1]", lambda x: (x > 0) & (x <= 1))
WHOLE = Range("be a whole number of at least 0", lambda x: (x >= 0) & (x == np.floor(x)))
COUNT = Range("be a whole number of at least 1", lambda x: (x >= 1) & (x == np.floor(x)))


def number(name: str, value: object, within: Range) -> float:
    """The value as a float.

    Raises:
        UserError: if it is no real number (a boolean is none), not finite, or out of its range.
    """
    if isinstance(value, Real) and not isinstance(value, bool):
        with suppress(OverflowError):  # of a whole number larger than any float
            found = float(value)
            if math.isfinite(found) and within.holds(found):
                return found
    raise UserError(f"{name} must {within.words}, not {value!r:.80}")


def whole_number(name: str, value: object, least: int = 1) -> int:
    """The value as an int.

    Raises:
        UserError: if it is no whole number (a boolean is none), or below the least.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise UserError(f"{name} must be a whole number, not {value!r:.80}")
    if value < least:
        raise UserError(f"{name} must be at least {least}, not {value}")
    return int(value)


def numbers(name: str, values: ArrayLike, within: Range) -> Array:
    """The values as a float64 array of their shape.

    Raises:
        UserError: as `number` does, of any element, and if there is none.
    """
    array = real(name, values)
    if array.size == 0:
        raise UserError(f"{name} must hold at least one number, and has shape {array.shape}")
    faults = ~(np.isfinite(array) & within.holds(array))
    if faults.any():
        raise UserError(f"{name} must {within.words}, not {array[faults][0]:g}")
    return array


def real(name: str, values: ArrayLike) -> Array:
    """The values as a float64 array of their shape, finite or not.

    Raises:
        UserError: if they are no real numbers, or no array.
    """
    return array_of("iuf", name, values, "made of real numbers")


def array_of(kinds: str, name: str, values: object, wanted: str, *, copy: bool = True) -> Array:
    """The values as a float64 array of their shape, if their type is of one of numpy's kinds; without `copy` perhaps themselves.

    Raises:
        UserError: if not; `wanted` follows "must be".
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in kinds:
        raise UserError(f"{name} must be {wanted}, not {type(values).__name__} of type {array.dtype}")
    return array.astype(np.float64, copy=copy)
