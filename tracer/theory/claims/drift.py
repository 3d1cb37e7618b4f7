"""Pretrained knowledge that the data do not see, under weight decay: how much of it each strategy retains."""

import numpy as np

from tracer.averaging import Exponential, PowerLaw
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Instance, descend, extrapolated, power_law_rates, random_instance, stable_learning_rate
from tracer.theory.claims.tolerances import ASYMPTOTIC
from tracer.theory.closed_forms import ema, wma
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.limits import limit
from tracer.theory.strategies import L2SP, Distillation, FineTuning, WeightDecay


def _decaying(rng: np.random.Generator) -> tuple[Instance, float, float]:
    """An instance with weight decay, a strength, and a stable learning rate for a pull in the weights."""
    case, teacher_curvature = random_instance(rng, rng.uniform(0.3, 0.6)), float(rng.uniform(0.5, 1.0))
    return case, teacher_curvature, stable_learning_rate(case, teacher_curvature)


@theorem(PROJECT, "Section C.6")
def orthogonal_drift_fine_tuning(rng: np.random.Generator) -> Check:
    """What the data do not see decays like (1 - eta mu)^t in fine-tuning, whatever teacher is compared on those data."""
    # Fine-tuning, and an EMA teacher in the data's metric, which does not feel those weights.
    case, teacher_curvature, eta = _decaying(rng)
    strategies = FineTuning(), Distillation(teacher_curvature, Exponential(0.8))
    alone = descend(case, [0.0] * 20, eta)[0]
    taught = descend(case, [0.2] * 20, eta, teacher_curvature, case.second_moment)[0]
    measured = case.off_task(np.stack([alone, taught]))
    paths = [gradient_descent(case.problem, strategy, learning_rate=eta, steps=20).weights(20) for strategy in strategies]
    formula = (1 - eta * case.weight_decay) ** 20 * case.off_task(case.initial_weights)
    predicted = np.stack([case.off_task(np.stack(paths)), np.stack([formula] * 2)])
    return compare(predicted, np.stack([measured] * 2), case.off_task(case.initial_weights), 0.0)


@theorem(TRACER, "Section C.4")
def orthogonal_part_l2_sp(rng: np.random.Generator) -> Check:
    """Of what the data do not see L2-SP retains the share lambda/(lambda + mu) for ever, and weight decay alone nothing."""
    case, teacher_curvature, eta = _decaying(rng)
    kept, start = case.off_task(descend(case, [0.0] * 600, eta, teacher_curvature)[0]), case.off_task(case.initial_weights)
    forgotten = case.off_task(descend(case, [0.0] * 600, eta)[0])
    share = teacher_curvature / (teacher_curvature + case.weight_decay)
    plain = case.problem.with_weight_decay(0.0)
    limits = limit(case.problem, L2SP(teacher_curvature)), limit(plain, WeightDecay(case.weight_decay))
    predicted = np.stack([case.off_task(limits[0]), share * start, case.off_task(limits[1])])
    return compare(predicted, np.stack([kept, kept, forgotten]), start, 0.0, limit(plain, L2SP(teacher_curvature)))


@theorem(PROJECT)
def orthogonal_drift_ema(rng: np.random.Generator) -> Check:
    """An EMA teacher compared in the weights lets what the data do not see decay geometrically, like any other mode."""
    (case, teacher_curvature, eta), momentum, steps = _decaying(rng), rng.uniform(0.5, 0.9), 20
    measured = case.off_task(descend(case, [1 - momentum] * steps, eta, teacher_curvature)[0])
    path = gradient_descent(
        case.problem, Distillation(teacher_curvature, Exponential(momentum), "parameter"), learning_rate=eta, steps=steps
    )
    start, mode = case.off_task(case.initial_weights), (case.weight_decay, teacher_curvature, eta)
    predicted = np.stack([case.off_task(path.weights(steps)), ema.student(*mode, momentum, steps) * start])
    held = teacher_curvature / (teacher_curvature + case.weight_decay) * start
    return compare(predicted, np.stack([measured] * 2), start, held, (1 - eta * case.weight_decay) ** steps * start)


@theorem(PROJECT)
def orthogonal_drift_wma(rng: np.random.Generator) -> Check:
    """A weighted moving average compared in the weights retains what the data do not see like t^(-beta mu/(mu + lambda))."""
    # Slopes of what is left after 1000, 2000 and 4000 steps, extrapolated; the nulls are a share that stays and no pull.
    (case, teacher_curvature, eta), exponent = _decaying(rng), rng.uniform(0.5, 1.4)
    times = np.array([1000, 2000, 4000])
    path = gradient_descent(
        case.problem, Distillation(teacher_curvature, PowerLaw(exponent), "parameter"), learning_rate=eta, steps=times[-1]
    )
    ends = [descend(case, power_law_rates(exponent, steps), eta, teacher_curvature)[0] for steps in times]
    left = np.linalg.norm(case.off_task(np.stack([ends, path.weights(times)])), axis=(2, 3))
    measured = extrapolated(*-np.diff(np.log2(left)).T)
    return compare(
        wma.persistence_exponent(case.weight_decay, teacher_curvature, exponent), measured, 0.0, exponent, tolerance=ASYMPTOTIC
    )
