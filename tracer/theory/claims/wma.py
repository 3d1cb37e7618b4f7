"""The power-law teacher, exactly: hypergeometric functions and their limit of small steps."""

import numpy as np
from scipy import integrate

from tracer.theory.claims.claim import PROJECT, Check, compare, theorem
from tracer.theory.claims.instances import Mode, power_law_rates, random_mode, simulate
from tracer.theory.claims.tolerances import INTEGRATED
from tracer.theory.closed_forms import wma


def draw(rng: np.random.Generator) -> tuple[Mode, float]:
    return random_mode(rng, x=(0.3, 1.8)), float(rng.uniform(0.3, 2.5))


def _path_check(form: str):
    """A check of a closed form, named as the library does, at many steps; the nulls are another beta and no pull."""

    def check(rng: np.random.Generator) -> Check:
        (mode, exponent), steps = draw(rng), np.arange(121)
        students, teachers = simulate(mode, power_law_rates(exponent, 120))
        measured = {"student": students, "teacher": teachers, "gap": students - teachers}[form]
        predicted, other = (getattr(wma, form)(*mode, value, steps) for value in (exponent, exponent + 0.05))
        alone = getattr(wma, form)(mode.curvature, 0.0, mode.learning_rate, exponent, steps)
        return compare(predicted, measured, other, alone)

    return check


@theorem(PROJECT)
def wma_student(rng: np.random.Generator) -> Check:
    """Under a power-law teacher the student's error is a Gauss hypergeometric function, exactly, at every step size."""
    return _path_check("student")(rng)


@theorem(PROJECT)
def wma_teacher(rng: np.random.Generator) -> Check:
    """A power-law teacher's own error is the same hypergeometric function as its student's, with beta + 1 for the lower beta."""
    return _path_check("teacher")(rng)


@theorem(PROJECT)
def wma_gap(rng: np.random.Generator) -> Check:
    """The gap to a power-law teacher is a Gauss hypergeometric function too, and never changes sign for x <= 1."""
    return _path_check("gap")(rng)


@theorem(PROJECT)
def wma_flow(rng: np.random.Generator) -> Check:
    """In the limit of small steps a power-law teacher and its student are confluent hypergeometric functions, and the teacher
    solves Kummer's equation.
    """
    # Kummer's functions against an integrator that starts from their first two terms.
    mode, exponent = draw(rng)
    early, times = 1e-6, np.linspace(0.5, 8, 6)

    def slopes(at, state):
        student, teacher = state
        return [-mode.curvature * student - mode.teacher_curvature * (student - teacher), exponent / at * (student - teacher)]

    start = [1 - mode.curvature * early, 1 - mode.curvature * early * exponent / (exponent + 1)]
    solved = integrate.solve_ivp(slopes, (early, 8), start, "Radau", times, rtol=1e-10, atol=1e-13)

    def predicted(curvature, teacher_curvature, value):
        each = curvature, teacher_curvature, value, times
        return np.stack([wma.flow_student(*each), wma.flow_teacher(*each)])

    nulls = predicted(mode.curvature, mode.teacher_curvature, exponent + 0.05), predicted(mode.curvature, 0.0, exponent)
    return compare(predicted(mode.curvature, mode.teacher_curvature, exponent), solved.y, *nulls, tolerance=INTEGRATED)
