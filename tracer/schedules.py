"""Schedules: the learning rate's multiplier as a pure function of the step."""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(step: int) -> float:
    """1 at every step."""
    return 1.0


def cosine(total_steps: int, warmup_steps: int = 0) -> Schedule:
    """Linear warm-up to 1, then half a cosine down to 0 at the horizon.

    Step t (from 0) gets (t + 1) / warmup_steps while warming up, then (1 + cos(pi (t - warmup) / (total - warmup))) / 2.

        >>> multiplier = cosine(total_steps=10, warmup_steps=2)
        >>> [round(multiplier(step), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]

    Raises:
        ValueError: if the warm-up is negative or leaves no step after it.
    """
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must lie in [0, total_steps = {total_steps}), not {warmup_steps}")

    def multiplier(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (total_steps - warmup_steps)))

    return multiplier
