"""A model's report over a suite: every set, and the means that fine-tuning methods are compared by."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch

from tracer.data.sets import Suite
from tracer.evaluation.metrics import reliability, scores
from tracer.evaluation.zero_shot import logits
from tracer.models.dual_encoder import Encoder


def evaluate(encoder: Encoder, suite: Suite) -> dict[str, Any]:
    """Judge a model on every set of a suite.

    Returns:
        `sets`: name to the fields of `Scores`; `id`, `ood` and `knowledge`: means over the sets of each kind of accuracy, ece,
        nll and brier (`ood.accuracy` is the field's "mean OOD"); `reliability`: the diagrams of the task and of all OOD images.
    """
    answers = {name: logits(encoder, images) for name, images in suite.sets().items()}
    labels = {name: torch.as_tensor(images.labels) for name, images in suite.sets().items()}
    by_set = {name: asdict(scores(answers[name], labels[name])) for name in answers}
    diagrams = {"id": asdict(reliability(answers["id"], labels["id"]))}
    if suite.ood:
        pooled = torch.cat([answers[n] for n in suite.ood]), torch.cat([labels[n] for n in suite.ood])
        diagrams["ood"] = asdict(reliability(*pooled))
    return {
        "sets": by_set,
        "id": _mean([by_set["id"]]),
        "ood": _mean([by_set[name] for name in suite.ood]),
        "knowledge": _mean([by_set[name] for name in suite.knowledge]),
        "reliability": diagrams,
    }


def _mean(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    parts = list(parts)
    names = ("accuracy", "ece", "nll", "brier")
    return {name: sum(part[name] for part in parts) / len(parts) for name in names} if parts else {}
