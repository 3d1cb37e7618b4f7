"""The true contrastive loss at the pretrained model: its gradient, its Hessian, and where that decouples."""

import numpy as np
from scipy import special

from tracer import theory
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import FINITE_DIFFERENCES


def _pretrained(rng: np.random.Generator) -> theory.Linearisation:
    """A random model with logits of about two."""
    case = random_instance(rng)
    scale = 2 / np.std(case.images @ case.initial_weights.T @ case.texts.T)
    return theory.Linearisation(case.images, case.texts, case.initial_weights, scale)


@theorem(PROJECT)
def pretrained_gradient(rng: np.random.Generator) -> Check:
    """At the pretrained model the gradient is -Z Lambda X^T/(n tau) with Lambda = I - (P + R)^T/2, P and R being the softmaxes of
    its logits.
    """
    # Along a direction, by central differences of the loss; the null is the gradient at zero logits.
    model = _pretrained(rng)
    direction = rng.standard_normal(model.initial_weights.shape)
    step = 1e-4 / model.logit_scale

    def loss(weights: np.ndarray) -> float:
        logits = model.logit_scale * model.images @ weights.T @ model.texts.T
        return -float(np.mean([np.diag(special.log_softmax(logits, axis)) for axis in (0, 1)]))

    measured = (loss(model.initial_weights + step * direction) - loss(model.initial_weights - step * direction)) / (2 * step)
    predicted, at_zero = (np.sum(model.gradient(weights) * direction) for weights in (None, 0 * direction))
    return compare(predicted, measured, at_zero, tolerance=FINITE_DIFFERENCES)


@theorem(PROJECT)
def pretrained_hessian(rng: np.random.Generator) -> Check:
    """The Hessian at the pretrained model is Z(dP + dR)^T X^T/(2n tau^2), with the derivatives of both softmaxes in the direction
    it is applied to: weighted least squares.
    """
    # By central differences of the gradient; the null is the Hessian at zero logits.
    model = _pretrained(rng)
    direction = rng.standard_normal(model.initial_weights.shape)
    step = 2e-5 / model.logit_scale
    ends = (model.gradient(model.initial_weights + sign * step * direction) for sign in (1, -1))
    measured = np.subtract(*ends) / (2 * step)
    at_zero = model.hessian_product(direction, 0 * direction)
    return compare(model.hessian_product(direction), measured, at_zero, tolerance=FINITE_DIFFERENCES)


@theorem(PROJECT)
def pretrained_decoupling(rng: np.random.Generator) -> Check:
    """At zero logits, with centred features and texts, the Hessian decouples into the curvatures (rho + omega_i/tau) s_j + mu."""
    # All eigenvalues of the library's Hessian; the null leaves out the contrastive loss's own curvature.
    case, temperature, decay = random_instance(rng), rng.uniform(0.1, 1.0), rng.uniform(0.1, 0.5)
    images, texts = (part - part.mean(axis=0) for part in (case.images, case.texts))
    zero, penalty = np.zeros_like(case.initial_weights), case.embedding_penalty
    loss = theory.Linearisation(images, texts, zero, 1 / temperature, penalty / temperature, decay / temperature)
    basis = np.eye(zero.size).reshape(-1, *zero.shape)
    hessian = temperature * np.stack([loss.hessian_product(direction).ravel() for direction in basis])
    omega, s = np.meshgrid(*(np.linalg.eigvalsh(part.T @ part / len(part)) for part in (texts, images)), indexing="ij")
    curvatures, null = (np.sort(((penalty + own / temperature) * s + decay).ravel()) for own in (omega, 0 * omega))
    return compare(curvatures, np.linalg.eigvalsh(hessian), null)
