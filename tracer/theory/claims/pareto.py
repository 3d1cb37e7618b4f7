"""Which static teacher gives up least for a given task loss: it depends on where closeness is measured."""

from collections.abc import Callable

import numpy as np
import sympy as sp
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, Check, Claim
from tracer.theory.claims.endpoints import cross, descended, held, metric_value, mu, rho, s, start, static, strength, w
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SUMMED
from tracer.theory.geometry import forgetting
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Strategy


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


def _pareto_check(own: Callable[[float], Strategy], other: Callable[[float], Strategy], in_weights: bool):
    """The other strategy against one's own of equal task loss, in one's own distance; the null exchanges the two."""

    def check(rng: np.random.Generator) -> Check:
        case, teacher_curvature = random_instance(rng), rng.uniform(0.5, 2.0)
        problem = case.problem
        rival = descended(case, teacher_curvature, None if other is L2SP else case.second_moment)
        matched = brentq(
            lambda log: problem.loss(limit(problem, own(np.exp(log)))) - problem.loss(rival),
            np.log(teacher_curvature) - 3,
            np.log(teacher_curvature) + 3,
        )
        metric = np.eye(len(problem.second_moment)) if in_weights else problem.second_moment
        moved = [forgetting(weights, case.initial_weights, metric) for weights in (limit(problem, own(np.exp(matched))), rival)]
        return Check(max(moved[0] / moved[1] - 1, 0.0), SUMMED, max(moved[1] / moved[0] - 1, 0.0))

    return check


def _pareto(metric: str) -> sp.Rel:
    distance, loss = (sp.Function(name) for name in (f"F_{metric}", "L"))
    at, best = sp.Symbol("W"), sp.Symbol("W_lambda")
    return sp.Ge(loss(at) + strength * distance(at), loss(best) + strength * distance(best), evaluate=False)


CLAIMS = (
    Claim(
        "pareto-function-space",
        "Of all weights with its task loss, distillation on the data forgets least in function space: less than an L2-SP.",
        PROJECT,
        lambda: _pareto("Sigma"),
        _pareto_check(static, L2SP, in_weights=False),
        lambda: pareto_residues(pareto_margin(held(strength * metric_value))),
    ),
    Claim(
        "pareto-parameter-space",
        "Of all weights with its task loss, L2-SP stays closest to the pretrained ones: closer than a distillation on the data.",
        PROJECT,
        lambda: _pareto("I"),
        _pareto_check(L2SP, static, in_weights=True),
        lambda: pareto_residues(pareto_margin(held(strength * metric_value))),
    ),
)
