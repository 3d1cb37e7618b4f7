"""The section `average` of a configuration: what follows the student without being seen by it."""

from typing import Literal

from pydantic import Field

from tracer.averaging import Kernel
from tracer.config.fields import Count, Section, Whole
from tracer.config.strategy import AnyKernel
from tracer.strategies import PRESETS


class AverageSection(Section):
    """A passive average of the student's weights, which does not change the training; by default none is followed."""

    kernel: AnyKernel | None = Field(None, description="its averaging kernel; default: that of averaged, else none is followed")
    as_result: bool = Field(False, description="the result is made of the average and not of what was trained; averaged does so")
    update_every_steps: Count = Field(1, description="optimiser steps between two updates of it")
    buffers: Literal["average", "copy"] = Field("average", description="what it does with batch-norm statistics")
    snapshots: Whole = Field(
        0, description="times in the run at which two averages are kept on disk, from which tracer average makes any other"
    )

    def kernel_of(self, strategy: str) -> Kernel | None:
        """Kernel of the average that a strategy's student is followed by; None where it is followed by none."""
        return self.kernel or PRESETS[strategy].average

    def is_result(self, strategy: str) -> bool:
        """Whether a strategy's result is made of the average."""
        return self.as_result or PRESETS[strategy].average is not None

    def require_use(self, strategy: str, steps: int) -> None:
        """Raises ValueError for settings that cannot be met, or do nothing.

        Args:
            strategy: the run's.
            steps: its own.
        """
        if self == AverageSection():
            return
        if not PRESETS[strategy].trained:
            raise ValueError(f"average is set, but {strategy} takes no steps of its own to follow: remove average")
        kernel = self.kernel_of(strategy)
        if kernel is None and not self.snapshots:
            raise ValueError(f"average is set, but no average of {strategy} is followed: name average.kernel or average.snapshots")
        if kernel is None and self.as_result:
            raise ValueError("average.as_result = true needs the average: name average.kernel")
        updates = steps // self.update_every_steps
        if not updates:
            raise ValueError(f"average.update_every_steps = {self.update_every_steps} exceeds {steps} steps: lower it")
        if self.snapshots > updates:
            raise ValueError(f"average.snapshots = {self.snapshots} exceeds the {updates} updates of the averages: lower it")
