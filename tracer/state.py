"""The state of a run and its checkpoints, one whole file each."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracer.errors import UserError
from tracer.storage import load_metadata, load_tensors, save_tensors
from tracer.teacher import Teacher

_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass
class Progress:
    """Everything that changes during a run: restoring it makes the rest of the run the same to the last bit."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    teacher: Teacher | None
    step: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the run by name."""
        tensors = {f"student.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.teacher is not None:
            tensors |= {f"teacher.{name}": tensor for name, tensor in self.teacher.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if value is not None}
        return tensors | {f"random.{device}": state for device, state in random_state().items()}

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Put the tensors back.

        Raises:
            UserError: if they belong to another model.
        """
        try:
            self.model.load_state_dict(_under("student.", tensors))
            if self.teacher is not None:
                self.teacher.load_state_dict(_under("teacher.", tensors))
        except (RuntimeError, KeyError) as error:
            raise UserError("the checkpoint is of another model or strategy: resume with the configuration it came from") from error
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": _optimizer_state(tensors)})
        set_random_state(_under("random.", tensors))
        self.step = step


class Checkpoints:
    """The checkpoints of one run, newest last; old ones are removed once a newer one is whole.

    Args:
        folder: where they are.
        identity: what the run is (its configuration, say); a checkpoint of another run is refused.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], keep: int = 2):
        self.folder, self.identity, self.keep = folder, json.loads(json.dumps(identity)), keep

    def paths(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("*.safetensors") if _NAME.fullmatch(path.name))

    def save(self, progress: Progress) -> None:
        """Save the run as it is now."""
        path = self.folder / f"step-{progress.step:08d}.safetensors"
        save_tensors(path, progress.tensors(), {"step": progress.step, "identity": self.identity})
        # what a kill in the middle of a save left behind, of ours or of safetensors', is of no use to anyone
        for old in (*self.paths()[: -self.keep], *self.folder.glob(".step-*"), *self.folder.glob(".tmp*")):
            old.unlink()

    def step(self) -> int:
        """The step that the run would go on from: that of the newest checkpoint, 0 if there is none.

        Raises:
            UserError: if the checkpoint is damaged, or another configuration wrote it.
        """
        if not self.paths():
            return 0
        newest = self.paths()[-1]
        try:
            metadata = load_metadata(newest)
        except UserError as error:
            raise UserError(f"{error}, or delete it to go on from the checkpoint before it") from error
        changed = _differences(self.identity, metadata.get("identity", {}))
        if changed:
            raise UserError(
                f"{newest} was written with other settings ({'; '.join(changed)}): restore them, or choose a new output folder"
            )
        return metadata["step"]

    def restore(self, progress: Progress) -> None:
        """Go back to the newest checkpoint, if there is one.

        Raises:
            UserError: if it is damaged, or another configuration wrote it.
        """
        step = self.step()
        if step:
            progress.restore(load_tensors(self.paths()[-1]), step)


def random_state() -> dict[str, Tensor]:
    """State of torch's generators by device."""
    return {"cpu": torch.get_rng_state(), **({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})}


def set_random_state(state: dict[str, Tensor]) -> None:
    """Put torch's generators back; a device that this machine lacks is passed over."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    return state


def _differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return [] if ours == theirs else [f"{path} was {theirs!r} and is {ours!r}"]
    keys = sorted({*ours, *theirs})
    return [d for key in keys for d in _differences(ours.get(key), theirs.get(key), f"{path}.{key}".lstrip("."))]
