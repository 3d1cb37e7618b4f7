"""A model taken apart: features below the projection, the projection, the texts' embeddings; and what any mixture answers."""

from collections.abc import Collection, Mapping, Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
import torch

from tracer.data.datasets import LabelledImages, Suite
from tracer.evaluation.zero_shot import classifier
from tracer.models.dual_encoder import Encoder
from tracer.models.last_maps import pooled_features

AT_ONCE = 256
PARTS = ("trunk", "projection", "texts")
Arrays = Mapping[str, np.ndarray]


class Parts(NamedTuple):
    """One model on a suite.

    Attributes:
        trunk: for each set the features that the projection gets, with a one for its bias, (n, d + 1).
        projection: the image tower's last map with its bias as last column, (k, d + 1).
        texts: for each set the class embeddings, (classes, k).
    """

    trunk: Arrays
    projection: np.ndarray
    texts: Arrays


def take_apart(encoder: Encoder, suite: Suite) -> Parts:
    """The parts of an embedded CLIP, in float64."""
    sets = suite.sets()
    texts = {n: unit(classifier(encoder, s.class_names, s.templates).double().numpy()) for n, s in sets.items()}
    return Parts({name: features(encoder, images) for name, images in sets.items()}, last_map(encoder), texts)


def last_map(encoder: Encoder) -> np.ndarray:
    """The image tower's last map with its bias as last column, (k, d + 1)."""
    last = encoder.model.image_tower().get_submodule("attnpool.c_proj")
    return torch.cat([last.get_parameter("weight"), last.get_parameter("bias")[:, None]], dim=1).detach().double().numpy()


def features(encoder: Encoder, images: LabelledImages) -> np.ndarray:
    """Features of a set that the projection gets, with a one for its bias, (n, d + 1)."""
    starts = range(0, len(images), AT_ONCE)
    pooled = [pooled_features(encoder.model, encoder.preprocess(images.images[i : i + AT_ONCE])) for i in starts]
    found = torch.cat(pooled).double().numpy()
    return np.hstack([found, np.ones((len(found), 1))])


def accuracies(parts: Parts, suite: Suite) -> dict[str, float]:
    """Accuracy on the task, and its means over the OOD and the knowledge sets, as `tracer.evaluation.report.evaluate` counts."""
    right = {
        name: float(np.mean(np.argmax(unit(parts.trunk[name] @ parts.projection.T) @ parts.texts[name].T, axis=1) == images.labels))
        for name, images in suite.sets().items()
    }
    return by_kind(right, suite)


def by_kind(values: Mapping[str, float], suite: Suite) -> dict[str, float]:
    """Means over the sets of each kind."""
    kinds = {"ID": ["id"], "OOD": list(suite.ood), "knowledge": list(suite.knowledge)}
    return {kind: float(np.mean([values[name] for name in names])) for kind, names in kinds.items()}


def mixtures(pretrained: Parts, tuned: Parts, suite: Suite) -> dict[str, dict[str, float]]:
    """Accuracies with any of the parts taken from the fine-tuned model and the others from the pretrained one.

    Keys name the fine-tuned parts, joined by " + "; "" is the pretrained model.
    """
    found = {}
    for chosen in product((False, True), repeat=len(PARTS)):
        mixed = Parts(*(end if is_tuned else start for is_tuned, start, end in zip(chosen, pretrained, tuned, strict=True)))
        found[key([part for part, is_tuned in zip(PARTS, chosen, strict=True) if is_tuned])] = accuracies(mixed, suite)
    return found


def key(parts: Collection[str]) -> str:
    """Name of a set of parts."""
    return " + ".join(part for part in PARTS if part in parts)


def shapley(mixed: Mapping[str, Mapping[str, float]], kind: str) -> dict[str, float]:
    """What each part carries of the accuracy lost: its loss when it joins, averaged over the orders in which parts may join."""
    orders = list(permutations(PARTS))
    carried = dict.fromkeys(PARTS, 0.0)
    for order in orders:
        for position, part in enumerate(order):
            before, after = key(order[:position]), key(order[: position + 1])
            carried[part] += (mixed[before][kind] - mixed[after][kind]) / len(orders)
    return carried


def read_by_class_means(parts: Parts, suite: Suite) -> dict[str, float]:
    """Accuracy with class means of the images' own embeddings in place of texts: every second image gives means, the rest answer.

    It needs no agreement with the texts, so that what it loses is lost to the image tower.
    """
    right = {}
    for name, images in suite.sets().items():
        embedded, labels = unit(parts.trunk[name] @ parts.projection.T), images.labels
        means = np.stack([embedded[::2][labels[::2] == label].mean(axis=0) for label in np.unique(labels)])
        answers = np.unique(labels)[np.argmax(embedded[1::2] @ unit(means).T, axis=1)]
        right[name] = float(np.mean(answers == labels[1::2]))
    return by_kind(right, suite)


def moved(pretrained: Parts, tuned: Parts, suite: Suite) -> dict[str, dict[str, float]]:
    """By kind of set: the features' mean squared change over their mean square, and 1 - cosine of the classes' text embeddings."""

    def change(name: str) -> float:
        start = pretrained.trunk[name][:, :-1]
        return float(np.sum((tuned.trunk[name][:, :-1] - start) ** 2) / np.sum(start**2))

    def turned(name: str) -> float:
        return float(1 - np.mean(np.sum(pretrained.texts[name] * tuned.texts[name], axis=1)))

    measures = {"features": change, "texts": turned}
    return {what: by_kind({name: measure(name) for name in suite.sets()}, suite) for what, measure in measures.items()}


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows at length 1."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def moments(trunk: Arrays, names: Sequence[str]) -> np.ndarray:
    """Second moment (d + 1, d + 1) of the features of several sets, each set with the same weight."""
    return np.mean([trunk[name].T @ trunk[name] / len(trunk[name]) for name in names], axis=0)
