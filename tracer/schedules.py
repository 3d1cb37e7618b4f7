"""Schedules: the learning rate's multiplier as a pure function of the step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from tracer.number_checks import whole_number

Schedule = Callable[[int], float]
"""One that has `total_steps` is refused by a trainer whose loop is of another length."""


def constant(step: int) -> float:
    """1 at every step."""
    return 1.0


@dataclass(frozen=True)
class Cosine:
    """See `cosine`.

    Attributes:
        total_steps: the horizon.
        warmup_steps: steps of the warm-up.
    """

    total_steps: int
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        whole_number("total_steps", self.total_steps)
        if whole_number("warmup_steps", self.warmup_steps, least=0) >= self.total_steps:
            raise ValueError(f"warmup_steps must lie in [0, total_steps = {self.total_steps}), not {self.warmup_steps}")

    def __call__(self, step: int) -> float:
        if whole_number("step", step, least=0) > self.total_steps:
            raise ValueError(
                f"step {step} lies beyond the schedule's horizon of {self.total_steps}, where a cosine would rise again"
            )
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)))


def cosine(total_steps: int, warmup_steps: int = 0) -> Cosine:
    """Linear warm-up to 1, then half a cosine down to 0 at the horizon.

    Step t (from 0) gets (t + 1) / warmup_steps while warming up, then (1 + cos(pi (t - warmup) / (total - warmup))) / 2.

        >>> multiplier = cosine(total_steps=10, warmup_steps=2)
        >>> [round(multiplier(step), 2) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.04]

    Raises:
        ValueError: if the warm-up is negative or leaves no step after it, a number is not whole, or (in use) a step is negative or
            lies beyond the horizon.
    """
    return Cosine(total_steps, warmup_steps)
