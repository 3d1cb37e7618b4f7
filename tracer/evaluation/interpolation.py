"""WiSE-FT: interpolation between the pretrained and the fine-tuned weights (arXiv 2109.01903)."""

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def interpolate(anchor: Module, student: Module, coefficient: float) -> Module:
    """A new module with weights (1 - a) anchor + a student for every saved floating-point tensor; the rest is the student's.

    Args:
        anchor: the pretrained model.
        student: the fine-tuned one, of the same architecture.
        coefficient: a in [0, 1].

    Raises:
        ValueError: if a lies outside [0, 1].
    """
    if not 0 <= coefficient <= 1:
        raise ValueError(f"the interpolation coefficient must lie in [0, 1], not {coefficient}")
    mixed = copy.deepcopy(student)
    start, end = anchor.state_dict(), student.state_dict()
    mixed.load_state_dict({k: torch.lerp(start[k].to(v), v, coefficient) if v.is_floating_point() else v for k, v in end.items()})
    return mixed
