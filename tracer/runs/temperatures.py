"""The temperature that was fitted to a model, in a file beside its weights: open_clip, which loads those, never looks at it."""

import json
import math
from pathlib import Path

from tracer.errors import UserError
from tracer.storage import json_text, name_for, write_text


def place(weights: Path, head: Path | None = None) -> Path:
    """Where the temperature of weights, and of a head on them, is kept: its name tells their content, so that no others get it."""
    return weights.parent / f"{name_for('temperature', weights, head)}.json"


def save(path: Path, temperature: float) -> None:
    """Keep a temperature."""
    write_text(path, json_text({"temperature": temperature}))


def load(path: Path) -> float:
    """A temperature that was kept.

    Raises:
        UserError: if the file holds none.
    """
    try:
        temperature = float(json.loads(path.read_text(encoding="utf-8"))["temperature"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        temperature = math.nan
    if not (temperature > 0 and math.isfinite(temperature)):
        raise UserError(f"{path} holds no temperature: delete it, or run tracer calibrate again")
    return temperature
