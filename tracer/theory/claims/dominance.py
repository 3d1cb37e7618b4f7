"""Moving teachers against the static one: who errs less, what the printed proof of it compares, and what it costs."""

import numpy as np
import sympy as sp

from tracer.theory.claims.bounds import norm
from tracer.theory.claims.claim import PROJECT, TRACER, Check, Claim, compare
from tracer.theory.claims.instances import products, random_solved, solve
from tracer.theory.claims.proximal import STEPS, before, best, omega, p, q, solved
from tracer.theory.claims.tolerances import EXACT

start, s = sp.symbols("w_0 s", positive=True)
DOMINANCE = ("Proposition C.10",)


def dominance_residues(share: sp.Expr) -> list[sp.Expr]:
    """Errors of the students of the teacher at hand and of the static one, and the premise: each factor lies between 0 and 1."""
    factor = 1 - q * omega
    return [
        solved(q) - best - share * (before - best),
        solved(q).subs(before, start) - best - share * (start - best),
        1 - factor - q * omega,
        factor - (p + q * (1 - omega)),
    ]


def printed_residues(distance: sp.Expr) -> list[sp.Expr]:
    """From W_0 = W*/p: what the printed proof compares, for the static teacher and for one with the share s of the error."""
    first = best / p
    teacher = best + s * (first - best)
    return [p * first - best, sp.simplify(best - p * teacher - distance)]


def printed_distance() -> sp.Expr:
    """|p teacher - W*|, where the static teacher's is 0."""
    return q * (1 - s) * best


def forgetting_residues(displacement: sp.Expr) -> list[sp.Expr]:
    """A student at p times its teacher's error e has gone the rest of the way from where it started, and on the same line."""
    student = solved(q).subs(before, best + sp.Symbol("e") * (start - best))
    return [start - student - displacement * (start - best), displacement + (student - best) / (start - best) - 1]


def displacement() -> sp.Expr:
    """Share of the initial error that the student has moved by."""
    return 1 - p * sp.Symbol("e")


def _dominance_check(rng: np.random.Generator) -> Check:
    """The student's error over that under the static teacher; the nulls are equality and the teacher after its update."""
    run = random_solved(rng, STEPS)
    static, _ = solve(run.instance, np.zeros(STEPS), run.strength)
    ratios, kept = (run.errors(run.students) / run.errors(static))[1:], products(run.data_share, run.rates)
    found = compare(kept[:-1], ratios, EXACT, np.ones(STEPS), kept[1:])
    return found._replace(error=max(found.error, float(ratios.max() - 1)))


def _printed_check(rng: np.random.Generator) -> Check:
    """The norms that the printed proof compares; the null is that none exceeds the static teacher's, the first."""
    run = random_solved(rng, STEPS)
    share, best = run.data_share, run.optimum
    _, teachers = solve(run.instance._replace(initial_weights=best / (1 - share)), run.rates, run.strength)
    compared = run.distances((1 - share) * teachers - best)
    predicted = share * (1 - products(share, run.rates)) * np.linalg.norm(best)
    return compare(predicted, compared, EXACT, np.full(STEPS + 1, compared[0]))


def _forgetting_check(rng: np.random.Generator) -> Check:
    """How far the student has gone from W_0, by least squares; the null is how far it goes under the static teacher."""
    run = random_solved(rng, STEPS)
    share = run.data_share
    moved = run.distances(run.students - run.students[0])[1:] / run.errors(run.students[0])
    found = compare(1 - (1 - share) * products(share, run.rates)[:-1], moved, EXACT, np.full(STEPS, share))
    return found._replace(error=max(found.error, float(share - moved.min())))


CLAIMS = (
    Claim(
        "dominance",
        "No solved student's task error exceeds the static teacher's: they are p|E_(t-1)| and p|E_0|, for every kernel and t >= 1.",
        f"{TRACER}; {PROJECT} (that its premise always holds, and the proof)",
        lambda: sp.Le(sp.Symbol("p") * sp.Abs(sp.Symbol("E_{t-1}")), sp.Symbol("p") * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        _dominance_check,
        lambda: dominance_residues(p),
        DOMINANCE,
    ),
    Claim(
        "printed-dominance-proof",
        "The norms that the printed proof compares forget q W*, and are not ordered: from W_0 = W*/p the moving one is greater.",
        PROJECT,
        lambda: sp.Eq(norm(r"p \bar{W}_t P - W_*"), (q * (1 - s)) * norm("W_*"), evaluate=False),
        _printed_check,
        lambda: printed_residues(printed_distance()),
        DOMINANCE,
    ),
    Claim(
        "dominance-forgets",
        "A solved student's task error and its way from W_0 there add up to |E_0|: whoever errs less has forgotten more.",
        PROJECT,
        lambda: sp.Eq(norm("(W_t - W_0) P") + norm("(W_t - W_*) P"), sp.Abs(sp.Symbol("E_0")), evaluate=False),
        _forgetting_check,
        lambda: forgetting_residues(displacement()),
        DOMINANCE,
    ),
)
