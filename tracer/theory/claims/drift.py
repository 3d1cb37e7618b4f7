"""Pretrained knowledge that the data do not see, under weight decay: how much of it each strategy retains."""

import numpy as np

from tracer import theory
from tracer.averaging import Exponential
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, descend, extrapolated, power_law_rates, random_instance, stable_learning_rate
from tracer.theory.claims.tolerances import ASYMPTOTIC
from tracer.theory.closed_forms import ema, wma


def _decaying(rng: np.random.Generator) -> tuple[Instance, np.ndarray, float]:
    """An instance with weight decay, the orthogonal part of its weights, and a strength."""
    case = random_instance(rng, rng.uniform(0.3, 0.6))
    return case, case.off_task(case.initial_weights), float(rng.uniform(0.5, 1.0))


@theorem(PROJECT, "Section C.6")
def orthogonal_drift_fine_tuning(rng: np.random.Generator) -> Check:
    """What the data do not see decays like (1 - eta mu)^t in fine-tuning, whatever teacher is compared on those data."""
    # Alone and with a teacher on the data, by descent and by the library; the null retains all.
    case, start, strength = _decaying(rng)
    strategy, sigma = theory.Distillation(strength, Exponential(0.8)), case.second_moment
    eta = stable_learning_rate(case, strength, sigma)
    path = theory.gradient_descent(case.problem, strategy, learning_rate=eta, steps=20)
    measured = case.off_task(np.stack([descend(case, [0.2] * 20, strength, sigma), path.weights(20), descend(case, [0.0] * 20)]))
    predicted = [(1 - size * case.weight_decay) ** 20 * start for size in (eta, eta, stable_learning_rate(case))]
    return compare(np.stack(predicted), measured, start)


@theorem(TRACER, "Section C.4")
def orthogonal_part_l2_sp(rng: np.random.Generator) -> Check:
    """Of what the data do not see L2-SP retains the share lambda/(lambda + mu) for ever, and weight decay alone nothing."""
    # With a pull and without; the nulls are the pretrained weights, and nothing.
    case, start, strength = _decaying(rng)
    measured = case.off_task(np.stack([descend(case, [0.0] * 600, strength), descend(case, [0.0] * 600)]))
    predicted = np.stack([strength / (strength + case.weight_decay) * start, 0 * start])
    return compare(predicted, measured, start, 0.0)


@theorem(PROJECT)
def orthogonal_drift_ema(rng: np.random.Generator) -> Check:
    """An EMA teacher compared in the weights lets what the data do not see decay geometrically, like any other mode."""
    # The nulls are a static teacher, and none.
    (case, start, strength), momentum, steps = _decaying(rng), rng.uniform(0.5, 0.9), 20
    measured = case.off_task(descend(case, [1 - momentum] * steps, strength))
    mode = case.weight_decay, strength, stable_learning_rate(case, strength)
    predicted, *nulls = (ema.student(*mode, memory, steps) * start for memory in (momentum, 1.0, 0.0))
    return compare(predicted, measured, *nulls)


@theorem(PROJECT)
def orthogonal_drift_wma(rng: np.random.Generator) -> Check:
    """A weighted moving average compared in the weights retains what the data do not see like t^(-beta mu/(mu + lambda))."""
    # Slopes between 1000, 2000 and 4000 steps, extrapolated; the nulls are a share that stays and no pull.
    (case, _, strength), exponent = _decaying(rng), rng.uniform(0.5, 1.4)
    ends = np.stack([descend(case, power_law_rates(exponent, steps), strength) for steps in (1000, 2000, 4000)])
    measured = extrapolated(*-np.diff(np.log2(np.linalg.norm(case.off_task(ends), axis=(1, 2)))))
    predicted = wma.persistence_exponent(case.weight_decay, strength, exponent)
    return compare(predicted, measured, 0.0, exponent, tolerance=ASYMPTOTIC)
