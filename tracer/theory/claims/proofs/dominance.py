"""Formulas and proofs of the claims in `tracer.theory.claims.dominance`."""

import sympy as sp

from tracer.theory.claims.proofs.bounds import norm
from tracer.theory.claims.proofs.proof import Proof, bound, equation
from tracer.theory.claims.proofs.proximal import LAST, P, before, best, omega, p, q, solved

start, s = sp.symbols("w_0 s", positive=True)
DISTANCE = q * (1 - s) * best
"""|p teacher - W*|, where the static teacher's is 0."""
DISPLACEMENT = 1 - p * sp.Symbol("e")
"""Share of the initial error that the student has moved by."""


def dominance_residues(share: sp.Expr = p) -> list[sp.Expr]:
    """Errors of the students of the teacher at hand and of the static one, and the premise: each factor lies between 0 and 1."""
    factor = 1 - q * omega
    errors = [solved(q).subs(before, teacher) - best - share * (teacher - best) for teacher in (before, start)]
    return [*errors, 1 - factor - q * omega, factor - (p + q * (1 - omega))]


def printed_residues(distance: sp.Expr = DISTANCE) -> list[sp.Expr]:
    """From W_0 = W*/p: what the printed proof compares, for the static teacher and for one with the share s of the error."""
    first = best / p
    return [p * first - best, sp.simplify(best - p * (best + s * (first - best)) - distance)]


def forgetting_residues(displacement: sp.Expr = DISPLACEMENT) -> list[sp.Expr]:
    """A student at p times its teacher's error e has gone the rest of the way from where it started, and on the same line."""
    student = solved(q).subs(before, best + sp.Symbol("e") * (start - best))
    return [start - student - displacement * (start - best), displacement + (student - best) / (start - best) - 1]


INITIAL = sp.Abs(sp.Symbol("E_0"))
PROOFS = {
    "dominance": Proof(bound(P * sp.Abs(LAST), P * INITIAL), dominance_residues),
    "printed-dominance-proof": Proof(equation(norm(r"p \bar{W}_t P - W_*"), q * (1 - s) * norm("W_*")), printed_residues),
    "dominance-forgets": Proof(equation(norm("(W_t - W_0) P") + norm("(W_t - W_*) P"), INITIAL), forgetting_residues),
}
