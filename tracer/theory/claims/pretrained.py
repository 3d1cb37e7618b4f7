"""The true contrastive loss at the pretrained model: its gradient, its Hessian, and where that decouples."""

import numpy as np

from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import FINITE_DIFFERENCES
from tracer.theory.linearisation import Linearisation


class _Pairs:
    """A random model with logits of about two, and its loss's first derivative written out."""

    def __init__(self, rng: np.random.Generator):
        case = random_instance(rng)
        self.images, self.texts, self.weights = case.images, case.texts, case.initial_weights
        self.scale = 2 / np.std(self.images @ self.weights.T @ self.texts.T)

    @property
    def library(self) -> Linearisation:
        """The library's view."""
        return Linearisation(self.images, self.texts, self.weights, self.scale)

    def softmaxes(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P and R."""
        raised = np.exp(self.scale * self.images @ weights.T @ self.texts.T)
        return raised / raised.sum(axis=1, keepdims=True), raised / raised.sum(axis=0)

    def loss(self, weights: np.ndarray) -> float:
        """Mean of minus the logarithms of both probabilities of the pairs."""
        return -float(np.mean([np.log(np.diag(softmax)) for softmax in self.softmaxes(weights)]))

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """-Z Lambda X^T / (n tau)."""
        p, r = self.softmaxes(weights)
        return -self.scale * self.texts.T @ (np.eye(len(p)) - (p + r).T / 2) @ self.images / len(p)


@theorem(PROJECT)
def pretrained_gradient(rng: np.random.Generator) -> Check:
    """At the pretrained model the gradient is -Z Lambda X^T/(n tau) with Lambda = I - (P + R)^T/2, P and R being the softmaxes of
    its logits.
    """
    # Central differences of the loss; the nulls are the gradient at zero logits and none.
    pairs, step = _Pairs(rng), 1e-4
    measured = np.zeros_like(pairs.weights)
    for index in np.ndindex(measured.shape):
        nudge = np.zeros_like(measured)
        nudge[index] = step / pairs.scale
        measured[index] = (pairs.loss(pairs.weights + nudge) - pairs.loss(pairs.weights - nudge)) / (2 * nudge[index])
    predicted = np.stack([pairs.library.gradient(), pairs.gradient(pairs.weights)])
    return compare(predicted, np.stack([measured] * 2), pairs.gradient(0 * pairs.weights), 0.0, tolerance=FINITE_DIFFERENCES)


@theorem(PROJECT)
def pretrained_hessian(rng: np.random.Generator) -> Check:
    """The Hessian at the pretrained model is Z(dP + dR)^T X^T/(2n tau^2), with the derivatives of both softmaxes in the direction
    it is applied to: weighted least squares.
    """
    # Central differences of the gradient; the null is the Hessian at zero logits.
    pairs, direction = _Pairs(rng), rng.standard_normal((3, 7))
    nudge = 2e-5 / pairs.scale * direction
    ends = (pairs.gradient(pairs.weights + sign * nudge) for sign in (1, -1))
    measured = np.subtract(*ends) / (4e-5 / pairs.scale)
    at_zero = pairs.library.hessian_product(direction, 0 * pairs.weights)
    return compare(pairs.library.hessian_product(direction), measured, at_zero, 0 * measured, tolerance=FINITE_DIFFERENCES)


@theorem(PROJECT)
def pretrained_decoupling(rng: np.random.Generator) -> Check:
    """At zero logits, with centred features and texts, the Hessian decouples into the curvatures (rho + omega_i/tau) s_j + mu."""
    # All eigenvalues of the library's Hessian; the null leaves out the contrastive loss's own curvature.
    case, temperature, decay = random_instance(rng), rng.uniform(0.1, 1.0), rng.uniform(0.1, 0.5)
    images, texts = (part - part.mean(axis=0) for part in (case.images, case.texts))
    zero, penalty = np.zeros_like(case.initial_weights), case.embedding_penalty
    loss = Linearisation(images, texts, zero, 1 / temperature, penalty / temperature, decay / temperature)
    basis = np.eye(zero.size).reshape(-1, *zero.shape)
    hessian = temperature * np.stack([loss.hessian_product(direction).ravel() for direction in basis])
    moments = (np.linalg.eigvalsh(part.T @ part / len(part)) for part in (texts, images))
    omega, s = np.meshgrid(*moments, indexing="ij")
    curvatures = np.sort(((penalty + omega / temperature) * s + decay).ravel())
    null = np.sort((penalty * s + decay).ravel())
    return compare(np.linalg.eigvalsh(hessian), curvatures, null)
