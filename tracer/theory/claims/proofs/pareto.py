"""Formulas and proofs of the claims in `tracer.theory.claims.pareto`."""

import sympy as sp

from tracer.theory.claims.proofs.endpoints import cross, held, metric_value, mu, rho, s, start, strength, w
from tracer.theory.claims.proofs.proof import Proof


def pareto_residues(margin: sp.Expr) -> list[sp.Expr]:
    """Loss plus strength x distance at any w over that at the minimiser, of one mode with the metric's value D, less the margin.

    The margin is not negative. So at equal loss no weights are closer, and of two families the one that minimises the distance is;
    strengths from infinity to 0 reach every loss from that of the pretrained weights to the smallest.
    """
    teacher_curvature = strength * metric_value

    def total(at):
        return -cross * at + (rho * s + mu) * at**2 / 2 + teacher_curvature * (at - start) ** 2 / 2

    return [total(w) - total(held(teacher_curvature)) - margin]


def pareto_margin(best: sp.Expr) -> sp.Expr:
    """What other weights lose, in one mode, over the best ones."""
    return (rho * s + mu + strength * metric_value) * (w - best) ** 2 / 2


def _pareto(metric: str) -> sp.Rel:
    distance, loss = (sp.Function(name) for name in (f"F_{metric}", "L"))
    at, best = sp.Symbol("W"), sp.Symbol("W_lambda")
    return sp.Ge(loss(at) + strength * distance(at), loss(best) + strength * distance(best), evaluate=False)


PROOFS = {
    "pareto-function-space": Proof(_pareto("Sigma"), lambda: pareto_residues(pareto_margin(held(strength * metric_value)))),
    "pareto-parameter-space": Proof(_pareto("I"), lambda: pareto_residues(pareto_margin(held(strength * metric_value)))),
}
