"""What follows from the Beta mixture behind a power-law teacher: order in beta, sums and the largest step size."""

import numpy as np
from scipy import special
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import extrapolated, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import BOUNDARY, EXACT, SUMMED
from tracer.theory.claims.wma import draw
from tracer.theory.closed_forms import wma


@theorem(PROJECT)
def wma_mixture(rng: np.random.Generator) -> Check:
    """Under a power-law teacher the student is a mean of (1 - xY)^t over Y ~ Beta(beta q, beta p): of all decay rates at once."""
    # By quadrature over the Beta density; the null puts Y at its mean, which is the student without a teacher.
    (mode, exponent), steps = draw(rng), np.arange(0, 41, 5)
    nodes, weights = special.roots_jacobi(64, exponent * mode.teacher_share - 1, exponent * mode.data_share - 1)
    mixed = np.average((1 - mode.x * (1 + nodes) / 2) ** steps[:, None], axis=1, weights=weights)
    students, _ = simulate(mode, power_law_rates(exponent, 40))
    return compare(mixed, students[steps], (1 - mode.learning_rate * mode.curvature) ** steps)


@theorem(PROJECT)
def wma_monotone(rng: np.random.Generator) -> Check:
    """With a power-law teacher and x <= 1 the student's error falls in beta, from that with a static teacher to that with none."""
    # The largest rise from one beta to a greater one, between the extremes; the null is the smallest fall.
    mode, exponents = random_mode(rng, x=(0.2, 1.0)), np.sort(10 ** rng.uniform(-2, 2, 12))
    all_rates = [[0.0] * 60, *(power_law_rates(exponent, 60) for exponent in exponents), [1.0] * 60]
    changes = np.diff([simulate(mode, rates)[0][1:] for rates in all_rates], axis=0)
    return Check(max(float(changes.max()), 0.0), EXACT, float(np.abs(changes).max(axis=1).min()))


@theorem(PROJECT)
def wma_budget(rng: np.random.Generator) -> Check:
    """For kappa = beta sigma/(sigma + l) > 1 the gap to a power-law teacher adds up to -1/(x(kappa-1)) times the initial error."""
    mode = random_mode(rng, x=(0.5, 1.5), share=(0.6, 0.9))
    exponent = rng.uniform(4.0, 5.0) / mode.data_share
    gaps = np.subtract(*simulate(mode, power_law_rates(exponent, 20_000)))
    predicted, alone = (wma.budget(mode.curvature, pull, mode.learning_rate, exponent) for pull in (mode.teacher_curvature, 0.0))
    return compare(predicted, gaps.sum(), alone, 0.0, tolerance=SUMMED)


@theorem(PROJECT)
def wma_stability(rng: np.random.Generator) -> Check:
    """Gradient descent with a power-law teacher is stable if and only if eta (sigma + l) < 2."""
    # Where the student is as large after a run as after half of it, which lies O(1 / steps) above the bound; the null is no pull.
    mode, exponent = draw(rng)
    predicted, alone = (wma.max_learning_rate(mode.curvature, pull) for pull in (mode.teacher_curvature, 0.0))

    def growth(learning_rate: float, steps: int) -> float:
        students, _ = simulate(mode._replace(learning_rate=learning_rate), power_law_rates(exponent, steps))
        return float(np.log(np.abs(students[-1] / students[steps // 2])))

    around = 0.95 * predicted, 1.05 * predicted
    measured = extrapolated(*(brentq(growth, *around, (steps,), xtol=1e-7) for steps in (2000, 4000)))
    return compare(predicted, measured, alone, tolerance=BOUNDARY)


@theorem(PROJECT)
def passive_teacher(rng: np.random.Generator) -> Check:
    """Without a pull the student is (1 - x)^t, and its uniform mean still remembers the start like 1/t."""
    mode, steps = random_mode(rng)._replace(teacher_curvature=0.0), np.arange(101)
    _, teachers = simulate(mode, power_law_rates(1.0, 100))
    mean = (1 - (1 - mode.x) ** (steps + 1)) / ((steps + 1) * mode.x)
    return compare(mean, teachers, wma.teacher(*mode, 1.05, steps), (1 - mode.x) ** steps)
