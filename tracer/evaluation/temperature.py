"""Temperature scaling (arXiv 1706.04599): one number that logits are divided by, so that a model is as sure as it is right."""

import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from tracer.errors import UserError

LARGEST = 20.0
"""Temperatures are looked for from 1 / LARGEST to this."""
_AT_AN_END = 1e-3  # of 1 / T


def fit(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that minimises the mean negative log-likelihood of softmax(logits / T), which is convex in 1 / T.

    It changes no answer, and on these images the negative log-likelihood is at most what it is at T = 1.

    Args:
        logits: (n, classes).
        labels: (n,) the right classes.

    Raises:
        UserError: if none within a factor of `LARGEST` of 1 is best, as where every answer is right.
    """
    whole = logits.double()

    def loss(inverse: float) -> float:
        return F.cross_entropy(inverse * whole, labels).item()

    inverse = float(minimize_scalar(loss, bounds=(1 / LARGEST, LARGEST), method="bounded", options={"xatol": 1e-7}).x)
    if inverse < 1 / LARGEST + _AT_AN_END or inverse > LARGEST - _AT_AN_END:
        raise UserError(
            f"no temperature from {1 / LARGEST:g} to {LARGEST:g} fits the {len(labels)} answers best, of which"
            f" {int((whole.argmax(dim=-1) == labels).sum())} are right: fit it on more images, right and wrong answers among them"
        )
    return 1 / min(inverse, 1.0, key=loss)
