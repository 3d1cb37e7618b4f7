"""The objective: named, weighted terms, giving a loss to optimise and scalars to report."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from tracer.errors import UserError, nearest
from tracer.models.dual_encoder import DualEncoder, Features
from tracer.training import losses


class Pairing:
    """One batch as student and teacher embed it. Every matrix of logits is computed at most once and shared by all terms.

    Args:
        student: its features.
        teacher: the teacher's, if it was shown the batch.
        replayed: features of whatever the student is held to on replay images and texts; None: the teacher's.
    """

    def __init__(self, student: Features, teacher: Features | None = None, replayed: Features | None = None):
        self.student = student
        self._teacher = None if teacher is None else teacher.each(Tensor.detach)
        self._replayed = self._teacher if replayed is None else replayed.each(Tensor.detach)

    @property
    def teacher(self) -> Features:
        """The teacher's features, without gradient.

        Raises:
            ValueError: if the batch was not shown to a teacher.
        """
        return self._given(self._teacher)

    @property
    def replayed(self) -> Features:
        """Features that hold the student's on replay images and texts, without gradient.

        Raises:
            ValueError: if no other model was shown the batch.
        """
        return self._given(self._replayed)

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

    @property
    def replay_images(self) -> tuple[Tensor, Tensor]:
        """Embeddings of the replay images, (m, k), the student's and those that it is held to.

        Raises:
            UserError: if the batch has none.
        """
        return self._both("replay_fd", "images", self.student.replay, self.replayed.replay)

    @property
    def replay_texts(self) -> tuple[Tensor, Tensor]:
        """Embeddings of the replay texts, (b, k), the student's and those that it is held to.

        Raises:
            UserError: if the batch has none.
        """
        return self._both("replay_text_fd", "texts", self.student.replay_text, self.replayed.replay_text)

    @property
    def replay_logits(self) -> tuple[Tensor, Tensor]:
        """(m, b), replay images against replay texts, the student's and those that it is held to, each at its own logit scale."""
        scales = self.student.logit_scale, self.replayed.logit_scale
        parts = zip(scales, self.replay_images, self.replay_texts, strict=True)
        student, kept = (scale * images @ texts.T for scale, images, texts in parts)
        return student, kept

    @property
    def bank_logits(self) -> tuple[Tensor, Tensor]:
        """(n, b), the student's and the teacher's images against the replay texts, texts and logit scale being the teacher's."""
        _, texts = self.replay_texts
        bank = self.teacher.logit_scale * texts.T
        return self.student.image @ bank, self.teacher.image @ bank

    @staticmethod
    def _given(features: Features | None) -> Features:
        if features is None:
            raise ValueError("this objective has a distillation term but the run has no teacher: give it one")
        return features

    @staticmethod
    def _both(term: str, what: str, student: Tensor | None, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        if student is None or kept is None:
            raise UserError(f"the {term} term compares embeddings of replay {what} and the batch has none: give it some")
        return student, kept


FEATURE_TERMS: dict[str, Callable[[Pairing], Tensor]] = {
    "contrastive": lambda pairing: losses.contrastive(pairing.logits),
    "classification": lambda pairing: losses.classification(
        pairing.student.logit_scale * pairing.student.image, pairing.student.text
    ),
    "linearised_contrastive": lambda pairing: losses.linearised_contrastive(pairing.student.image, pairing.student.text),
    "embedding_norm": lambda pairing: losses.embedding_norm(pairing.student.image),
    "crd": lambda pairing: losses.contrastive_relational(pairing.logits, pairing.teacher_logits),
    "fd": lambda pairing: (
        losses.feature(pairing.student.image, pairing.teacher.image) + losses.feature(pairing.student.text, pairing.teacher.text)
    ),
    "replay_fd": lambda pairing: losses.feature(*pairing.replay_images),
    "replay_text_fd": lambda pairing: losses.feature(*pairing.replay_texts),
    "replay_crd": lambda pairing: losses.similarity_relational(*pairing.replay_logits),
    "lipsum": lambda pairing: losses.feature(*pairing.bank_logits) / 2,  # as in its authors' code
    "icl": lambda pairing: losses.interactive_contrastive(pairing.image_to_teacher_text, pairing.text_to_teacher_image),
    "cross_kd": lambda pairing: losses.cross_kd(
        pairing.image_to_teacher_text, pairing.text_to_teacher_image, pairing.teacher_logits
    ),
}
PROJECTION_TERMS = ("cross_projection_norm", "orthogonality")  # penalties on the towers' last linear maps
REPLAY_TERMS = frozenset({"replay_fd", "replay_text_fd", "replay_crd"})
DISTILLATION_TERMS = REPLAY_TERMS | {"crd", "fd", "icl", "cross_kd", "lipsum", "l2_teacher"}
WEIGHT_TERMS: dict[str, Callable[[DualEncoder, DualEncoder | None, DualEncoder | None], Tensor]] = {
    "l2_sp": lambda model, anchor, teacher: losses.squared_distance(*trained_parameters(model, anchor)),
    "l2_teacher": lambda model, anchor, teacher: losses.squared_distance(*trained_parameters(model, teacher)),
    "cross_projection_norm": lambda model, anchor, teacher: losses.cross_projection_norm(*model.projections()),
    "product_norm": lambda model, anchor, teacher: losses.product_norm(*model.projections()),
    "orthogonality": lambda model, anchor, teacher: losses.orthogonality(model.projections()[0]),
}


@dataclass(frozen=True)
class Objective:
    """A weighted sum of named terms.

    Attributes:
        weights: weight of each term; the names are those of `FEATURE_TERMS` and `WEIGHT_TERMS`.
        replay_target: what the student is held to on replay images and texts: its teacher, or its anchor, the pretrained model.

    Raises:
        ValueError: for an unknown term (naming the nearest), a negative weight, or no term at all.
    """

    weights: Mapping[str, float]
    replay_target: Literal["teacher", "anchor"] = "teacher"

    def __post_init__(self) -> None:
        if not any(self.weights.values()):
            raise ValueError("the objective is empty: give at least one term a weight above zero")
        known = {*FEATURE_TERMS, *WEIGHT_TERMS}
        for name, weight in self.weights.items():
            if name not in known:
                raise ValueError(f"unknown objective term {name!r}{nearest(name, known)}")
            if not weight >= 0:
                raise ValueError(f"the weight of {name} must not be negative, and is {weight}")

    @property
    def needs_teacher(self) -> bool:
        """Whether any term compares with a teacher."""
        return self._uses(DISTILLATION_TERMS - REPLAY_TERMS if self.replays_anchor else DISTILLATION_TERMS)

    @property
    def compares_features(self) -> bool:
        """Whether any term compares embeddings with a teacher's."""
        compared = DISTILLATION_TERMS & set(FEATURE_TERMS)
        return self._uses(compared - REPLAY_TERMS if self.replays_anchor else compared)

    @property
    def replays_anchor(self) -> bool:
        """Whether any term compares embeddings of replay images or texts with the pretrained model's."""
        return self.replay_target == "anchor" and self._uses(REPLAY_TERMS)

    @property
    def needs_anchor(self) -> bool:
        """Whether any term compares with the pretrained model or its weights."""
        return self._uses({"l2_sp"}) or self.replays_anchor

    def of_features(self, pairing: Pairing) -> dict[str, Tensor]:
        """Unweighted terms that depend on the batch, in the precision of the features; scalars."""
        return {name: term(pairing) for name, term in FEATURE_TERMS.items() if self.weights.get(name)}

    def of_weights(self, model: DualEncoder, anchor: DualEncoder | None, teacher: DualEncoder | None) -> dict[str, Tensor]:
        """Unweighted terms that depend on weights alone, the model's and those of its anchor and teacher; scalars.

        Raises:
            ValueError: if a term compares with an anchor or teacher that is None.
        """
        return {name: term(model, anchor, teacher) for name, term in WEIGHT_TERMS.items() if self.weights.get(name)}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the given terms."""
        return torch.stack([self.weights[name] * value for name, value in terms.items()]).sum()

    def _uses(self, names: Collection[str]) -> bool:
        return any(self.weights.get(name) for name in names)


def trained_parameters(model: nn.Module, other: nn.Module | None) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that training changes, and another model's values of them, without gradient, in the same order.

    Raises:
        ValueError: if there is no other model.
    """
    if other is None:
        raise ValueError(
            "there is no model to compare the weights with: give the l2_sp term an anchor, the l2_teacher term a teacher"
        )
    pairs = [(p, o.detach()) for p, o in zip(model.parameters(), other.parameters(), strict=True) if p.requires_grad]
    return [p for p, _ in pairs], [o for _, o in pairs]
