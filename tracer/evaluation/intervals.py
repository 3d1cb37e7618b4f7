"""Means with intervals over seeds."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean and the half-width of its 95 % interval, both in the unit of the values."""

    mean: float
    half_width: float


def interval(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> Interval:
    """Student's t interval of a mean.

    Args:
        values: one per run.
        clusters: what runs share (their pretraining seed, say); runs of a cluster are averaged first, since they do not vary
            independently. Default: every run on its own.

    Returns:
        The interval; of a single cluster the half-width is NaN.
    """
    grouped = defaultdict(list)
    for value, cluster in zip(values, clusters or range(len(values)), strict=True):
        grouped[cluster].append(value)
    means = np.array([np.mean(group) for group in grouped.values()])
    if len(means) < 2:
        return Interval(float(means.mean()), float("nan"))
    quantile = stats.t.ppf(0.975, len(means) - 1)
    return Interval(float(means.mean()), float(quantile * means.std(ddof=1) / np.sqrt(len(means))))
