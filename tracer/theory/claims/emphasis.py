"""Which iterates a kernel emphasises: the ends, the newest, or the pretrained model where updates are sparse."""

import numpy as np
from scipy import stats

from tracer.averaging import Beta, Clock, Exponential
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Weighted
from tracer.theory.claims.tolerances import SPARSE, STRETCH


@theorem(PROJECT, "Section C.5.1")
def exponential_kernel(rng: np.random.Generator) -> Check:
    """An exponential kernel that weighs the pretrained model like the rest is the bias-corrected EMA, whose rate (1 - m)/(1 -
    m^(t+1)) starts at 1/(1 + m); an EMA weighs it by 1/(1 - m) times as much.
    """
    # Weights by the published nodes against the average from zero, divided by its weights' sum; the null is an EMA.
    memory, steps = rng.uniform(0.8, 0.95), 40
    kernel, updates = Weighted(memory ** -(np.arange(steps + 1) + 0.5)), np.arange(1, steps + 1)
    corrected, clock = np.zeros(steps + 1), Clock(steps)
    for unit in np.eye(steps + 1):
        corrected = memory * corrected + (1 - memory) * unit
    predicted = np.concatenate([(1 - memory) / (1 - memory ** (updates + 1)), kernel.weights(clock)])
    measured = np.concatenate([kernel.all_rates, corrected / (1 - memory ** (steps + 1))])
    ema = Exponential(memory)
    return compare(predicted, measured, np.concatenate([ema.rates(clock, updates), ema.weights(clock)]))


@theorem(PROJECT, "Section C.5.1")
def arcsine_newest_iterate(rng: np.random.Generator) -> Check:
    """At progress c = sin^2 theta a Beta(1/2, 1/2) average weighs its newest iterate tan(theta)/(2 theta) times the mean, less than
    1 up to c = 0.845: it emphasises both ends only at the end.
    """
    # Weight of the newest iterate over the mean, at random progress and where both are equal; the nulls are always 1, and double.
    kernel, clock = Beta(0.5, 0.5), Clock(100_000)
    updates = np.rint(clock.total_steps * np.array([*rng.uniform(0.1, 0.95, 3), 0.8446])).astype(int)
    measured = np.array([kernel.weights(clock, update)[-1] * (update + 1) for update in updates])
    angles = np.arcsin(np.sqrt(updates / clock.total_steps))
    predicted = np.tan(angles) / (2 * angles)
    return compare(np.append(predicted[:3], 1.0), measured, 1.0, 2 * predicted, tolerance=STRETCH)


@theorem(PROJECT, "Section C.5.1")
def sparse_updates(rng: np.random.Generator) -> Check:
    """Before the end point-sampled Beta(a, b) weights with a < 1 leave the pretrained model all but a share like k^(a-1) where
    updates lie k steps apart, while masses tend to what progress alone decides: only the first feel granularity.
    """
    # Half-way through 20 updates that are 10^6 steps apart; the nulls count steps from 1, and let masses do as points do.
    first, second, updates, period = rng.uniform(0.3, 0.7), rng.uniform(0.3, 1.5), 20, 10**6
    clock, later = Clock(updates * period, period), np.arange(1, updates // 2 + 1)
    points, masses = (Beta(first, second, weighting).anchor_weight(clock, updates // 2) for weighting in ("pdf", "cdf"))
    measured = np.array([period ** (1 - first) * (1 / points - 1), masses])
    rest = np.sum(later ** (first - 1) * (1 - later / updates) ** (second - 1))
    share = np.divide(*stats.beta.cdf([0.5 / updates, (updates // 2 + 0.5) / updates], first, second))
    predicted = np.array([2 ** (first - 1) * rest, share])
    return compare(predicted, measured, [rest, share], [predicted[0], points], tolerance=SPARSE)
