"""In-batch negatives: what random batches make of the cross-covariance and of the expected trajectory."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from tracer.averaging import Exponential
from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.strategies import Distillation


def _cross_covariance(case: Instance, batch: Sequence[int]) -> np.ndarray:
    images, texts = case.images[list(batch)], case.texts[list(batch)]
    return (texts - texts.mean(axis=0)).T @ images / len(images)


@theorem(PROJECT)
def in_batch_factor(rng: np.random.Generator) -> Check:
    """Batches of B of n pairs, centred within the batch, shrink the expected cross-covariance by the one factor (B-1)n/(B(n-1)),
    and by (B-1)/B if drawn with replacement.
    """
    case, batch_size = random_instance(rng), int(rng.integers(2, 5))
    subsets = [_cross_covariance(case, batch) for batch in combinations(range(8), batch_size)]
    draws = [_cross_covariance(case, batch) for batch in product(range(8), repeat=2)]
    predicted = case.problem.in_batches(batch_size), case.problem.in_batches(2, replacement=True)
    naive = np.stack([case.cross_covariance, case.cross_covariance])
    swapped = case.problem.in_batches(batch_size, replacement=True), case.problem.in_batches(2)
    measured = np.stack([np.mean(subsets, axis=0), np.mean(draws, axis=0)])
    of_swapped = np.stack([problem.cross_covariance for problem in swapped])
    return compare(np.stack([problem.cross_covariance for problem in predicted]), measured, naive, of_swapped)


@theorem(PROJECT)
def in_batch_trajectory(rng: np.random.Generator) -> Check:
    """With independent batches the expected student and teacher follow the full-batch recursion, the cross-covariance being
    multiplied by the in-batch factor.
    """
    whole = random_instance(rng)
    case = whole._replace(images=whole.images[:4], texts=whole.texts[:4])
    eta, strength, momentum = 0.2, rng.uniform(0.3, 1.0), rng.uniform(0.3, 0.9)
    batches = list(combinations(range(4), 2))
    moments = [case.images[list(b)].T @ case.images[list(b)] / 2 for b in batches]
    crosses = [_cross_covariance(case, b) for b in batches]
    ends = []
    for sequence in product(range(len(batches)), repeat=3):
        student = teacher = case.initial_weights
        for batch in sequence:
            force = strength * (student - teacher) @ moments[batch]
            student = student - eta * (case.embedding_penalty * student @ moments[batch] - crosses[batch] + force)
            teacher = momentum * teacher + (1 - momentum) * student
        ends.append([student, teacher])

    def predicted(problem):
        path = gradient_descent(
            problem, Distillation(strength, Exponential(momentum)), learning_rate=eta, steps=3, allow_unstable=True
        )
        return np.stack([path.weights(3), path.teacher(3)])

    return compare(predicted(case.problem.in_batches(2)), np.mean(ends, axis=0), predicted(case.problem))
