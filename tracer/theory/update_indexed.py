"""The published way to index an averaging kernel, for reading published sweeps of the update period."""

from dataclasses import dataclass

import numpy as np

from tracer.averaging import Clock, Kernel
from tracer.errors import UserError
from tracer.number_checks import Array


@dataclass(frozen=True)
class UpdateIndexed(Kernel):
    """A kernel whose n-th update has the rate of step n of the horizon, however many steps lie between two updates.

    Where the teacher moves at every step this is the kernel itself. With a period k the run ends after T / k updates, when only the
    first k-th part of the kernel has been used: its weights follow the start of the density, stretched over the run. The trainer's
    kernels follow progress instead. Source: the published runs of TRACER, arXiv 2605.29380, index their weights so.

    Attributes:
        kernel: the kernel that is indexed.
    """

    kernel: Kernel

    def rates(self, clock: Clock, updates: np.ndarray) -> Array:
        return self.kernel.rates(Clock(clock.total_steps), updates)

    @property
    def summed_rates(self) -> float:
        """The kernel's own.

        Raises:
            UserError: if that is neither 0 nor infinite: of a k-th part of the kernel it is a k-th, and the period is the clock's.
        """
        summed = self.kernel.summed_rates
        if 0 < summed < np.inf:
            raise UserError(f"{self!r} has rates whose sum depends on the update period: run the teacher for as long as you need")
        return summed
