"""Formulas and proofs of the claims in `tracer.theory.claims.pareto`."""

import sympy as sp

from tracer.theory.claims.proofs.endpoints import cross, held, metric_value, mu, rho, s, start, strength, w
from tracer.theory.claims.proofs.proof import Proof

BEST = held(strength * metric_value)


def pareto_residues(best: sp.Expr = BEST) -> list[sp.Expr]:
    """Loss plus strength x distance at any w over that at the minimiser, of one mode with the metric's value D, less a square.

    So at equal loss no weights are closer, and of two families the one that minimises the distance is; strengths from infinity to 0
    reach every loss from that of the pretrained weights to the smallest.
    """

    def total(at: sp.Expr) -> sp.Expr:
        return -cross * at + (rho * s + mu) * at**2 / 2 + strength * metric_value * (at - start) ** 2 / 2

    return [total(w) - total(BEST) - (rho * s + mu + strength * metric_value) * (w - best) ** 2 / 2]


def _pareto(metric: str) -> Proof:
    distance, loss = (sp.Function(name) for name in (f"F_{metric}", "L"))
    at, best = sp.symbols("W W_lambda")
    sums = (loss(each) + strength * distance(each) for each in (at, best))
    return Proof(sp.Ge(*sums, evaluate=False), pareto_residues)


PROOFS = {"pareto-function-space": _pareto("Sigma"), "pareto-parameter-space": _pareto("I")}
