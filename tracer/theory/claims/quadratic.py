"""Where gradient descent on any quadratic ends: the lemma from which the strategies' closed forms follow."""

import numpy as np

from tracer import theory
from tracer.theory.claims.claim import TRACER, Check, compare, theorem
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SOLVED


@theorem(TRACER, "Lemma C.1")
def descent_limit(rng: np.random.Generator) -> Check:
    """Gradient descent on <W, A W>/2 - <B, W>, A positive semidefinite on matrices and B in its range, ends at (I - Pi_A) W_0 + A^+
    B for step sizes below 2/|A|, and for none above if a mode at |A| starts off its minimum.
    """
    # The Hessian of the contrastive loss, which is no multiplication from the right, and by images that leave out directions.
    # The nulls forget what is off its range, do not move, or take steps just above the bound.
    case, steps = random_instance(rng), 2000
    initial = case.initial_weights
    loss = theory.Linearisation(case.images, case.texts, initial, 0.3, case.embedding_penalty, vectors=initial.size)
    linear, bound = loss.hessian_product(initial) - loss.gradient(), 2 / loss.curvatures[-1]

    def descended(step: float) -> np.ndarray:
        weights = initial
        for _ in range(steps):
            weights = weights - step * (loss.hessian_product(weights) - linear)
        return weights

    optimum = theory.limit(loss, theory.FineTuning())
    nulls = case.on_task(optimum), initial, descended(1.01 * bound)
    return compare(optimum, descended(rng.uniform(0.5, 0.95) * bound), *nulls, tolerance=SOLVED)
