"""Formulas and proofs of the claims in `tracer.theory.claims.dominance`."""

import sympy as sp

from tracer.theory.claims.proofs.bounds import norm
from tracer.theory.claims.proofs.proof import Proof
from tracer.theory.claims.proofs.proximal import before, best, omega, p, q, solved

start, s = sp.symbols("w_0 s", positive=True)


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


PROOFS = {
    "dominance": Proof(
        sp.Le(sp.Symbol("p") * sp.Abs(sp.Symbol("E_{t-1}")), sp.Symbol("p") * sp.Abs(sp.Symbol("E_0")), evaluate=False),
        lambda: dominance_residues(p),
    ),
    "printed-dominance-proof": Proof(
        sp.Eq(norm(r"p \bar{W}_t P - W_*"), (q * (1 - s)) * norm("W_*"), evaluate=False),
        lambda: printed_residues(printed_distance()),
    ),
    "dominance-forgets": Proof(
        sp.Eq(norm("(W_t - W_0) P") + norm("(W_t - W_*) P"), sp.Abs(sp.Symbol("E_0")), evaluate=False),
        lambda: forgetting_residues(displacement()),
    ),
}
