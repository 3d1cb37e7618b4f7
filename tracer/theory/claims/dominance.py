"""Moving teachers against the static one: who errs less, what the printed proof of it compares, and what it costs."""

import numpy as np

from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import products, random_solved, solve
from tracer.theory.claims.proximal import STEPS


@theorem(f"{TRACER}; {PROJECT} (that its premise always holds, and the proof)", "Proposition C.10")
def dominance(rng: np.random.Generator) -> Check:
    """No solved student's task error exceeds the static teacher's: they are p|E_(t-1)| and p|E_0|, for every kernel and t >= 1."""
    # The student's error over that under the static teacher, at most 1; the nulls are equality and the teacher after its update.
    run = random_solved(rng, STEPS)
    static, _ = solve(run.instance, np.zeros(STEPS), run.strength)
    ratios, kept = (run.errors(run.students) / run.errors(static))[1:], products(run.data_share, run.rates)
    found = compare(kept[:-1], ratios, 1.0, kept[1:])
    return found._replace(error=max(found.error, float(ratios.max() - 1)))


@theorem(PROJECT, "Proposition C.10")
def printed_dominance_proof(rng: np.random.Generator) -> Check:
    """The norms that the printed proof compares forget q W*, and are not ordered: from W_0 = W*/p the moving one is greater."""
    # The norms that the printed proof compares; the null is that none exceeds the static teacher's, the first.
    run = random_solved(rng, STEPS)
    share, best = run.data_share, run.instance.optimum
    _, teachers = solve(run.instance._replace(initial_weights=best / (1 - share)), run.rates, run.strength)
    compared = run.distances((1 - share) * teachers - best)
    return compare(share * (1 - products(share, run.rates)) * np.linalg.norm(best), compared, compared[0])


@theorem(PROJECT, "Proposition C.10")
def dominance_forgets(rng: np.random.Generator) -> Check:
    """A solved student's task error and its way from W_0 there add up to |E_0|: whoever errs less has forgotten more."""
    # How far the student has gone from W_0, by least squares; the null is how far it goes under the static teacher.
    run = random_solved(rng, STEPS)
    share = run.data_share
    moved = run.distances(run.students - run.students[0])[1:] / run.errors(run.students[0])
    return compare(1 - (1 - share) * products(share, run.rates)[:-1], moved, share)
