"""Means over a Beta distributed Y that solve the recursion of a power-law teacher: E exp(-y Y) and E (1 - x Y)^t, Y ~ Beta(a, b).

They are confluent and Gauss hypergeometric functions in the range where general-purpose routines cancel, overflow or give up.
Here every sum is a mean of positive terms (a Poisson or binomial mixture of rising factorials, or the recursion itself), or an
expansion in 1/y or 1/(x t) that is used only once its terms fall below round-off. An expansion has two parts: a power law from
Y near 0, and an exponentially small companion from Y near 1, which is all that is left as b -> 0.

Source: DLMF 13.2, 13.7, 15.8 for the functions; this project for the mixtures and for the expansion in t at fixed x.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tracer.number_checks import NOT_NEGATIVE, WHOLE, Array, numbers

Mask = NDArray[np.bool_]
_ROUND_OFF = 1e-18


def beta_mean_exponential(a: ArrayLike, b: ArrayLike, y: ArrayLike) -> Array:
    """Mean of exp(-y Y) over Y ~ Beta(a, b).

        E exp(-y Y) = 1F1(a; a + b; -y) = E_{N ~ Poisson(y)} (b)_N / (a + b)_N

    Relative accuracy is about 2e-14 for a and b up to 3, and 1e-12 up to 100, for every y.

    Args:
        a: first parameter, >= 0; 0 puts Y at 0, where the mean is 1.
        b: second parameter, >= 0; 0 puts Y at 1, where it is exp(-y).
        y: what multiplies Y, >= 0. All three broadcast.

    Returns:
        The means in the broadcast shape, from 0 to 1.

    Raises:
        UserError: if a number is negative or not finite.
    """
    a, b, y = np.broadcast_arrays(*(numbers(name, of, NOT_NEGATIVE) for name, of in (("a", a), ("b", b), ("y", y))))
    mixed = y < _expandable_from(a, b)
    return _by_region(
        [
            (a == 0, lambda a, b, y: np.ones_like(a)),
            (mixed, lambda a, b, y: _mixture(a, b, y, lambda n: y / (n + 1))),
            (~mixed, _expanded_exponential),
        ],
        (a, b, y),
    )


def beta_mean_power(a: ArrayLike, b: ArrayLike, x: ArrayLike, t: ArrayLike) -> Array:
    """Mean of (1 - x Y)^t over Y ~ Beta(a, b).

        E (1 - x Y)^t = 2F1(-t, a; a + b; x) = E_{K ~ Binomial(t, x)} (b)_K / (a + b)_K    (the mixture for x <= 1)

    Relative accuracy is about 2e-14 for a and b up to 3, and 1e-12 up to 100, for every t. For x > 1 and a and b up to 3 it is
    relative to the larger of two parts, a power law and an alternating one in (1 - x)^t, between which the mean may pass through
    zero; with larger parameters, absolute.

    Args:
        a: first parameter, >= 0; 0 puts Y at 0, where the mean is 1.
        b: second parameter, >= 0; 0 puts Y at 1, where it is (1 - x)^t.
        x: what multiplies Y, >= 0; above 2 the mean grows with t without bound.
        t: power, a whole number >= 0. All four broadcast.

    Returns:
        The means in the broadcast shape.

    Raises:
        UserError: if a number is negative or not finite, or t not whole.
    """
    parameters = (numbers(name, of, NOT_NEGATIVE) for name, of in (("a", a), ("b", b), ("x", x)))
    a, b, x, t = np.broadcast_arrays(*parameters, numbers("t", t, WHOLE))
    expandable = _expandable_from(a, b)
    few, rare = t < 2 * expandable, x * t < expandable
    return _by_region(
        [
            (a == 0, lambda a, b, x, t: np.ones_like(a)),
            (few, _recursed),
            (rare, lambda a, b, x, t: _mixture(a, b, x * t, lambda k: np.maximum(t - k, 0) / (k + 1) * (x / (1 - x)))),
            (~(few | rare), _expanded_power),
        ],
        (a, b, x, t),
    )


def _by_region(regions: Sequence[tuple[Mask, Callable[..., Array]]], arguments: Sequence[Array]) -> Array:
    """Each region's function on the arguments in its mask; a point in several belongs to the first."""
    values = np.full(arguments[0].shape, np.nan)
    left = np.ones(arguments[0].shape, dtype=bool)
    for mask, function in regions:
        chosen = mask & left
        if chosen.any():
            values[chosen] = function(*(argument[chosen] for argument in arguments))
        left &= ~mask
    return values[()]


def _expandable_from(a: Array, b: Array) -> Array:
    """Where the expansions start, in y or x t: their terms then shrink from the first, and below round-off before they grow."""
    return 50 + 4 * (1 + a) * (1 + b)


def _mixture(a: Array, b: Array, mean: Array, growth: Callable[[int], Array]) -> Array:
    """E (b)_N / (a + b)_N over a count N of the given mean whose probabilities obey P(n + 1) = growth(n) P(n)."""
    weight, factor = np.ones_like(a), np.ones_like(a)
    total, weighted = weight.copy(), weight.copy()
    most = mean.max()
    for n in range(int(most + 9 * np.sqrt(most)) + 25):
        weight = weight * growth(n)
        factor = factor * ((b + n) / (a + b + n))
        total, weighted = total + weight, weighted + weight * factor
        if n % 64 == 0:
            weight, total, weighted = weight / total, 1.0 + 0 * total, weighted / total
    return weighted / total


def _recursed(a: Array, b: Array, x: Array, t: Array) -> Array:
    """E (1 - x Y)^t by the recursion that it solves: the student of a power-law teacher."""
    share = b / (a + b)
    student, teacher, kept = np.ones_like(a), np.ones_like(a), np.ones_like(a)
    for step in range(1, int(t.max()) + 1):
        student = (1 - x) * student + x * share * teacher
        teacher = (step * teacher + (a + b) * student) / (a + b + step)
        kept = np.where(t == step, student, kept)
    return kept


def _expanded_exponential(a: Array, b: Array, y: Array) -> Array:
    whole = special.gammaln(a + b)
    power = np.exp(whole - special.gammaln(b) - a * np.log(y)) * _series(a, 1 - b, lambda n: 1 / y)
    companion = np.exp(whole - special.gammaln(a) - y - b * np.log(y)) * _series(b, 1 - a, lambda n: -1 / y)
    mean: Array = power + special.cosdg(180 * b) * companion
    return mean


def _expanded_power(a: Array, b: Array, x: Array, t: Array) -> Array:
    """The parts of the integral over Y below and above 1 / x; each converges for x > 1 and is its expansion's best for x <= 1."""
    whole = special.gammaln(a + b)
    power = np.exp(whole - special.gammaln(b) - _log_rising(t + 1, a) - a * np.log(x))
    power *= _series(a, 1 - b, lambda n: 1 / (x * (t + a + 1 + n)))
    below_one = np.where(x <= 1, x, 2 - x)  # 1 - below_one is |1 - x|, without round-off
    decay = special.xlog1py(t + b, -below_one)
    with np.errstate(over="ignore"):
        companion = np.exp(whole - special.gammaln(a) - _log_rising(t + 1, b) + decay - b * np.log(x))
    companion *= _series(b, 1 - a, lambda n: (x - 1) / (x * (t + b + 1 + n)))
    mean: Array = power + np.where(x <= 1, special.cosdg(180 * b), 1 - 2 * (t % 2)) * companion
    return mean


def _log_rising(z: Array, shift: Array) -> Array:
    """log Gamma(z + shift) / Gamma(z) by Stirling's series, for z >= 100, where a difference of logarithms would cancel."""
    remainder = _stirling_remainder(z + shift) - _stirling_remainder(z)
    return shift * np.log(z) + ((z + shift - 0.5) * np.log1p(shift / z) - shift) + remainder


def _stirling_remainder(z: Array) -> Array:
    return (1 / 12 - (1 / 360 - 1 / (1260 * z**2)) / z**2) / z


def _series(first: Array, second: Array, argument: Callable[[int], Array]) -> Array:
    """Sum of (first)_n (second)_n / n! times the product of argument(0) ... argument(n - 1), up to its smallest term."""
    term, total = np.ones_like(first), np.ones_like(first)
    n = 0
    while (np.abs(term) > _ROUND_OFF * np.abs(total)).any():
        following = term * ((first + n) * (second + n) / (n + 1) * argument(n))
        term = np.where(np.abs(following) < np.abs(term), following, 0.0)
        total = total + term
        n += 1
    return total
