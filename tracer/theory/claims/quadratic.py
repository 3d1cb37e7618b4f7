"""Where gradient descent on any quadratic ends: the lemma from which the strategies' closed forms follow."""

from collections.abc import Callable

import numpy as np

from tracer.theory.claims.claim import TRACER, Check, compare, theorem
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SOLVED
from tracer.theory.linearisation import Linearisation

STEPS = 2000
"""Enough for the slowest mode that moves to reach round-off."""


def _descended(product: Callable[[np.ndarray], np.ndarray], linear: np.ndarray, weights: np.ndarray, step: float) -> np.ndarray:
    for _ in range(STEPS):
        weights = weights - step * (product(weights) - linear)
    return weights


@theorem(TRACER, "Lemma C.1")
def descent_limit(rng: np.random.Generator) -> Check:
    """Gradient descent on <W, A W>/2 - <B, W>, A positive semidefinite on matrices and B in its range, ends at (I - Pi_A) W_0 + A^+
    B for step sizes below 2/|A|, and for none above if a mode at |A| starts off its minimum.
    """
    # An operator of half rank on matrices, and the contrastive loss's Hessian, which the library inverts by conjugate gradients.
    #
    # Neither is a multiplication from the right. The nulls forget what is off the range, or nothing at all, or take a step size
    # just above the bound.
    case = random_instance(rng)
    shape, size = case.initial_weights.shape, case.initial_weights.size
    axes = np.linalg.qr(rng.standard_normal((size, size // 2)))[0]
    operator = (axes * rng.uniform(0.5, 2.0, size // 2)) @ axes.T
    linear, initial = operator @ rng.standard_normal(size), case.initial_weights.ravel()
    step, largest = rng.uniform(0.5, 0.95), float(2 / np.linalg.norm(operator, 2))
    solved = np.linalg.pinv(operator, hermitian=True) @ linear
    predicted = initial - axes @ (axes.T @ initial) + solved
    measured = _descended(lambda weights: operator @ weights, linear, initial, step * largest)
    beyond = _descended(lambda weights: operator @ weights, linear, initial, 1.01 * largest)

    loss = Linearisation(case.images, case.texts, case.initial_weights, 0.3, case.embedding_penalty)
    bound = 2 / loss.curvatures(size)[-1]
    curved = loss.hessian_product(case.initial_weights) - loss.gradient()
    quadratic = _descended(loss.hessian_product, curved, case.initial_weights, step * bound)

    found = compare(
        np.stack([predicted.reshape(shape), loss.optimum()]),
        np.stack([measured.reshape(shape), quadratic]),
        np.stack([solved.reshape(shape), case.on_task(loss.optimum())]),
        case.initial_weights,
        tolerance=SOLVED,
    )
    return found._replace(null_error=min(found.null_error, float(np.abs(beyond - predicted).max())))
