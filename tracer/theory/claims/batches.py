"""In-batch negatives: what random batches make of the cross-covariance and of the expected trajectory."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import sympy as sp

from tracer.averaging import Exponential
from tracer.theory.claims.claim import PROJECT, Check, Claim, compare
from tracer.theory.claims.instances import Instance, random_instance
from tracer.theory.claims.matrices import B, n, rho
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.strategies import Distillation


def in_batch_factor() -> sp.Expr:
    """What batches of B of n pairs, drawn without replacement, make of the cross-covariance."""
    return (B - 1) * n / (B * (n - 1))


def in_batch_factor_residues(factor: sp.Expr) -> list[sp.Expr]:
    """Coefficients of z_i x_i and z_i x_j in E C_B less the factor times those in C, by the chance that a batch holds one or both.

    Then the same with replacement, where each of B draws is any pair, and the factor is (B - 1) / B.
    """
    one, both = (sp.binomial(n - drawn, B - drawn) / sp.binomial(n, B) for drawn in (1, 2))
    own, other = (1 - 1 / n) / n, -1 / n**2
    repeated = 1 / n - (1 / n + (B - 1) / n**2) / B, -(B - 1) / n**2 / B
    return [
        one * (1 - 1 / B) / B - factor * own,
        -both / B**2 - factor * other,
        repeated[0] - (B - 1) / B * own,
        repeated[1] - (B - 1) / B * other,
    ]


def _cross_covariance(case: Instance, batch: Sequence[int]) -> np.ndarray:
    images, texts = case.images[list(batch)], case.texts[list(batch)]
    return (texts - texts.mean(axis=0)).T @ images / len(images)


def _in_batch_factor_check(rng: np.random.Generator) -> Check:
    case, batch_size = random_instance(rng), int(rng.integers(2, 5))
    subsets = [_cross_covariance(case, batch) for batch in combinations(range(8), batch_size)]
    draws = [_cross_covariance(case, batch) for batch in product(range(8), repeat=2)]
    predicted = case.problem.in_batches(batch_size), case.problem.in_batches(2, replacement=True)
    naive = np.stack([case.cross_covariance, case.cross_covariance])
    swapped = case.problem.in_batches(batch_size, replacement=True), case.problem.in_batches(2)
    measured = np.stack([np.mean(subsets, axis=0), np.mean(draws, axis=0)])
    of_swapped = np.stack([problem.cross_covariance for problem in swapped])
    return compare(np.stack([problem.cross_covariance for problem in predicted]), measured, EXACT, naive, of_swapped)


def in_batch_trajectory_residues(factor: sp.Expr) -> list[sp.Expr]:
    """One step of student and teacher, averaged over a batch that is independent of where they stand.

    Base: the start is known. Step: two batches a and b, and independently of them two states a and b, each with chance 1/2; the
    symbols are matrices, whose products do not commute.
    """
    eta, strength, rate = sp.symbols("eta lambda r", positive=True)
    cross, moment, w, v = (sp.symbols(f"{name}_a {name}_b", commutative=False) for name in ("C", "Sigma", "W", "Wbar"))

    def step(weights, teacher, c, s):
        student = weights - eta * (rho * weights * s - c + strength * (weights - teacher) * s)
        return student, teacher + rate * (student - teacher)

    def mean(values):
        return sum(values) / len(values)

    stepped = [step(w[i], v[i], cross[j], moment[j]) for i in range(2) for j in range(2)]
    c = sp.Symbol("C", commutative=False)
    of_means = step(mean(w), mean(v), factor * c, mean(moment))
    known = {cross[1]: 2 * in_batch_factor() * c - cross[0]}
    return [mean(part).subs(known) - whole for part, whole in zip(zip(*stepped, strict=True), of_means, strict=True)]


def _in_batch_trajectory_check(rng: np.random.Generator) -> Check:
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

    return compare(predicted(case.problem.in_batches(2)), np.mean(ends, axis=0), EXACT, predicted(case.problem))


def _expected(weights: str) -> sp.Symbol:
    return sp.Symbol(rf"\mathbb{{E}}\,{weights}")


CLAIMS = (
    Claim(
        "in-batch-factor",
        "Batches of B of n pairs, centred within the batch, shrink the expected cross-covariance by the one factor "
        "(B-1)n/(B(n-1)), and by (B-1)/B if drawn with replacement.",
        PROJECT,
        lambda: sp.Eq(_expected("C_B"), in_batch_factor() * sp.Symbol("C"), evaluate=False),
        _in_batch_factor_check,
        lambda: in_batch_factor_residues(in_batch_factor()),
    ),
    Claim(
        "in-batch-trajectory",
        "With independent batches the expected student and teacher follow the full-batch recursion, the cross-covariance being "
        "multiplied by the in-batch factor.",
        PROJECT,
        lambda: sp.Eq(_expected(r"W_t^{(C_B)}"), sp.Function("W_t")(in_batch_factor() * sp.Symbol("C")), evaluate=False),
        _in_batch_trajectory_check,
        lambda: in_batch_trajectory_residues(in_batch_factor()),
    ),
)
