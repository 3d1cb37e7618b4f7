"""Robust fine-tuning of contrastive image-text models (TRACER, arXiv 2605.29380): trainer, teacher and averaging kernels."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracer.training.teacher import Teacher
    from tracer.training.trainer import Trainer

__version__ = "0.1.0"

_LAZY = {
    "Teacher": "tracer.training.teacher",
    "Trainer": "tracer.training.trainer",
    "tracer_loss": "tracer.training.tracer_loss",
}
__all__ = ["Teacher", "Trainer", "__version__", "tracer_loss"]


def __getattr__(name: str) -> object:
    """Import what needs torch only when it is asked for.

    Raises:
        AttributeError: if the package has no such name.
    """
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'tracer' has no attribute {name!r}")
