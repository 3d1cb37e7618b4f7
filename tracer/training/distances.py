"""How far student, teacher and anchor are apart: in weights, and in what they say of a batch."""

import torch
from torch import Tensor, nn

from tracer.training import losses
from tracer.training.objective import Pairing, trained_parameters


@torch.no_grad()
def distance(model: nn.Module, other: nn.Module) -> Tensor:
    """Euclidean distance of the trained weights of two models of one architecture; a scalar."""
    mine, theirs = trained_parameters(model, other)
    differences = torch._foreach_sub([p.to(o.dtype) for p, o in zip(mine, theirs, strict=True)], theirs)
    length: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(differences)))
    return length


@torch.no_grad()
def batch_kl(pairing: Pairing) -> Tensor:
    """KL(teacher || student) of the batch softmax, mean of both directions; a scalar. The gap that TRACER's figures show."""
    return losses.contrastive_relational(pairing.logits, pairing.teacher_logits)
