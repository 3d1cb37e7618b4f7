"""The linear theory's account of the last map: what the task's features span, what else lies there, what moved, what it cost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from parts import Parts, accuracies, features, moments, unit

from tracer import theory
from tracer.data.datasets import LabelledImages, Suite
from tracer.models.dual_encoder import Encoder

ENERGIES = (1.0, 0.999, 0.99)
"""Shares of the task features' energy whose leading directions count as the task's."""


@dataclass(frozen=True)
class World:
    """A pretrained model as the linear theory sees it.

    Attributes:
        problem: the last map on the task's training images, their features with a one for the bias; texts frozen.
        parts: the model on the suite.
        suite: what it is judged on.
        moments: second moments of the features by kind of set.
    """

    problem: theory.Problem
    parts: Parts
    suite: Suite
    moments: dict[str, np.ndarray]

    @classmethod
    def of(cls, encoder: Encoder, parts: Parts, training: LabelledImages, suite: Suite) -> "World":
        """The embedding penalty is the one at which the optimum's embeddings are as long as the pretrained ones, on the task."""
        inputs, texts = features(encoder, training), mean_captions(encoder, training)
        problem = theory.Problem.from_pairs(inputs, texts, parts.projection)
        lengths = [np.linalg.norm(inputs @ weights.T) for weights in (theory.optimum(problem), parts.projection)]
        problem = theory.Problem.from_pairs(inputs, texts, parts.projection, embedding_penalty=lengths[0] / lengths[1])
        kinds = {"ID": ("id",), "OOD": tuple(suite.ood), "knowledge": tuple(suite.knowledge)}
        return cls(problem, parts, suite, {kind: moments(parts.trunk, names) for kind, names in kinds.items()})

    def subspaces(self) -> dict[str, theory.Subspace]:
        """The task subspace, whole and by energy."""
        return {f"{energy:g}": self.problem.effective_task_subspace(energy) for energy in ENERGIES}

    def judged(self, weights: np.ndarray) -> dict[str, float]:
        """Accuracies with another last map."""
        return accuracies(self.parts._replace(projection=weights), self.suite)

    def coverage(self) -> dict[str, Any]:
        """Rank of each task subspace, and the share of each kind's feature energy that lies inside it."""
        found: dict[str, Any] = {}
        for name, space in self.subspaces().items():
            inside = {kind: share_inside(space, moment) for kind, moment in self.moments.items()}
            found[name] = {"rank": space.rank, "inside": inside}
        return found

    def profile(self) -> dict[str, list[float]]:
        """Share of each kind's energy inside the leading 1 ... d + 1 eigendirections of the task."""
        basis = self.problem.eigenvectors
        along = {kind: np.sum((moment @ basis) * basis, axis=0) for kind, moment in self.moments.items()}
        return {kind: (np.cumsum(energy) / energy.sum()).round(6).tolist() for kind, energy in along.items()}

    def limits(self) -> dict[str, dict[str, float]]:
        """Accuracies of the linear theory's own limit W* P + W_0 Q, which keeps the orthogonal part to the last digit."""
        target, start = theory.optimum(self.problem), self.problem.initial_weights
        return {name: self.judged(space.task(target) + space.orthogonal(start)) for name, space in self.subspaces().items()}

    def account(self, weights: np.ndarray) -> dict[str, Any]:
        """By task subspace: what a fine-tuned last map kept and changed, and what its change inside or outside alone answers."""
        found: dict[str, Any] = {}
        start = self.problem.initial_weights
        change = weights - start
        for name, space in self.subspaces().items():
            told = theory.describe(self.problem, weights, space)
            off = told.orthogonal_displacement**2 / (told.orthogonal_displacement**2 + told.task_displacement**2)
            found[name] = {"retention": told.retention, "displaced_outside": off, "forgetting": self.forgetting(weights, space)}
            found[name]["inside_alone"] = self.judged(start + space.task(change))
            found[name]["outside_alone"] = self.judged(start + space.orthogonal(change))
        return found

    def forgetting(self, weights: np.ndarray, space: theory.Subspace) -> dict[str, dict[str, float]]:
        """By kind: function-space forgetting over half the pretrained embeddings' mean square, and its parts."""
        start, found = self.problem.initial_weights, {}
        for kind, moment in self.moments.items():
            whole = theory.forgetting(np.zeros_like(start), start, moment)
            risk = theory.ood_risk(weights, start, moment, space)
            found[kind] = {part: value / whole for part, value in risk._asdict().items()}
        return found


def share_inside(space: theory.Subspace, moment: np.ndarray) -> float:
    """tr(P D) / tr(D)."""
    return float(np.sum((moment @ space.basis) * space.basis) / np.trace(moment))


@torch.inference_mode()
def mean_captions(encoder: Encoder, images: LabelledImages) -> np.ndarray:
    """For each image the mean of its captions' unit embeddings, (n, k): with it the loss is that of all pairs."""
    captions = images.captioned().captions
    known = sorted({caption for options in captions for caption in options})
    embedded = dict(zip(known, unit(encoder.model.encode_text(encoder.tokenize(known)).double().numpy()), strict=True))
    return np.stack([np.mean([embedded[caption] for caption in options], axis=0) for options in captions])


def training_loss(scale: float, inputs: np.ndarray, weights: np.ndarray, texts: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of the zero-shot classifier on the task's training images, nats."""
    logits = scale * unit(inputs @ weights.T) @ texts.T
    return float(np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]))
