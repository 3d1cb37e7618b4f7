"""What holds for any teacher, loss and optimiser; and what kernels and update periods come to."""

import numpy as np

from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import random_instance, random_mode, random_second_moment, simulate, streamed
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.closed_forms import ema
from tracer.theory.closed_forms.stiffness import learning_rate_per_update


@theorem(PROJECT, "Section C.5.1")
def power_law_rates(rng: np.random.Generator) -> Check:
    """Weights (beta)_j / j! on the iterates are the streaming average with the rates beta / (beta + t); beta = 1 is uniform."""
    exponent, steps = rng.uniform(0.3, 3.0), 60
    weights = np.cumprod([1.0, *((exponent + j) / (j + 1) for j in range(steps))])
    measured = streamed(PowerLaw(exponent).rates(Clock(steps), np.arange(1, steps + 1)), np.eye(steps + 1))
    return compare(weights / weights.sum(), measured, PowerLaw(exponent + 0.1).weights(Clock(steps)))


@theorem(TRACER, "Section C.5.1")
def ema_weights(rng: np.random.Generator) -> Check:
    """An EMA weighs iterate j > 0 by (1 - m) m^-j and the pretrained model by 1."""
    momentum, steps = rng.uniform(0.8, 0.95), 40
    weights = (1 - momentum) * momentum ** -np.arange(steps + 1.0)
    alike, weights[0] = weights / weights.sum(), 1.0
    measured = streamed(Exponential(momentum).rates(Clock(steps), np.arange(1, steps + 1)), np.eye(steps + 1))
    return compare(weights / weights.sum(), measured, alike)


@theorem(PROJECT)
def update_period(rng: np.random.Generator) -> Check:
    """With an update every k steps, these act as one step of size (1 - (1 - eta c)^k)/c, so closed forms hold for any period."""
    # The nulls take one step of the size of a single one, and of all together.
    mode, period, momentum = random_mode(rng), int(rng.integers(2, 7)), rng.uniform(0.3, 0.8)
    paths = simulate(mode, [0.0 if step % period else 1 - momentum for step in range(1, 12 * period + 1)])

    def predicted(size: float) -> np.ndarray:
        each = mode.curvature, mode.teacher_curvature, size, momentum, np.arange(13)
        return np.stack([ema.student(*each), ema.teacher(*each)])

    sizes = learning_rate_per_update(*mode, period), mode.learning_rate, period * mode.learning_rate
    own, *nulls = (predicted(float(size)) for size in sizes)
    return compare(own, np.stack(paths)[:, ::period], *nulls)


@theorem(PROJECT)
def teacher_displacement(rng: np.random.Generator) -> Check:
    """For any teacher, loss and optimiser the gaps after updates, weighed by r/(1-r), add up to the teacher's displacement."""
    # The true contrastive loss by sign descent with noise, and any of the kernels; the null weighs by plain rates.
    case, steps = random_instance(rng), 50
    loss = theory.Linearisation(case.images, case.texts, case.initial_weights, 5.0)
    kernels: list[Kernel] = [Uniform(), PowerLaw(0.5), Exponential(0.9), Beta(0.5, 0.5)]
    rates = kernels[rng.integers(len(kernels))].rates(Clock(steps), np.arange(1, steps + 1))
    student = teacher = case.initial_weights
    gaps = []
    for rate in rates:
        student = student - 0.05 * np.sign(loss.gradient(student)) + 0.02 * rng.standard_normal(student.shape)
        teacher = teacher + rate * (student - teacher)
        gaps.append(student - teacher)
    predicted, null = (np.tensordot(weights, gaps, 1) for weights in (rates / (1 - rates), rates))
    return compare(predicted, teacher - case.initial_weights, null)


@theorem(PROJECT)
def energy_never_rises(rng: np.random.Generator) -> Check:
    """For any rates in [0, 2] and step sizes up to 2 over the largest curvature, loss plus penalty never increases."""
    # The largest rise at the extremes allowed; the nulls are teachers' rates, or step sizes, above them.
    case, strength = random_instance(rng, rng.uniform(0.0, 0.5)), rng.uniform(0.5, 1.5)
    problem, pull = case.problem, strength * random_second_moment(rng)
    largest, allowed = 2 / np.linalg.norm(problem.curvature_matrix + pull, 2), rng.uniform(0, 2, 60)

    def rise(rates: np.ndarray, learning_rate: np.floating) -> float:
        student = teacher = case.initial_weights
        energies = []
        for rate in rates:
            gap = student - teacher
            energies.append(problem.loss(student) + np.sum(gap @ pull * gap) / 2)
            student = student - learning_rate * (problem.gradient(student) + gap @ pull)
            teacher = teacher + rate * (student - teacher)
        return float(max(0.0, np.diff(energies).max()) / np.ptp(energies))

    return Check(rise(allowed, largest), EXACT, min(rise(allowed + 2, largest), rise(allowed, 1.5 * largest)))


@theorem(PROJECT)
def gap_bound(rng: np.random.Generator) -> Check:
    """For rates in [0, 2] and stable steps no mode's error exceeds the initial one, nor its gap sqrt(sigma/l) times that."""
    # Errors and gaps over their bounds, for the worst of many teachers; the null is the static teacher's bound, q.
    mode = random_mode(rng, x=(1.8, 2.0))
    students, teachers = np.stack([simulate(mode, rng.uniform(0, 2, 40)) for _ in range(40)], axis=1)
    error, gap = np.abs(students).max(), np.abs(students - teachers).max()
    bound = np.sqrt(mode.curvature / mode.teacher_curvature)
    return Check(max(error - 1, gap / bound - 1, 0.0), EXACT, max(gap / mode.data_share - 1, 0.0))
