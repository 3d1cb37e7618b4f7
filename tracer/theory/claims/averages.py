"""What streaming averages are, what they keep of the pretrained model, and when a teacher follows its student to the limit."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Weighted, streamed
from tracer.theory.claims.tolerances import FOLLOWED


@theorem(TRACER, "Definition 3.3", "Definition C.4", "Remark C.5")
def streaming_average(rng: np.random.Generator) -> Check:
    """A teacher that moves by omega_t = alpha_t over the sum of alpha up to t is the convex combination of all iterates, the
    pretrained one included, with the weights alpha_k over their sum.
    """
    # Random weights over four decades on random iterates; the nulls weigh by the rates, and all alike.
    weights, iterates = 10 ** rng.uniform(-2, 2, 41), rng.standard_normal((41, 3, 7))
    kernel = Weighted(weights)
    measured = streamed(kernel.all_rates, iterates)
    shares = kernel.weights(Clock(40)), np.append(kernel.all_rates, 1) / (kernel.all_rates.sum() + 1)
    predicted, by_rates = (np.tensordot(each, iterates, 1) for each in shares)
    return compare(predicted, measured, by_rates, iterates.mean(axis=0))


@theorem(PROJECT, "Definition 3.3", "Definition C.4")
def clock_offsets(rng: np.random.Generator) -> Check:
    """Progress (k + c_1)/(T + c_2) stays below 1 to the last step if and only if c_1 < c_2: that both are positive, as the paper
    asks, does not keep a kernel such as the arcsine finite.
    """
    # How many iterates have no finite arcsine weight, for c_1 below c_2, equal to it, and above; the null is none.
    steps, second = int(rng.integers(5, 50)), rng.uniform(0.5, 2.0)
    offsets = np.array([second * rng.uniform(0.1, 0.9), second, second + rng.uniform(1.1, 2.9)])
    progress = (np.arange(steps + 1) + offsets[:, None]) / (steps + second)
    density = stats.beta.pdf(progress, 0.5, 0.5)
    measured = np.sum(~np.isfinite(density) | (density <= 0), axis=1)
    return compare(np.where(offsets < second, 0, 1 + np.floor(offsets - second)), measured, 0.0)


@theorem(PROJECT, "Definition 3.3", "Definition C.4", "Algorithm 1")
def anchor_needs_a_first_weight(rng: np.random.Generator) -> Check:
    """The pretrained model keeps the share S_0/S_t of the teacher, S_t being the sum of weights so far: alpha_0 over that sum by
    definition, but nothing if the sum starts at 0, as Algorithm 1 prints it: there the first student becomes the teacher.
    """
    # A Beta kernel by Definition 3.3 and by Algorithm 1; the nulls start both sums alike.
    steps, (a, b) = 30, rng.uniform(0.3, 1.5, 2)
    progress = (np.arange(steps + 1) + 0.5) / (steps + 1)
    weights = progress ** (a - 1) * (1 - progress) ** (b - 1)
    sums = (first + np.cumsum(weights[1:]) for first in (weights[0], 0.0))
    measured = np.stack([streamed(weights[1:] / each, np.eye(steps + 1)) for each in sums])
    defined, printed = Beta(a, b, "pdf").weights(Clock(steps)), np.append(0.0, weights[1:]) / weights[1:].sum()
    return compare(np.stack([defined, printed]), measured, defined, printed, scale=measured[0, 0])


@dataclass(frozen=True)
class _Summable(Kernel):
    """Rates 1 / (n + 1)^2, which add up to less than 1."""

    def rates(self, clock: Clock, updates: np.ndarray) -> np.ndarray:
        return np.asarray(1.0 / (1.0 + updates) ** 2)


@theorem(f"{TRACER} (for an EMA); {PROJECT} (for any rates)", "Section C.5.2")
def teacher_follows_student(rng: np.random.Generator) -> Check:
    """If the student converges and the rates add up to infinity, the teacher goes to the same limit and the gap vanishes, for a WMA
    as for an EMA and at no rate in particular; if their sum is finite, the pretrained model keeps a share for ever.
    """
    # A student that swings about its limit ever less, under three kernels; and one that arrives at once, under summable rates.
    # The nulls are the pretrained model, and that the last teacher follows as well.
    clock = Clock(100_000)
    first, end, swing = rng.standard_normal((3, 5))
    steps = np.arange(1.0, clock.total_steps + 1)
    swings = np.cos(rng.uniform(1, 3) * steps) * (1 + steps) ** -0.75
    kernels = Exponential(rng.uniform(0.5, 0.99)), Uniform(), PowerLaw(rng.uniform(0.8, 2.0)), _Summable()
    measured = []
    for kernel in kernels:
        students = end + np.multiply.outer(0 * swings if isinstance(kernel, _Summable) else swings, swing)
        measured.append(np.tensordot(kernel.weights(clock), np.concatenate([[first], students]), 1))
    kept = (first + end) / 2
    nulls = np.stack([first, first, first, kept]), np.stack([end] * 4)
    return compare(np.stack([end, end, end, kept]), np.stack(measured), *nulls, tolerance=FOLLOWED, scale=np.abs(first - end).max())
