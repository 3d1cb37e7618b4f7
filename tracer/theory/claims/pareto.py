"""Which static teacher gives up least for a given task loss: it depends on where closeness is measured."""

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, Check, theorem
from tracer.theory.claims.endpoints import descended, static
from tracer.theory.claims.instances import random_instance
from tracer.theory.claims.tolerances import SUMMED
from tracer.theory.geometry import forgetting
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Strategy


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


@theorem(PROJECT)
def pareto_function_space(rng: np.random.Generator) -> Check:
    """Of all weights with its task loss, distillation on the data forgets least in function space: less than an L2-SP."""
    return _pareto_check(static, L2SP, in_weights=False)(rng)


@theorem(PROJECT)
def pareto_parameter_space(rng: np.random.Generator) -> Check:
    """Of all weights with its task loss, L2-SP stays closest to the pretrained ones: closer than a distillation on the data."""
    return _pareto_check(L2SP, static, in_weights=True)(rng)
