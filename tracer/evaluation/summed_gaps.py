"""What a teacher's way says of the gaps that it followed, read from the checkpoints of a run.

For any loss, network and optimiser, the gaps after each update, weighted by `Kernel.gap_weights`, sum to the teacher's
displacement, so that the plain sum of an EMA's is m / (1 - m) times the way it has gone, however long the run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tracer.averaging import Clock, Kernel
from tracer.tensor_files import load_tensors


class Budget(NamedTuple):
    """Norms over all parameters, in units of the weights.

    Attributes:
        travelled: |Wbar_T - W_0|.
        summed_gap: |sum of W_n - Wbar_n|, unweighted.
        mismatch: |weighted sum - (Wbar_T - W_0)|: round-off, if the teacher is the kernel's.
    """

    travelled: float
    summed_gap: float
    mismatch: float


def budget(checkpoints: Path, anchor: nn.Module, kernel: Kernel, clock: Clock) -> Budget:
    """Both sides of the identity for a run that kept a checkpoint of every update.

    Args:
        checkpoints: the run's folder of checkpoints.
        anchor: the pretrained model, whose parameters are compared.
        kernel, clock: the teacher's.

    Raises:
        UserError: if an update's checkpoint is missing, or a rate is 1 (such a teacher leaves no gap to sum).
    """
    start = {name: parameter.detach().cpu().double() for name, parameter in anchor.named_parameters()}
    plain, weighted, teacher = _zeros(start), _zeros(start), start
    for update, weight in enumerate(kernel.gap_weights(clock).tolist(), start=1):
        step = update * clock.update_every
        tensors = load_tensors(checkpoints / f"step-{step:08d}.safetensors")
        teacher = {name: tensors[f"teacher.module.{name}"].double() for name in start}
        for name in start:
            gap = tensors[f"student.{name}"].double() - teacher[name]
            plain[name] += gap
            weighted[name] += weight * gap
    way = {name: teacher[name] - start[name] for name in start}
    return Budget(_norm(way), _norm(plain), _norm({name: weighted[name] - way[name] for name in start}))


def _zeros(like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in like.items()}


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.cat([tensor.flatten() for tensor in tensors.values()])))
