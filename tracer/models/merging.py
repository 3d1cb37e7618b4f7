"""Merging of weights: WiSE-FT between the pretrained and one fine-tuned model; Model Stock and task vectors among several."""

import copy
from collections.abc import Callable, Mapping, Sequence
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
    return _merged(anchor, students, lambda name, moves: stock_ratio(moves))


def add_task_vectors(anchor: Module, students: Sequence[Module], scale: float | Mapping[str, float]) -> Module:
    """A new module with weights anchor + scale mean(student - anchor) for every saved floating-point tensor.

    A task vector is how far fine-tuning moved the weights (arXiv 2212.04089, which scales the sum of k of them: by scale / k).
    Scale 1 is the uniform soup, the mean of the students (2203.05482); a scale for each tensor that grows with its depth is LiNeS
    (see `depth.scales`). The rest is the first student's.

    Args:
        anchor: the pretrained model, from which all students started.
        students: k >= 1 fine-tuned models of its architecture.
        scale: of all tensors, or of each by its name in the state dict.
    """
    return _merged(anchor, students, lambda name, moves: scale[name] if isinstance(scale, Mapping) else scale)


def stock_ratio(moves: Tensor) -> Tensor:
    """t = k cos / (1 + (k - 1) cos) for k flat moves (k, size) away from the pretrained weights; a scalar in [0, 1].

    cos is the mean cosine of the angle between two moves. Moves that point apart (cos < 0) have no part in common, and t is 0.
    """
    count = len(moves)
    unit = moves / torch.linalg.vector_norm(moves, dim=1, keepdim=True).clamp(min=torch.finfo(moves.dtype).tiny)
    cosine = torch.stack([unit[i] @ unit[j] for i, j in combinations(range(count), 2)]).mean().clamp(0, 1)
    return count * cosine / (1 + (count - 1) * cosine)


@torch.no_grad()
def _merged(anchor: Module, students: Sequence[Module], scale: Callable[[str, Tensor], Tensor | float]) -> Module:
    """The anchor and, times a scale of each tensor's name and flat moves (k, size), the mean of the students' moves."""
    merged = copy.deepcopy(anchor)  # a student may be compiled
    start, ends = anchor.state_dict(), [student.state_dict() for student in students]

    def moved(name: str, tensor: Tensor) -> Tensor:
        whole = tensor.double()
        moves = torch.stack([(end[name].double() - whole).flatten() for end in ends])
        return (whole + (scale(name, moves) * moves.mean(dim=0)).view_as(whole)).to(tensor.dtype)

    merged.load_state_dict({name: moved(name, t) if t.is_floating_point() else ends[0][name] for name, t in start.items()})
    return merged
