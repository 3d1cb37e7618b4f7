"""The power-law teacher, exactly: hypergeometric functions and their limit of small steps."""

from collections.abc import Callable

import numpy as np
from scipy import integrate

from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Mode, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import INTEGRATED
from tracer.theory.closed_forms import wma


def draw(rng: np.random.Generator) -> tuple[Mode, float]:
    """A mode and a kernel's exponent."""
    return random_mode(rng, x=(0.3, 1.8)), float(rng.uniform(0.3, 2.5))


def _path(rng: np.random.Generator, form: Callable[..., np.ndarray], student: int, teacher: int) -> Check:
    """A closed form against its combination of both errors at many steps; the nulls are another beta and no pull."""
    (mode, exponent), steps = draw(rng), np.arange(121)
    measured = np.array([student, teacher]) @ simulate(mode, power_law_rates(exponent, 120))
    predicted, other = (form(*mode, value, steps) for value in (exponent, exponent + 0.05))
    return compare(predicted, measured, other, form(mode.curvature, 0.0, mode.learning_rate, exponent, steps))


@theorem(PROJECT)
def wma_student(rng: np.random.Generator) -> Check:
    """Under a power-law teacher the student's error is a Gauss hypergeometric function, exactly, at every step size."""
    return _path(rng, wma.student, 1, 0)


@theorem(PROJECT)
def wma_teacher(rng: np.random.Generator) -> Check:
    """A power-law teacher's own error is the same hypergeometric function as its student's, with beta + 1 for the lower beta."""
    return _path(rng, wma.teacher, 0, 1)


@theorem(PROJECT)
def wma_gap(rng: np.random.Generator) -> Check:
    """The gap to a power-law teacher is a Gauss hypergeometric function too, and never changes sign for x <= 1."""
    return _path(rng, wma.gap, 1, -1)


@theorem(PROJECT)
def wma_flow(rng: np.random.Generator) -> Check:
    """In the limit of small steps a power-law teacher and its student are confluent hypergeometric functions, and the teacher
    solves Kummer's equation.
    """
    # Against an integrator that starts from the first two terms; the nulls are another beta and no pull.
    (mode, exponent), early, times = draw(rng), 1e-6, np.linspace(0.5, 8, 6)

    def slopes(at: float, state: np.ndarray) -> list[float]:
        student, teacher = state
        return [-mode.curvature * student - mode.teacher_curvature * (student - teacher), exponent / at * (student - teacher)]

    start = [1 - mode.curvature * early, 1 - mode.curvature * early * exponent / (exponent + 1)]
    solved = integrate.solve_ivp(slopes, (early, 8), start, "Radau", times, rtol=1e-10, atol=1e-13)

    def predicted(teacher_curvature: float, value: float) -> np.ndarray:
        each = mode.curvature, teacher_curvature, value, times
        return np.stack([wma.flow_student(*each), wma.flow_teacher(*each)])

    nulls = predicted(mode.teacher_curvature, exponent + 0.05), predicted(0.0, exponent)
    return compare(predicted(mode.teacher_curvature, exponent), solved.y, *nulls, tolerance=INTEGRATED)
