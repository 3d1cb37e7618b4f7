"""The state of a run and its checkpoints, one whole file each."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tracer.errors import UserError
from tracer.storage import write_text
from tracer.tensor_files import load_metadata, load_tensors, require_sound, save_tensors
from tracer.training import distributed
from tracer.training.follower import Follower
from tracer.training.randomness import random_state, set_random_state
from tracer.training.run_changes import Identity, changes
from tracer.training.teacher import Teacher

_NAME = re.compile(r"step-(\d{8})\.safetensors")


@dataclass
class Progress:
    """Everything that changes during a run: restoring it makes the rest of the run the same to the last bit."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    teacher: Teacher | None
    step: int = 0
    followers: Mapping[str, Follower] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the run by name."""
        tensors = {f"student.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for follower, part in self._averages().items():
            tensors |= {f"{follower}.{name}": tensor for name, tensor in part.state_dict().items()}
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
            for follower, part in self._averages().items():
                part.load_state_dict(_under(f"{follower}.", tensors))
        except (RuntimeError, KeyError) as error:
            raise UserError("the checkpoint is of another model or strategy: resume with the configuration it came from") from error
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": _optimizer_state(tensors)})
        set_random_state(_under("random.", tensors))
        self.step = step

    def _averages(self) -> dict[str, Follower]:
        """Teacher and followers by name."""
        return {**({"teacher": self.teacher} if self.teacher else {}), **self.followers}


class Checkpoints:
    """The checkpoints of one run, newest last; old ones are removed once a newer one is whole.

    Args:
        folder: where they are; FOLDER.json beside it says from before the first step what the run is.
        identity: what the run is, as JSON has it; a folder of another run is refused. It may become more precise later.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, identity: Identity, keep: int = 2):
        self.folder, self.identity, self.keep = folder, identity, keep
        self._sound: Path | None = None

    @property
    def _begun(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.json")

    def paths(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("*.safetensors") if _NAME.fullmatch(path.name))

    def begin(self) -> None:
        """Write down what the run is, so that another cannot begin in the folder."""
        self._begun.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._begun, json.dumps(self.identity))

    def abandon(self) -> None:
        """Forget a run that has saved nothing: its folder is free for another."""
        if not self.paths():
            self._begun.unlink(missing_ok=True)

    def save(self, progress: Progress) -> None:
        """Save the run as it is now."""
        path = self.folder / f"step-{progress.step:08d}.safetensors"
        save_tensors(path, progress.tensors(), {"step": progress.step, "identity": self.identity})
        # what a kill in the middle of a save left behind, of ours or of safetensors', is of no use to anyone
        for old in (*self.paths()[: -self.keep], *self.folder.glob(".step-*"), *self.folder.glob(".tmp*")):
            old.unlink()

    def step(self) -> int:
        """The step that the run would go on from: that of the newest checkpoint, 0 if there is none.

        Of several processes the first alone reads the checkpoint to its end, so that it finds more (see `distributed.by_first`).

        Raises:
            UserError: if the checkpoint is damaged, or the folder holds another run.
        """
        if not self.paths():
            self._require_same(self._identity_begun(), "the run began", self._begun)
            return 0
        newest = self.paths()[-1]
        metadata = self._metadata(newest)
        self._require_same(metadata["identity"], f"step {metadata['step']} was saved", newest)
        return int(metadata["step"])

    def restore(self, progress: Progress) -> None:
        """Go back to the newest checkpoint, if there is one, in all processes of the run.

        Raises:
            UserError: in all of them, if it is damaged, or the folder holds another run.
        """
        distributed.by_first(self.step)
        step = self.step()
        if step:
            progress.restore(load_tensors(self.paths()[-1]), step)

    def _metadata(self, newest: Path) -> dict[str, Any]:
        """What a checkpoint says of itself, once all of it was found sound."""
        try:
            if self._sound != newest and distributed.is_first():
                require_sound(newest)
                self._sound = newest
            return load_metadata(newest)
        except UserError as error:
            remedy = "go on from the checkpoint before it" if len(self.paths()) > 1 else "begin again"
            raise UserError(f"{error}, or delete it to {remedy}") from error

    def _identity_begun(self) -> Identity | None:
        try:
            begun: Identity = json.loads(self._begun.read_text(encoding="utf-8"))
            return begun
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UserError(f"{self._begun} is damaged ({error}): delete it to begin again") from error

    def _require_same(self, then: Identity | None, when: str, where: Path) -> None:
        if then is not None and (changed := changes(then, json.loads(json.dumps(self.identity)), when)):
            raise UserError(f"{where} is of another run: {changed}; restore what it was, or choose a new output folder")


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer.", tensors).items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    return state
