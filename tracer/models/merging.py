"""Merging of weights: WiSE-FT between the pretrained and one fine-tuned model, Model Stock among several."""

import copy
from collections.abc import Sequence
from itertools import combinations
from typing import TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


@torch.no_grad()
def interpolate(anchor: Module, student: Module, coefficient: float) -> Module:
    """WiSE-FT (arXiv 2109.01903): a new module with weights (1 - a) anchor + a student for every saved floating-point tensor.

    The rest is the student's.

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


@torch.no_grad()
def model_stock(anchor: Module, students: Sequence[Module]) -> Module:
    """Model Stock (arXiv 2403.19522): a new module between the pretrained weights and the mean of k fine-tuned ones.

    Each saved floating-point tensor is (1 - t) anchor + t mean(students) at its own t = `stock_ratio`; the rest is the first
    student's. What no student moved stays.

    Args:
        anchor: the pretrained model, from which all students started.
        students: k >= 2 fine-tuned models of its architecture.

    Raises:
        ValueError: if there are fewer than two students: one has no angle to another.
    """
    if len(students) < 2:
        raise ValueError(f"Model Stock merges at least two fine-tuned models, not {len(students)}")
    merged = copy.deepcopy(anchor)  # a student may be compiled
    start, ends = anchor.state_dict(), [student.state_dict() for student in students]
    merged.load_state_dict({k: _stocked(start[k], [end[k] for end in ends]) for k in start})
    return merged


def stock_ratio(moves: Tensor) -> Tensor:
    """t = k cos / (1 + (k - 1) cos) for k flat moves (k, size) away from the pretrained weights; a scalar in [0, 1].

    cos is the mean cosine of the angle between two moves. Moves that point apart (cos < 0) have no part in common, and t is 0.
    """
    count = len(moves)
    unit = moves / torch.linalg.vector_norm(moves, dim=1, keepdim=True).clamp(min=torch.finfo(moves.dtype).tiny)
    cosine = torch.stack([unit[i] @ unit[j] for i, j in combinations(range(count), 2)]).mean().clamp(0, 1)
    return count * cosine / (1 + (count - 1) * cosine)


def _stocked(start: Tensor, ends: Sequence[Tensor]) -> Tensor:
    if not start.is_floating_point():
        return ends[0]
    moves = torch.stack([(end.double() - start.double()).flatten() for end in ends])
    return (start.double() + (stock_ratio(moves) * moves.mean(dim=0)).view_as(start)).to(start.dtype)
