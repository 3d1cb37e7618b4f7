"""Whether a disk has room for what a run will keep, asked before the first step and not after hours."""

import shutil
from pathlib import Path

from torch import nn

from tracer.errors import UserError

_GB = 1e9


def require(folder: Path, checkpoint: int, checkpoints: int, weights: int) -> None:
    """Refuse a run whose files would not fit.

    Args:
        folder: where it writes; what is there already is written over.
        checkpoint: bytes of one checkpoint.
        checkpoints: how many are kept; one more is there while it is written.
        weights: bytes of the weights written beside them, at the end and as snapshots.

    Raises:
        UserError: with the figures.
    """
    places = (folder, folder / "checkpoints", folder / "averages")
    there = sum(path.stat().st_size for place in places for path in place.glob("*.safetensors"))
    needed, free = (checkpoints + 1) * checkpoint + weights - there, shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder} needs {needed / _GB:.3g} GB more ({checkpoints + 1} checkpoints of {checkpoint / _GB:.3g} GB, weights of "
            f"{weights / _GB:.3g} GB) and its disk has {free / _GB:.3g} GB free: free some, lower keep_checkpoints, or choose "
            "another output folder"
        )


def size(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
