"""Snapshots of averages, kept on disk during a run, from which any passive average can be made after it."""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from tracer import synthesis
from tracer.averaging import Clock
from tracer.synthesis import ANCHOR, STUDENT, TRACKED, Kept
from tracer.tensor_files import save_tensors
from tracer.training import distances, distributed
from tracer.training.teacher import BufferPolicy, Teacher

LENGTHS = "lengths.safetensors"


class Snapshots:
    """Two passive averages of a student (see `synthesis.TRACKED`), kept some times, and the length of each of its moves.

    Into its folder go the pretrained weights, start-00000000.safetensors, each average after the steps of `synthesis.times`,
    uniform-00000300.safetensors say, the student after the last update, end-00000300.safetensors, and with the last of them
    lengths.safetensors. Metadata hold `kernel`, `update`, `step`, `total_steps` and `update_every`. Frozen weights are left out,
    and the first process alone writes.

    It takes the memory of three models (both averages and the student as it was), and at an update the time to read and write
    each. Moves are measured over the trained weights, on the student's device, without waiting for it.

    Args:
        student: the module that is trained; it is followed, not changed.
        clock: horizon and update period.
        folder: where to keep them.
        count: how many times.
        buffers: as of `Teacher`.
    """

    def __init__(self, student: nn.Module, clock: Clock, folder: Path, count: int, buffers: BufferPolicy = "average"):
        self.clock, self.folder = clock, folder
        self._times = synthesis.times(clock, count)
        self._averages = {name: Teacher(student, kernel, clock, buffers) for name, kernel in TRACKED.items()}
        self._newest = Teacher(student, STUDENT, clock, buffers)
        self._lengths = torch.zeros(clock.updates, dtype=torch.float64)

    @property
    def parts(self) -> dict[str, Teacher]:
        """The averages by name, the student as it was after the last update among them."""
        return {**self._averages, "end": self._newest}

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Go where the student is."""
        for part in self.parts.values():
            part.to(device, dtype)
        self._lengths = self._lengths.to(device)

    def update(self) -> None:
        """Count one optimiser step, and keep the averages if the time has come."""
        student, step = self._newest.student, self._newest.steps
        if step == 0:
            self._keep("start", self._newest.module, ANCHOR)
        update, follows = (step + 1) // self.clock.update_every, self.clock.updates_at(step + 1)
        if follows:
            self._lengths[update - 1] = distances.distance(student, self._newest.module)
        for part in self.parts.values():
            part.update()
        if follows and update in self._times:
            self._keep_all(update)

    def state_dict(self) -> dict[str, Tensor]:
        """Averages, the student as it was, and lengths; what is on disk is not among them."""
        states = {f"{name}.{key}": tensor for name, part in self.parts.items() for key, tensor in part.state_dict().items()}
        return {"lengths": self._lengths, **states}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a state from `state_dict`; what was kept after it is written again."""
        self._lengths.copy_(state["lengths"])
        for name, part in self.parts.items():
            part.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})

    def nbytes(self) -> int:
        """Bytes of all that it will have kept on disk."""
        one = sum(tensor.nbytes for tensor in self._kept(self._newest.module).values())
        return one * (2 + len(TRACKED) * len(self._times)) + self._lengths.nbytes

    def _keep_all(self, update: int) -> None:
        for name, average in self._averages.items():
            self._keep(name, average.module, Kept(average.kernel, update))
        if update == self.clock.updates:
            self._keep("end", self._newest.module, Kept(STUDENT, update))
            if distributed.is_first():
                save_tensors(self.folder / LENGTHS, {"lengths": self._lengths}, dataclasses.asdict(self.clock))

    def _kept(self, module: nn.Module) -> dict[str, Tensor]:
        frozen = {name for name, weight in self._newest.student.named_parameters() if not weight.requires_grad}
        return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}

    def _keep(self, name: str, module: nn.Module, kept: Kept) -> None:
        if distributed.is_first():
            step = kept.update * self.clock.update_every
            metadata = {"kernel": vars(kept.kernel), "update": kept.update, "step": step}
            path = self.folder / f"{name}-{step:08d}.safetensors"
            save_tensors(path, self._kept(module), metadata | dataclasses.asdict(self.clock))
            for left in self.folder.glob(".*"):  # by a process that was killed while it wrote
                left.unlink()
