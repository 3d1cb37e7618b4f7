"""Formulas and proofs of the claims in `tracer.theory.claims.pareto`."""

from collections.abc import Callable

import sympy as sp

from tracer.theory.claims.proofs.coverage import data, gradient, pull
from tracer.theory.claims.proofs.endpoints import cross, held, metric_value, mu, rho, s, start, strength, w
from tracer.theory.claims.proofs.matrices import entries, inner
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


def replay_residues(held_to: sp.Expr = sp.S.One) -> list[sp.Expr]:
    """The same for metrics that share no modes with the data: for all entries of two weights, curvature and metric 2 x 2.

    Then, of a mode of the pencil of both, that forgetting at the minimiser falls with the strength, from what the smallest loss
    leaves to nothing, so that it equals any that lies between. `held_to` multiplies the pull of the pretrained weights.
    """
    at, best, first = (entries(name, 1, 2) for name in ("w", "b", "a"))
    curvature, metric = ((root := entries(name, 2, 2)).T * root for name in ("k", "d"))
    slopes = best * (curvature + strength * metric) - held_to * strength * first * metric

    def total(where: sp.Matrix) -> sp.Expr:
        moved = where - first
        return inner(where * curvature, where) / 2 - inner(where, slopes) + strength * inner(moved * metric, moved) / 2

    apart = at - best
    moved = -gradient / (data + strength * pull)
    forgotten, loss_left = pull * moved**2 / 2, data * (moved + gradient / data) ** 2 / 2
    return [
        total(at) - total(best) - inner(apart * (curvature + strength * metric), apart) / 2,
        forgotten.diff(strength) + pull**2 * gradient**2 / (data + strength * pull) ** 3,
        sp.limit(forgotten, strength, sp.oo),
        sp.limit(loss_left, strength, 0, "+"),
    ]


def _pareto(metric: str, steps: Callable[[], list[sp.Expr]] = pareto_residues) -> Proof:
    distance, loss = (sp.Function(name) for name in (f"F_{metric}", "L"))
    at, best = sp.symbols("W W_lambda")
    sums = (loss(each) + strength * distance(each) for each in (at, best))
    return Proof(sp.Ge(*sums, evaluate=False), steps)


PROOFS = {
    "pareto-function-space": _pareto("Sigma"),
    "pareto-parameter-space": _pareto("I"),
    "pareto-replay": _pareto("o", replay_residues),
}
