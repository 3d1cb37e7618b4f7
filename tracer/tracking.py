"""Where scalars go: a JSONL file always, Accelerate's trackers (TensorBoard, Weights & Biases, ...) on request."""

import json
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from accelerate.tracking import TensorBoardTracker, WandBTracker

from tracer.errors import DISTRIBUTION, UserError
from tracer.storage import write_text

_LOG = logging.getLogger(__name__)


class Tracker(Protocol):
    """Anything that takes scalars by step."""

    def log(self, values: dict[str, Any], step: int) -> Any: ...


PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb"}


def require_installed(names: Sequence[str]) -> None:
    """Refuse services (see `services`) whose package is not there.

    Raises:
        UserError: naming the first.
    """
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise UserError(f"the tracker {name} is not installed: pip install '{DISTRIBUTION}[trackers]', or leave it out")


@contextmanager
def services(names: Sequence[str], folder: Path, resumed_at: int = 0) -> Iterator[list[Tracker]]:
    """Accelerate's trackers by name ("tensorboard", "wandb"), finished at the end, whatever happens before.

    Args:
        names: which.
        folder: they write below it where they write files.
        resumed_at: the step of the checkpoint that the run goes on from; TensorBoard drops what was logged after it.

    Raises:
        UserError: if the package of one is not installed.
    """
    require_installed(names)
    openers = {
        "tensorboard": lambda: TensorBoardTracker("tensorboard", logging_dir=folder, purge_step=resumed_at + 1),
        "wandb": lambda: WandBTracker("tracer", dir=str(folder)),
    }
    with ExitStack() as finishing:
        opened: list[Tracker] = []
        for name in names:
            tracker = openers[name]()
            tracker.start()
            finishing.callback(tracker.finish)
            opened.append(tracker)
        yield opened


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
            write_text(path, "".join(map(_line, kept)))

    def log(self, values: dict[str, Any], step: int) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line({"step": step, **values}))


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, without damaged ones, which are told; of a last one that a crash cut short nothing is said."""
    if not path.exists():
        return []
    lines, damaged = [], []
    written = path.read_bytes().split(b"\n")
    for number, text in enumerate(written, 1):
        try:
            line = json.loads(text)
            if not isinstance(line["step"], int):
                raise TypeError("a step is a number")
            lines.append(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            if number < len(written):  # what follows the last line break is nothing, or cut short
                damaged.append(number)
    if damaged:
        _LOG.warning(f"{path}: line {', '.join(map(str, damaged))} cannot be read, and is left out")
    return lines


def _line(values: dict[str, Any]) -> str:
    """A line of JSON, which has no numbers that are not finite."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
    return json.dumps(finite, allow_nan=False) + "\n"
