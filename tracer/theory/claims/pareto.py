"""Which static teacher gives up least for a given task loss: it depends on where closeness is measured."""

import numpy as np
from scipy.optimize import brentq

from tracer import theory
from tracer.theory.claims.claim import PROJECT, Check, theorem
from tracer.theory.claims.endpoints import Family, descended, static
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SUMMED


def _front(rng: np.random.Generator, own: Family, other: Family) -> Check:
    """The other family, by descent, against one's own of equal task loss, in one's own distance; the null exchanges the two."""
    case, strength = random_instance(rng), rng.uniform(0.5, 2.0)
    problem, identity = case.problem, np.eye(case.images.shape[1])
    metric, others = (identity if family is theory.L2SP else case.second_moment for family in (own, other))
    rival = descended(case, strength, others)

    def excess(log_strength: float) -> float:
        return float(problem.loss(theory.limit(problem, own(np.exp(log_strength)))) - problem.loss(rival))

    matched = theory.limit(problem, own(np.exp(brentq(excess, np.log(strength) - 3, np.log(strength) + 3))))
    near, far = (theory.forgetting(weights, case.initial_weights, metric) for weights in (matched, rival))
    return Check(max(near / far - 1, 0.0), SUMMED, max(far / near - 1, 0.0))


@theorem(PROJECT)
def pareto_function_space(rng: np.random.Generator) -> Check:
    """Of all weights with its task loss, distillation on the data forgets least in function space: less than an L2-SP."""
    return _front(rng, static, theory.L2SP)


@theorem(PROJECT)
def pareto_parameter_space(rng: np.random.Generator) -> Check:
    """Of all weights with its task loss, L2-SP stays closest to the pretrained ones: closer than a distillation on the data."""
    return _front(rng, theory.L2SP, static)
