"""Which iterates a kernel emphasises: the ends, the newest, or the pretrained model where updates are sparse."""

import numpy as np
from scipy import optimize, stats

from tracer.averaging import Beta, Clock, Exponential, Kernel
from tracer.theory.claims.averages import Weighed
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.tolerances import SPARSE, STRETCH


def emphasis(kernel: Kernel, clock: Clock, update: int) -> np.ndarray:
    """Weights of the first, the middle and the newest iterate in the teacher after an update, over their mean weight, (3,).

    >>> published = Beta(0.5, 0.5, "pdf")
    >>> [emphasis(published, Clock(1000), update).round(2).tolist() for update in (250, 500, 900, 1000)]
    [[10.9, 0.74, 0.56], [14.43, 0.74, 0.64], [16.25, 0.73, 1.21], [14.42, 0.64, 14.42]]
    """
    weights = kernel.weights(clock, update)
    return weights[[0, update // 2, -1]] * len(weights)


@theorem(PROJECT, "Section C.5.1")
def exponential_kernel(rng: np.random.Generator) -> Check:
    """An exponential kernel that weighs the pretrained model like the rest is the bias-corrected EMA, whose rate (1 - m)/(1 -
    m^(t+1)) starts at 1/(1 + m); an EMA weighs it by 1/(1 - m) times as much.
    """
    # An exponential of progress, sampled at the published nodes, and the average from zero divided by its weights' sum.
    #
    # The nulls are an EMA, and its teacher.
    memory, steps = rng.uniform(0.8, 0.95), 40
    nodes = (np.arange(steps + 1) + 0.5) / (steps + 1)
    kernel, clock, updates = Weighed(np.exp(-np.log(memory) * (steps + 1) * nodes)), Clock(steps), np.arange(1, steps + 1)
    rates = kernel.rates(clock, updates)
    corrected, units = np.zeros(steps + 1), np.eye(steps + 1)
    for unit in units:
        corrected = memory * corrected + (1 - memory) * unit
    corrected /= 1 - memory ** (steps + 1)
    ema = Exponential(memory)
    predicted = np.concatenate([(1 - memory) / (1 - memory ** (updates + 1)), kernel.weights(clock)])
    null = np.concatenate([ema.rates(clock, updates), ema.weights(clock)])
    return compare(predicted, np.concatenate([rates, corrected]), null)


@theorem(PROJECT, "Section C.5.1")
def arcsine_newest_iterate(rng: np.random.Generator) -> Check:
    """At progress c = sin^2 theta a Beta(1/2, 1/2) average weighs its newest iterate tan(theta)/(2 theta) times the mean, less than
    1 up to c = 0.845: it emphasises both ends only at the end.
    """
    # At random progress, and where the newest iterate begins to weigh more than the mean; the nulls are the mean, and the end.
    kernel, clock = Beta(0.5, 0.5), Clock(100_000)
    crossing = float(np.sin(optimize.brentq(lambda angle: np.tan(angle) - 2 * angle, 0.5, 1.5)) ** 2)
    updates = np.rint(clock.total_steps * np.array([*rng.uniform(0.1, 0.95, 3), crossing])).astype(int)
    measured = np.array([emphasis(kernel, clock, update)[-1] for update in updates])
    angles = np.arcsin(np.sqrt(updates / clock.total_steps))
    return compare(np.tan(angles) / (2 * angles), measured, 1.0, emphasis(kernel, clock, clock.total_steps)[-1], tolerance=STRETCH)


@theorem(PROJECT, "Section C.5.1")
def sparse_updates(rng: np.random.Generator) -> Check:
    """Before the end point-sampled Beta(a, b) weights with a < 1 leave the pretrained model all but a share like k^(a-1) where
    updates lie k steps apart, while masses tend to what progress alone decides: only the first feel granularity.
    """
    # Half-way through 20 updates that are 10^6 steps apart; the nulls count steps from 1, and let masses do as points do.
    #
    # >>> kernels = Beta(0.5, 0.5, "pdf"), Beta(0.5, 0.5, "cdf")
    # >>> [[round(kernel.mean_age(Clock(25_000, k), 12_500 // k), 3) for k in (1, 10, 100, 500)] for kernel in kernels]
    # [[0.318, 0.325, 0.379, 0.45], [0.318, 0.318, 0.318, 0.315]]
    first, second, updates, period = rng.uniform(0.3, 0.7), rng.uniform(0.3, 1.5), 20, 10**6
    clock, later = Clock(updates * period, period), np.arange(1, updates // 2 + 1)
    points, masses = (Beta(first, second, weighting).anchor_weight(clock, updates // 2) for weighting in ("pdf", "cdf"))
    measured = np.array([period ** (1 - first) * (1 / points - 1), masses])
    rest = later ** (first - 1) * (1 - later / updates) ** (second - 1)
    share = np.divide(*stats.beta.cdf([0.5 / updates, (updates // 2 + 0.5) / updates], first, second))
    predicted = np.array([2 ** (first - 1) * rest.sum(), share])
    return compare(predicted, measured, [rest.sum(), share], [predicted[0], points], tolerance=SPARSE)
