"""A model's report over a suite: every set, and the means that fine-tuning methods are compared by."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from tracer.data.datasets import Suite
from tracer.errors import UserError
from tracer.evaluation.metrics import METRICS, diagram, reliability, scores, top_answers
from tracer.evaluation.zero_shot import classifier, logits
from tracer.models.dual_encoder import Encoder


def evaluate(encoder: Encoder, suite: Suite, workers: int = 0) -> dict[str, Any]:
    """Judge a model on every set of a suite.

    Args:
        encoder: the model.
        suite: the sets.
        workers: background processes that read images.

    Returns:
        `sets`: name to the fields of `Scores`, with `classes`, how many classes the images show, and `label_space`, among how many
        they are judged; `id`, `ood` and `knowledge`: means over the sets of each kind of accuracy, ece,
        nll, brier and macro_f1 (`ood.accuracy` is the field's "mean OOD"); `reliability`: the diagrams of the task and of all
        OOD images.

    Raises:
        UserError: if an image cannot be read, or answers are not finite.
    """
    return judged(answers(encoder, suite, workers), suite)


def judged(answers: Mapping[str, Tensor], suite: Suite) -> dict[str, Any]:
    """The report of `evaluate` on the logits (n, labels) of each set, by its name."""
    labels = {name: torch.as_tensor(images.labels) for name, images in suite.sets().items()}
    by_set = {
        name: {**asdict(scores(answers[name], labels[name])), "classes": images.labels_shown, "label_space": images.label_space}
        for name, images in suite.sets().items()
    }
    diagrams = {"id": asdict(reliability(answers["id"], labels["id"]))}
    if suite.ood:
        confidence, right = zip(*(top_answers(answers[name], labels[name]) for name in suite.ood), strict=True)
        diagrams["ood"] = asdict(diagram(torch.cat(confidence), torch.cat(right)))
    return {
        "sets": by_set,
        "id": _mean([by_set["id"]]),
        "ood": _mean([by_set[name] for name in suite.ood]),
        "knowledge": _mean([by_set[name] for name in suite.knowledge]),
        "reliability": diagrams,
    }


def answers(encoder: Encoder, suite: Suite, workers: int = 0) -> dict[str, Tensor]:
    """Logits (n, labels) of every set by its name; arguments and errors are those of `evaluate`."""
    classifiers: dict[Any, Tensor] = {}  # one for all sets with the same words
    found = {}
    for name, images in suite.sets().items():
        words = images.class_names, images.templates
        if words not in classifiers:
            classifiers[words] = classifier(encoder, *words)
        found[name] = logits(encoder, images, classes=classifiers[words], workers=workers)
        require_finite(found[name], name)
    return found


def require_finite(answers: Tensor, name: str) -> None:
    """Refuse logits (n, labels) of a set of which some are not finite.

    Raises:
        UserError: that says of how many images.
    """
    broken = int((~answers.isfinite()).any(dim=-1).sum())
    if broken:
        raise UserError(
            f"the model's answers to {broken} of {len(answers)} images of the set {name} are not finite: its weights are"
            " too large to compute with; take others, or train with a lower optimization.learning_rate"
        )


def _mean(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    parts = list(parts)
    return {name: sum(part[name] for part in parts) / len(parts) for name in METRICS} if parts else {}
