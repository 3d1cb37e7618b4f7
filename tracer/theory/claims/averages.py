"""What streaming averages are, what they keep of the pretrained model, and when a teacher follows its student to the limit."""

import numpy as np
from scipy import stats

from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.tolerances import FOLLOWED


class Weighed(Kernel):
    """The streaming average of given weights, one for each iterate from the pretrained one on."""

    def __init__(self, weights: np.ndarray):
        self.given = weights

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return (self.given / np.cumsum(self.given))[updates]


def streamed(rates: np.ndarray, iterates: np.ndarray) -> np.ndarray:
    """The last teacher, from the first iterate on."""
    teacher = iterates[0]
    for rate, iterate in zip(rates, iterates[1:], strict=True):
        teacher = (1 - rate) * teacher + rate * iterate
    return teacher


class Summable(Kernel):
    """Rates 1 / (n + 1)^2, which add up to less than 1."""

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + updates) ** 2


@theorem(TRACER, "Definition 3.3", "Definition C.4", "Remark C.5")
def streaming_average(rng: np.random.Generator) -> Check:
    """A teacher that moves by omega_t = alpha_t over the sum of alpha up to t is the convex combination of all iterates, the
    pretrained one included, with the weights alpha_k over their sum.
    """
    # Random weights over four decades on random iterates; the nulls weigh by the rates, and all alike.
    steps = 40
    weights, iterates = 10 ** rng.uniform(-2, 2, steps + 1), rng.standard_normal((steps + 1, 3, 7))
    kernel, clock = Weighed(weights), Clock(steps)
    rates = kernel.rates(clock, np.arange(1, steps + 1))
    predicted = np.stack([np.tensordot(shares, iterates, 1) for shares in (kernel.weights(clock), weights / weights.sum())])
    measured = streamed(rates, iterates)
    nulls = np.tensordot(np.append(rates, 1) / (rates.sum() + 1), iterates, 1), iterates.mean(axis=0)
    return compare(predicted, np.stack([measured] * 2), *nulls)


@theorem(PROJECT, "Definition 3.3", "Definition C.4")
def clock_offsets(rng: np.random.Generator) -> Check:
    """Progress (k + c_1)/(T + c_2) stays below 1 to the last step if and only if c_1 < c_2: that both are positive, as the paper
    asks, does not keep a kernel such as the arcsine finite.
    """
    # How many iterates have no finite arcsine weight, for c_1 below c_2, equal to it, and above; the null is none.
    steps, second = int(rng.integers(5, 50)), rng.uniform(0.5, 2.0)
    offsets = second * rng.uniform(0.1, 0.9), second, second + rng.uniform(1.1, 2.9)
    measured = []
    for first in offsets:
        progress = (np.arange(steps + 1) + first) / (steps + second)
        density = stats.beta.pdf(progress, 0.5, 0.5)
        measured.append(np.sum(~np.isfinite(density) | (density <= 0)))
    predicted = [0 if first < second else 1 + np.floor(first - second) for first in offsets]
    return compare(np.array(predicted), np.array(measured), 0.0)


@theorem(PROJECT, "Definition 3.3", "Definition C.4", "Algorithm 1")
def anchor_needs_a_first_weight(rng: np.random.Generator) -> Check:
    """The pretrained model keeps the share S_0/S_t of the teacher, S_t being the sum of weights so far: alpha_0 over that sum by
    definition, but nothing if the sum starts at 0, as Algorithm 1 prints it: there the first student becomes the teacher.
    """
    # A Beta kernel by Definition 3.3 and by Algorithm 1; the nulls start both sums alike.
    steps, (a, b) = 30, rng.uniform(0.3, 1.5, 2)
    kernel, progress = Beta(a, b, "pdf"), (np.arange(steps + 1) + 0.5) / (steps + 1)
    weights = progress ** (a - 1) * (1 - progress) ** (b - 1)
    shares = []
    for first in (weights[0], 0.0):
        rates = weights[1:] / (first + np.cumsum(weights[1:]))
        shares.append(streamed(rates, np.eye(steps + 1)))
    defined, printed = kernel.weights(Clock(steps)), np.append(0.0, weights[1:]) / weights[1:].sum()
    return compare(np.stack([defined, printed]), np.stack(shares), defined, printed, scale=shares[0][0])


@theorem(f"{TRACER} (for an EMA); {PROJECT} (for any rates)", "Section C.5.2")
def teacher_follows_student(rng: np.random.Generator) -> Check:
    """If the student converges and the rates add up to infinity, the teacher goes to the same limit and the gap vanishes, for a WMA
    as for an EMA and at no rate in particular; if their sum is finite, the pretrained model keeps a share for ever.
    """
    # A student that swings about its limit ever less, under EMA, uniform mean and power law; and one that arrives at once.
    #
    # The latter's teacher has the summable rates. The nulls are the pretrained model, and that this teacher follows as well.
    clock = Clock(100_000)
    steps = np.arange(clock.total_steps + 1.0)
    first, end, swing = rng.standard_normal((3, 3, 7))
    swings = np.cos(rng.uniform(1, 3) * steps) * (1 + steps) ** -0.75
    students = end + np.multiply.outer(swings, swing)
    students[0] = first
    arrived = np.concatenate([[first], np.broadcast_to(end, (clock.total_steps, 3, 7))])
    kernels = Exponential(rng.uniform(0.5, 0.99)), Uniform(), PowerLaw(rng.uniform(0.8, 2.0))
    measured = [np.tensordot(kernel.weights(clock), students, 1) for kernel in kernels]
    measured.append(np.tensordot(Summable().weights(clock), arrived, 1))
    kept = (first + end) / 2
    return compare(
        np.stack([end, end, end, kept]),
        np.stack(measured),
        np.stack([first, first, first, kept]),
        np.stack([end] * 4),
        scale=np.abs(first - end).max(),
        tolerance=FOLLOWED,
    )
