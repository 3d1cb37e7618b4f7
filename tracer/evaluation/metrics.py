"""Accuracy and calibration of probabilities over a whole data set."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor

METRICS = ("accuracy", "ece", "nll", "brier", "macro_f1")
"""What of a set's scores is averaged over sets, and compared between models."""
BINS = 15


@dataclass(frozen=True)
class Scores:
    """What one set of images says of a model; all in units of 1 (not percent).

    Attributes:
        accuracy: share of right top-1 answers.
        ece: expected calibration error over the whole set, 15 equal-width bins, L1. A mean of per-batch values would be biased
            upwards, by about 4 points for a perfectly calibrated model.
        nll: mean negative log-likelihood (nats).
        brier: mean squared error of the probability vector against the one-hot label, summed over classes.
        macro_f1: mean over the labels that occur of F1 = 2 TP / (2 TP + FP + FN), as WILDS computes it for iWildCam
            (arXiv 2012.07421).
        count: images.
    """

    accuracy: float
    ece: float
    nll: float
    brier: float
    macro_f1: float
    count: int


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: per bin the images in it, their mean confidence and accuracy (0 where empty), each (BINS,).

    The bins cut [0, 1] in equal parts, each closed above.
    """

    counts: list[int]
    confidence: list[float]
    accuracy: list[float]


def reliability(logits: Tensor, labels: Tensor) -> Reliability:
    """The diagram of the top-1 answers of logits (n, classes) against labels (n,)."""
    return diagram(*top_answers(logits, labels))


def top_answers(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence of the top-1 answers of logits (n, classes), and whether they are right: float64 and bool (n,)."""
    confidence, answers = logits.double().softmax(dim=-1).max(dim=-1)
    return confidence, answers == labels


def diagram(confidence: Tensor, right: Tensor) -> Reliability:
    """The diagram of answers given with a confidence (n,), right or not (n,)."""
    bins = torch.bucketize(confidence, torch.linspace(0, 1, BINS + 1, dtype=torch.float64)[1:-1])
    counts = torch.bincount(bins, minlength=BINS)

    def mean(values: Tensor) -> list[float]:
        return (torch.bincount(bins, weights=values, minlength=BINS) / counts.clamp(min=1)).tolist()

    return Reliability(counts.tolist(), mean(confidence), mean(right.double()))


def calibration_error(diagram: Reliability) -> float:
    """ECE: the mean distance of confidence and accuracy over bins, weighted by their images (Guo et al., arXiv 1706.04599)."""
    distances = [abs(c - a) for c, a in zip(diagram.confidence, diagram.accuracy, strict=True)]
    return sum(n * d for n, d in zip(diagram.counts, distances, strict=True)) / sum(diagram.counts)


def scores(logits: Tensor, labels: Tensor) -> Scores:
    """Scores of logits (n, classes) against labels (n,)."""
    probabilities, answers = logits.double().softmax(dim=-1), logits.argmax(dim=-1)
    classes = logits.shape[-1]
    return Scores(
        accuracy=(answers == labels).double().mean().item(),
        ece=calibration_error(reliability(logits, labels)),
        nll=F.cross_entropy(logits.double(), labels).item(),
        brier=(probabilities - F.one_hot(labels, classes)).square().sum(dim=-1).mean().item(),
        macro_f1=float(f1_score(labels, answers, labels=labels.unique(), average="macro", zero_division=0.0)),
        count=len(labels),
    )
