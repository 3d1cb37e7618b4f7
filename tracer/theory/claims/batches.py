"""In-batch negatives: what random batches make of the cross-covariance and of the expected trajectory."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from tracer import theory
from tracer.averaging import Exponential
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance


def _batch(case: Instance, pairs: Sequence[int]) -> Instance:
    return case._replace(images=case.images[list(pairs)], texts=case.texts[list(pairs)])


@theorem(PROJECT)
def in_batch_factor(rng: np.random.Generator) -> Check:
    """Batches of B of n pairs, centred within the batch, shrink the expected cross-covariance by the one factor (B-1)n/(B(n-1)),
    and by (B-1)/B if drawn with replacement.
    """
    # Means over all batches; the nulls are the whole data's, and drawing the other way.
    case, size = random_instance(rng), int(rng.integers(2, 5))
    subsets = [_batch(case, pairs).cross_covariance for pairs in combinations(range(8), size)]
    draws = [_batch(case, pairs).cross_covariance for pairs in product(range(8), repeat=2)]

    def predicted(replacement: bool) -> np.ndarray:
        problems = case.problem.in_batches(size, replacement=replacement), case.problem.in_batches(2, replacement=not replacement)
        return np.stack([problem.cross_covariance for problem in problems])

    measured = np.stack([np.mean(subsets, axis=0), np.mean(draws, axis=0)])
    return compare(predicted(False), measured, np.stack([case.cross_covariance] * 2), predicted(True))


@theorem(PROJECT)
def in_batch_trajectory(rng: np.random.Generator) -> Check:
    """With independent batches the expected student and teacher follow the full-batch recursion, the cross-covariance being
    multiplied by the in-batch factor.
    """
    # Student and teacher over all sequences of three batches of two pairs; the null has no factor.
    case = _batch(random_instance(rng), range(4))
    eta, strength, momentum = 0.2, rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.9)
    ends = []
    for batches in product([_batch(case, pairs) for pairs in combinations(range(4), 2)], repeat=3):
        student = teacher = case.initial_weights
        for batch in batches:
            force = (case.embedding_penalty * student + strength * (student - teacher)) @ batch.second_moment
            student = student - eta * (force - batch.cross_covariance)
            teacher = momentum * teacher + (1 - momentum) * student
        ends.append([student, teacher])

    def predicted(problem: theory.Problem) -> np.ndarray:
        strategy = theory.Distillation(strength, Exponential(momentum))
        path = theory.gradient_descent(problem, strategy, learning_rate=eta, steps=3, allow_unstable=True)
        return np.stack([path.weights(3), path.teacher(3)])

    return compare(predicted(case.problem.in_batches(2)), np.mean(ends, axis=0), predicted(case.problem))
