"""Which static teacher gives up least for a given task loss: it depends on where closeness is measured."""

import numpy as np
from scipy.optimize import brentq

from tracer import theory
from tracer.averaging import Static
from tracer.theory.claims.claim import PROJECT, Check, theorem
from tracer.theory.claims.endpoints import Family, descended, static
from tracer.theory.claims.instances import Instance, descend, power_law_rates, random_instance
from tracer.theory.claims.tolerances import SUMMED

WIDE = -14.0, 14.0
"""Logarithms of strengths at which a student ends at its optimum, and at its start, to about a millionth."""


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


def _rivals(rng: np.random.Generator, case: Instance, keep: np.ndarray) -> list[np.ndarray]:
    """Weights by descent: of static teachers in three metrics, of an EMA and a WMA amid their run in two, and of WiSE-FT."""
    strength, steps = rng.uniform(0.5, 2.0), 40
    ema, wma = [1 - rng.uniform(0.5, 0.9)] * steps, power_law_rates(rng.uniform(0.3, 1.0), steps)
    static_ends = [descended(case, strength, metric) for metric in (None, case.second_moment, keep)]
    moving = [descend(case, rates, strength, metric) for rates in (ema, wma) for metric in (case.second_moment, keep)]
    return [*static_ends, *moving, case.initial_weights + rng.uniform(0.2, 0.8) * (descended(case) - case.initial_weights)]


@theorem(PROJECT)
def pareto_replay(rng: np.random.Generator) -> Check:
    """Whatever inputs are to be kept, static distillation on them is Pareto-optimal: for any weights it has a strength, 0 and
    infinity included, at which neither its loss nor its forgetting on these inputs is larger, so that no teacher, metric or
    interpolation beats it in both.
    """
    # The largest excess of its loss over a rival's at equal forgetting; the nulls claim as much of the data's metric and of L2-SP.
    case, keep = random_instance(rng), theory.second_moment(rng.standard_normal((rng.integers(3, 21), 7)))
    problem, rivals = case.problem, _rivals(rng, case, keep)
    scale = problem.loss(case.initial_weights) - problem.loss(case.optimum)

    def excess(metric: theory.Metric, rival: np.ndarray) -> float:
        def end(log_strength: float) -> np.ndarray:
            return theory.limit(problem, theory.Distillation(np.exp(log_strength), Static(), metric))

        def further(log_strength: float) -> float:
            return forgetting(end(log_strength)) - forgetting(rival)

        matched = end(brentq(further, *WIDE) if further(WIDE[0]) > 0 else WIDE[0])
        return (problem.loss(matched) - problem.loss(rival)) / scale

    def forgetting(weights: np.ndarray) -> float:
        return theory.forgetting(weights, case.initial_weights, keep)

    metrics = theory.Inputs(keep), theory.Spectral(0.0), theory.Parameter()
    own, *nulls = (max(0.0, *(excess(metric, rival) for rival in rivals)) for metric in metrics)
    return Check(own, SUMMED, min(nulls))
