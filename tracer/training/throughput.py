"""How fast a run is, and how much memory it takes."""

import resource
import sys
import time

import torch

from tracer.training import distributed

NAMES = ("images_per_second", "peak_memory_bytes")
"""What no two runs share, of all that is logged."""


class Throughput:
    """Images a second since the last reading, or the start; and the most memory so far.

    Memory is the accelerator's that torch allocated, or what this process had of the machine's where there is none.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count anew, from now."""
        self._images, self._start = 0, time.perf_counter()

    def add(self, images: int) -> None:
        """Count images that have passed the model."""
        self._images += images

    def read(self) -> dict[str, float]:
        """Values by `NAMES`; counting begins anew."""
        seconds = time.perf_counter() - self._start
        read = dict(zip(NAMES, (self._images / seconds, _peak_memory()), strict=True))
        self.restart()
        return read


def _peak_memory() -> int:
    if distributed.device().type != "cpu":
        return torch.accelerator.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
