"""The objective: named, weighted terms, giving a loss to optimise and scalars to report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from tracer import losses
from tracer.errors import nearest
from tracer.models.dual_encoder import DualEncoder, Features


class Pairing:
    """One batch as student and teacher embed it. Every matrix of logits is computed at most once and shared by all terms."""

    def __init__(self, student: Features, teacher: Features | None = None):
        self.student = student
        self._teacher = None if teacher is None else Features(*(part.detach() for part in teacher))

    @property
    def teacher(self) -> Features:
        """The teacher's features, without gradient.

        Raises:
            ValueError: if the batch was not shown to a teacher.
        """
        if self._teacher is None:
            raise ValueError("this objective has a distillation term but the run has no teacher: give it one")
        return self._teacher

    @cached_property
    def logits(self) -> Tensor:
        """(n, n), student images against student texts."""
        return self.student.logit_scale * self.student.image @ self.student.text.T

    @cached_property
    def teacher_logits(self) -> Tensor:
        """(n, n), teacher images against teacher texts, at the teacher's logit scale."""
        return self.teacher.logit_scale * self.teacher.image @ self.teacher.text.T

    @cached_property
    def image_to_teacher_text(self) -> Tensor:
        """(n, n), student images against teacher texts, at the student's logit scale."""
        return self.student.logit_scale * self.student.image @ self.teacher.text.T

    @cached_property
    def text_to_teacher_image(self) -> Tensor:
        """(n, n), student texts against teacher images, at the student's logit scale."""
        return self.student.logit_scale * self.student.text @ self.teacher.image.T


FEATURE_TERMS: dict[str, Callable[[Pairing], Tensor]] = {
    "contrastive": lambda pairing: losses.contrastive(pairing.logits),
    "crd": lambda pairing: losses.contrastive_relational(pairing.logits, pairing.teacher_logits),
    "fd": lambda pairing: (
        losses.feature(pairing.student.image, pairing.teacher.image) + losses.feature(pairing.student.text, pairing.teacher.text)
    ),
    "icl": lambda pairing: losses.interactive_contrastive(pairing.image_to_teacher_text, pairing.text_to_teacher_image),
    "cross_kd": lambda pairing: losses.cross_kd(pairing.image_to_teacher_text, pairing.teacher_logits),
}
DISTILLATION_TERMS = frozenset({"crd", "fd", "icl", "cross_kd"})
WEIGHT_TERMS: dict[str, Callable[[DualEncoder, DualEncoder | None], Tensor]] = {
    "l2_sp": lambda model, anchor: losses.squared_distance(*trained_parameters(model, anchor)),
    "cross_projection_norm": lambda model, anchor: losses.cross_projection_norm(*model.projections()),
    "orthogonality": lambda model, anchor: losses.orthogonality(model.projections()[0]),
}


@dataclass(frozen=True)
class Objective:
    """A weighted sum of named terms.

    Attributes:
        weights: weight of each term; the names are those of `FEATURE_TERMS`, `WEIGHT_TERMS`, or "linearised_contrastive".
        embedding_penalty: rho of the linearised contrastive loss.

    Raises:
        ValueError: for an unknown term (naming the nearest), a negative weight, or no term at all.
    """

    weights: Mapping[str, float]
    embedding_penalty: float = 1.0

    def __post_init__(self):
        if not any(self.weights.values()):
            raise ValueError("the objective is empty: give at least one term a weight above zero")
        known = {*FEATURE_TERMS, *WEIGHT_TERMS, "linearised_contrastive"}
        for name, weight in self.weights.items():
            if name not in known:
                raise ValueError(f"unknown objective term {name!r}{nearest(name, known)}")
            if not weight >= 0:
                raise ValueError(f"the weight of {name} must not be negative, and is {weight}")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term compares with a teacher."""
        return any(self.weights.get(name) for name in DISTILLATION_TERMS)

    @property
    def needs_anchor(self) -> bool:
        """Whether any term compares with the pretrained weights."""
        return bool(self.weights.get("l2_sp"))

    def of_features(self, pairing: Pairing) -> dict[str, Tensor]:
        """Unweighted terms that depend on the batch, in the precision of the features; scalars."""
        terms = {name: term(pairing) for name, term in FEATURE_TERMS.items() if self.weights.get(name)}
        if self.weights.get("linearised_contrastive"):
            terms["linearised_contrastive"] = losses.linearised_contrastive(
                pairing.student.image, pairing.student.text, self.embedding_penalty
            )
        return terms

    def of_weights(self, model: DualEncoder, anchor: DualEncoder | None) -> dict[str, Tensor]:
        """Unweighted terms that depend on the model's weights alone; scalars."""
        return {name: term(model, anchor) for name, term in WEIGHT_TERMS.items() if self.weights.get(name)}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the given terms."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()


def trained_parameters(model: nn.Module, anchor: nn.Module | None) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that training changes, and their pretrained values in the same order.

    Raises:
        ValueError: if there is no anchor.
    """
    if anchor is None:
        raise ValueError("the l2_sp term needs the pretrained weights: give the objective an anchor")
    pairs = [(p, a) for p, a in zip(model.parameters(), anchor.parameters(), strict=True) if p.requires_grad]
    return [p for p, _ in pairs], [a for _, a in pairs]
