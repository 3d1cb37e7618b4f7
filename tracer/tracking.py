"""Where scalars go: a JSONL file always, Accelerate's trackers (TensorBoard, Weights & Biases, ...) on request."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from accelerate.tracking import TensorBoardTracker, WandBTracker

from tracer.errors import UserError


class Tracker(Protocol):
    """Anything that takes scalars by step."""

    def log(self, values: dict[str, Any], step: int) -> Any: ...


def services(names: Sequence[str], folder: Path) -> list[Tracker]:
    """Accelerate's trackers by name ("tensorboard", "wandb"), writing below `folder` where they write files.

    Raises:
        UserError: if the package of one is not installed.
    """
    openers = {
        "tensorboard": lambda: TensorBoardTracker("tensorboard", logging_dir=folder),
        "wandb": lambda: WandBTracker("tracer", dir=str(folder)),
    }
    opened: list[Tracker] = []
    for name in names:
        try:
            tracker = openers[name]()
            tracker.start()
        except ImportError as error:
            raise UserError(f"the tracker {name} is not installed ({error}): install tracer with its extra 'trackers'") from error
        opened.append(tracker)
    return opened


class JsonLines:
    """One JSON object a line, each with its `step`; a resumed run first drops the lines past the step it resumes from.

    Args:
        path: the file; it is made at the first line.
        resumed_at: the step of the checkpoint that the run goes on from.
    """

    def __init__(self, path: Path, resumed_at: int = 0):
        self.path = path
        kept = [line for line in read(path) if line["step"] <= resumed_at]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            temporary = path.with_name(f".{path.name}")
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            os.replace(temporary, path)

    def log(self, values: dict[str, Any], step: int) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that a crash cut short is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
