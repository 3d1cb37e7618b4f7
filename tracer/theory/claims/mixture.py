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
    # The student against quadrature over the Beta density; the null puts Y at its mean, which is the student without a teacher.
    mode, exponent = draw(rng)
    first, second, steps = exponent * mode.data_share, exponent * mode.teacher_share, np.arange(0, 41, 5)
    nodes, weights = special.roots_jacobi(64, second - 1, first - 1)
    weights /= weights.sum()
    measured = [weights @ (1 - mode.x * (1 + nodes) / 2) ** step for step in steps]
    alone = (1 - mode.learning_rate * mode.curvature) ** steps
    return compare(wma.student(*mode, exponent, steps), measured, alone)


@theorem(PROJECT)
def wma_monotone(rng: np.random.Generator) -> Check:
    """With a power-law teacher and x <= 1 the student's error falls in beta, from that with a static teacher to that with none."""
    # The largest rise from one beta to a greater one, between the simulated extremes; the null is the smallest fall.
    mode, steps = random_mode(rng, x=(0.2, 1.0)), np.arange(1, 61)
    exponents = np.sort(10 ** rng.uniform(-2, 2, 12))
    paths = [simulate(mode, power_law_rates(exponent, 60))[0][1:] for exponent in exponents]
    static, alone = simulate(mode, [0.0] * 60)[0][1:], simulate(mode, [1.0] * 60)[0][1:]
    changes = np.diff(np.stack([static, *(wma.student(*mode, exponent, steps) for exponent in exponents), alone]), axis=0)
    measured = np.diff(np.stack([static, *paths, alone]), axis=0)
    return Check(max(changes.max(), measured.max(), 0.0), EXACT, float(np.min(np.abs(measured).max(axis=1))))


@theorem(PROJECT)
def wma_budget(rng: np.random.Generator) -> Check:
    """For kappa = beta sigma/(sigma + l) > 1 the gap to a power-law teacher adds up to -1/(x(kappa-1)) times the initial error."""
    mode = random_mode(rng, x=(0.5, 1.5), share=(0.6, 0.9))
    exponent = rng.uniform(4.0, 5.0) / mode.data_share
    gaps = np.subtract(*simulate(mode, power_law_rates(exponent, 20_000)))
    predicted, alone = (
        wma.budget(mode.curvature, teacher_curvature, mode.learning_rate, exponent)
        for teacher_curvature in (mode.teacher_curvature, 0.0)
    )
    return compare(predicted, gaps.sum(), alone, 0.0, tolerance=SUMMED)


@theorem(PROJECT)
def wma_stability(rng: np.random.Generator) -> Check:
    """Gradient descent with a power-law teacher is stable if and only if eta (sigma + l) < 2."""
    # Where the student is as large after a run as after half of it, which lies O(1 / steps) above the bound; extrapolated.
    mode, exponent = draw(rng)
    total = mode.curvature + mode.teacher_curvature

    def growth(learning_rate: float, steps: int) -> float:
        students, _ = simulate(mode._replace(learning_rate=learning_rate), power_law_rates(exponent, steps))
        return float(np.log(np.abs(students[-1] / students[steps // 2])))

    measured = extrapolated(*(brentq(growth, 1.9 / total, 2.1 / total, (steps,), xtol=1e-7) for steps in (2000, 4000)))
    predicted, alone = (
        wma.max_learning_rate(mode.curvature, teacher_curvature) for teacher_curvature in (mode.teacher_curvature, 0.0)
    )
    return compare(predicted, measured, alone, predicted / 2, tolerance=BOUNDARY)


@theorem(PROJECT)
def passive_teacher(rng: np.random.Generator) -> Check:
    """Without a pull the student is (1 - x)^t, and its uniform mean still remembers the start like 1/t."""
    mode = random_mode(rng)._replace(teacher_curvature=0.0)
    _, teachers = simulate(mode, power_law_rates(1.0, 100))
    steps = np.arange(101)
    return compare(wma.teacher(*mode, 1.0, steps), teachers, wma.teacher(*mode, 1.05, steps), wma.student(*mode, 1.0, steps))
