"""Any passive average of a run, made when the run is over from a few that were kept, and how far off it can be.

The student does not see a passive average, so all of them are weighted sums of the same iterates W_0, ..., W_N (at the clock's
updates), whose weights w sum to 1. In the moves of the student, with T_j = w_{j+1} + ... + w_N,

    sum_j w_j W_j = W_0 + sum_{j<N} T_j (W_{j+1} - W_j).

Proof: W_i = W_0 + sum_{j<i} (W_{j+1} - W_j); in the sum over i the move j is counted with the weight of all i > j.

So a combination of kept averages with coefficients c that sum to 1 misses the wanted one by exactly

    sum_j A_j (W_{j+1} - W_j),    A = T of the wanted - sum_p c_p T of the kept average p,

which is at most sum_j |A_j| |W_{j+1} - W_j|, and so at most max |A| times the length of the path, and has the root mean square
(sum_j A_j^2 |W_{j+1} - W_j|^2)^(1/2) if the moves are uncorrelated. None of that needs an iterate, only the lengths of the moves.
`combine` takes the coefficients that minimise this root mean square, together with the rounding of what was kept: a linear least
squares problem in as many numbers as averages were kept.

Source: after EDM2, arXiv 2312.02696 (two averages kept some times, another profile by least squares in the weights). Sums and
lengths of moves in place of weights, and the certificate, are this project's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracer.averaging import Clock, Exponential, Kernel, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.number_checks import NOT_NEGATIVE, Array, number, numbers, whole_number


class Kept(NamedTuple):
    """An average as it was after an update.

    Attributes:
        kernel: its averaging kernel.
        update: which update.
    """

    kernel: Kernel
    update: int


TRACKED: dict[str, Kernel] = {"power_law": PowerLaw(0.5), "uniform": Uniform()}
"""The averages to keep, by name: one leans on the early students, and combinations of both at several times make the others."""
STUDENT = Exponential(0.0)
"""The average that forgets all but the newest student."""
ANCHOR = Kept(Static(), 0)
"""The pretrained weights, as the average they are at the start."""


def times(clock: Clock, count: int) -> list[int]:
    """Updates to keep averages at, `count` of them, that grow like squares; the last is the clock's.

    A student moves most at the beginning of a run. In experiments/averages these times leave a smaller largest error than even or
    geometric ones.

        >>> times(Clock(total_steps=1000), 5)
        [40, 160, 360, 640, 1000]
        >>> times(Clock(total_steps=6), 5)
        [1, 2, 3, 4, 6]

    Raises:
        UserError: if there are fewer updates than that.
    """
    if whole_number("snapshots", count) > clock.updates:
        raise UserError(f"snapshots must be at most the {clock.updates} updates of the run, not {count}")
    chosen: list[int] = []
    for part in range(1, count + 1):
        chosen.append(max(round(clock.updates * (part / count) ** 2), chosen[-1] + 1 if chosen else 1))
    return chosen


class Certificate(NamedTuple):
    """How far a combination is from the average that is wanted, in the units of the moves' lengths.

    Attributes:
        bound: no run with moves of these lengths is further off, but for rounding.
        estimate: the root mean square if the moves are uncorrelated, which those of a real run are not: in experiments/averages the
            error is up to four times that.
        rounding: what the rounding of the kept averages adds, a root mean square too.
        most_negative: the most negative weight of an iterate; 0 where there is none.
    """

    bound: float
    estimate: float
    rounding: float
    most_negative: float


@dataclass(frozen=True)
class Combination:
    """Kept averages put together.

    Attributes:
        coefficients: of the kept averages, (kept,); they sum to 1.
        weights: of the iterates 0 ... N in it, (N + 1,); they sum to 1, and some may be negative.
        deviations: A, by which the wanted average has more of each move, (N,).
    """

    coefficients: Array
    weights: Array
    deviations: Array

    def certificate(self, lengths: ArrayLike, noise: float = 0.0) -> Certificate:
        """How far it is off, for moves of these lengths, and kept averages that are each rounded by `noise` (see `combine`)."""
        off = np.abs(self.deviations) * np.asarray(lengths)
        rounding = noise * float(np.linalg.norm(self.coefficients))
        return Certificate(float(off.sum()), float(np.linalg.norm(off)), rounding, min(0.0, float(self.weights.min())))


def combine(wanted: Kernel, clock: Clock, kept: Sequence[Kept], lengths: ArrayLike, noise: float = 0.0) -> Combination:
    """The combination of kept averages that is nearest to the wanted average after the clock's last update.

        >>> clock = Clock(total_steps=100)
        >>> tracked = [Kept(kernel, update) for kernel in TRACKED.values() for update in times(clock, 4)]
        >>> kept = [ANCHOR, *tracked, Kept(STUDENT, 100)]
        >>> moves = np.full(100, 0.01)  # their lengths: the path has length 1
        >>> combine(Exponential(0.9), clock, kept, moves).certificate(moves).bound < 0.05
        True
        >>> combine(Uniform(), clock, kept[:-1], moves).coefficients.round(6) + 0.0  # it was kept
        array([0., 0., 0., 0., 0., 0., 0., 0., 1.])

    Args:
        wanted: its averaging kernel.
        clock: horizon and update period of the run, which the wanted average has too.
        kept: what there is; the anchor and the last student, which are always at hand, make every combination better.
        lengths: of the student's moves from each update to the next, (N,).
        noise: root mean square by which rounding moved each kept average, in the same units. Without it coefficients may be so
            large that they blow up what rounding left.

    Raises:
        UserError: if nothing was kept, or lengths or noise are negative or not finite.
        ValueError: if there is not one length an update.
    """
    if not kept:
        raise UserError("no average was kept, so there is nothing to combine")
    moves, noise = numbers("lengths", lengths, NOT_NEGATIVE), number("noise", noise, NOT_NEGATIVE)
    if moves.shape != (clock.updates,):
        raise ValueError(f"there must be {clock.updates} lengths, one an update, not {moves.shape}")
    weights = np.stack([_weights(each, clock) for each in kept])
    target = wanted.weights(clock)
    sums, wanted_sums = _later(weights), _later(target)
    # the first coefficient is what the others leave of 1
    free = np.vstack([((sums[1:] - sums[0]) * moves).T, noise * np.eye(len(kept) - 1), np.full((1, len(kept) - 1), -noise)])
    aim = np.concatenate([(wanted_sums - sums[0]) * moves, np.zeros(len(kept) - 1), [-noise]])
    others = np.linalg.lstsq(free, aim, rcond=None)[0]
    coefficients = np.concatenate([[1 - others.sum()], others])
    return Combination(coefficients, coefficients @ weights, wanted_sums - coefficients @ sums)


def _weights(kept: Kept, clock: Clock) -> Array:
    """Weights of the iterates 0 ... N in a kept average; those after it have none."""
    weights = kept.kernel.weights(clock, kept.update)
    return np.pad(weights, (0, clock.updates + 1 - len(weights)))


def _later(weights: Array) -> Array:
    """Sum of the weights after each iterate but the last, along the last axis."""
    sums: Array = np.cumsum(weights[..., :0:-1], axis=-1)[..., ::-1]
    return sums
