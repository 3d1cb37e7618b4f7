"""Moving teachers against the static one: who errs less, what the printed proof of it compares, and what it costs."""

import numpy as np

from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Mode, products, random_weights, simulate
from tracer.theory.claims.proximal import STEPS, solved_mode


def _solved(rng: np.random.Generator) -> tuple[Mode, np.ndarray, np.ndarray, np.ndarray]:
    """A solved mode, its errors' products by q, and errors of students and teachers."""
    mode, rates = solved_mode(rng), random_weights(rng, STEPS).all_rates
    return mode, products(mode.data_share, rates), *simulate(mode, rates)


@theorem(f"{TRACER}; {PROJECT} (that its premise always holds, and the proof)", "Proposition C.10")
def dominance(rng: np.random.Generator) -> Check:
    """No solved student's task error exceeds the static teacher's: they are p|E_(t-1)| and p|E_0|, for every kernel and t >= 1."""
    # The student's error over that under the static teacher, at most 1; the nulls are equality and the teacher after its update.
    mode, kept, students, _ = _solved(rng)
    ratios = students[1:] / simulate(mode, np.zeros(STEPS))[0][1:]
    found = compare(kept[:-1], ratios, 1.0, kept[1:])
    return found._replace(error=max(found.error, float(ratios.max() - 1)))


@theorem(PROJECT, "Proposition C.10")
def printed_dominance_proof(rng: np.random.Generator) -> Check:
    """The norms that the printed proof compares forget q W*, and are not ordered: from W_0 = W*/p the moving one is greater."""
    # The norms that the printed proof compares, at an optimum of 1; the null is that none exceeds the static teacher's, the first.
    mode, kept, _, teachers = _solved(rng)
    compared = np.abs(mode.teacher_share * (1 + (1 / mode.teacher_share - 1) * teachers) - 1)
    return compare(mode.data_share * (1 - kept), compared, compared[0])


@theorem(PROJECT, "Proposition C.10")
def dominance_forgets(rng: np.random.Generator) -> Check:
    """A solved student's task error and its way from W_0 there add up to |E_0|: whoever errs less has forgotten more."""
    # How far the student has gone from W_0; the null is how far it goes under the static teacher.
    mode, kept, students, _ = _solved(rng)
    return compare(1 - mode.teacher_share * kept[:-1], 1 - students[1:], mode.data_share)
