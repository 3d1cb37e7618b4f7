"""What tells the folder of a run from others, and that no other model takes the place of its weights."""

from pathlib import Path

from tracer.errors import UserError
from tracer.models import clip

CONFIGURATION = "config.yaml"


def require_room_beside(folder: Path) -> None:
    """Refuse a folder for a model made from runs in which `clip.save_folder` would replace a run's weights, or foreign ones.

    Raises:
        UserError: if the folder holds a run, or as `clip.require_room` does.
    """
    if (folder / CONFIGURATION).exists():
        raise UserError(f"{folder} holds a run, whose weights would be replaced: choose another folder by --output")
    clip.require_room(folder)
