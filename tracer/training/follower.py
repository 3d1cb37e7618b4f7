"""What follows a student through a run without being seen by it: a passive average, snapshots of averages."""

from typing import Protocol

import torch
from torch import Tensor

from tracer.averaging import Clock


class Follower(Protocol):
    """Anything that reads the student's weights after each step and has a state of its own; a `Teacher` is one.

    Attributes:
        clock: the horizon that it is made for.
    """

    clock: Clock

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Go where the student is."""

    def update(self) -> None:
        """Count one optimiser step. The student, its gradients and the random numbers stay as they are."""

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `load_state_dict` goes on exactly."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a state from `state_dict`."""
