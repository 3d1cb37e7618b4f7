"""What holds for any teacher, loss and optimiser; and what kernels and update periods come to."""

import numpy as np

from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Uniform
from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import random_instance, random_mode, random_second_moment, simulate
from tracer.theory.claims.tolerances import EXACT
from tracer.theory.closed_forms import ema
from tracer.theory.closed_forms.stiffness import learning_rate_per_update
from tracer.theory.linearisation import Linearisation


def _streamed(rates: np.ndarray) -> np.ndarray:
    """Weights of the students in the last teacher, by feeding the streaming form with unit vectors."""
    units = np.eye(len(rates) + 1)
    mean = units[0]
    for rate, unit in zip(rates, units[1:], strict=True):
        mean = mean + rate * (unit - mean)
    return mean


@theorem(PROJECT, "Section C.5.1")
def power_law_rates(rng: np.random.Generator) -> Check:
    """Weights (beta)_j / j! on the iterates are the streaming average with the rates beta / (beta + t); beta = 1 is uniform."""
    exponent, steps = rng.uniform(0.3, 3.0), 60
    weights = np.cumprod([1.0, *((exponent + j) / (j + 1) for j in range(steps))])
    streamed = _streamed(PowerLaw(exponent).rates(Clock(steps), np.arange(1, steps + 1)))
    return compare(streamed, weights / weights.sum(), PowerLaw(exponent + 0.1).weights(Clock(steps)))


@theorem(TRACER, "Section C.5.1")
def ema_weights(rng: np.random.Generator) -> Check:
    """An EMA weighs iterate j > 0 by (1 - m) m^-j and the pretrained model by 1."""
    momentum, steps = rng.uniform(0.8, 0.95), 40
    weights = (1 - momentum) * momentum ** -np.arange(steps + 1.0)
    without_anchor = weights / weights.sum()
    weights[0] = 1.0
    streamed = _streamed(Exponential(momentum).rates(Clock(steps), np.arange(1, steps + 1)))
    return compare(streamed, weights / weights.sum(), without_anchor)


@theorem(PROJECT)
def update_period(rng: np.random.Generator) -> Check:
    """With an update every k steps, these act as one step of size (1 - (1 - eta c)^k)/c, so closed forms hold for any period."""
    mode, period, momentum = random_mode(rng), int(rng.integers(2, 7)), rng.uniform(0.3, 0.8)
    rates = [0.0 if step % period else 1 - momentum for step in range(1, 12 * period + 1)]
    students, teachers = simulate(mode, rates)
    updates = np.arange(13)

    def predicted(size):
        each = mode.curvature, mode.teacher_curvature, size, momentum, updates
        return np.stack([ema.student(*each), ema.teacher(*each)])

    nulls = mode.learning_rate, period * mode.learning_rate
    measured = np.stack([students, teachers])[:, ::period]
    return compare(predicted(learning_rate_per_update(*mode, period)), measured, *(predicted(size) for size in nulls))


@theorem(PROJECT)
def teacher_displacement(rng: np.random.Generator) -> Check:
    """For any teacher, loss and optimiser the gaps after updates, weighed by r/(1-r), add up to the teacher's displacement."""
    # The true contrastive loss by sign descent with noise, and any of the kernels.
    case, steps = random_instance(rng), 50
    loss = Linearisation(case.images, case.texts, case.initial_weights, 5.0)
    kernels: list[Kernel] = [Uniform(), PowerLaw(0.5), Exponential(0.9), Beta(0.5, 0.5)]
    rates = kernels[rng.integers(len(kernels))].rates(Clock(steps), np.arange(1, steps + 1))
    student = mean = case.initial_weights
    gaps = []
    for rate in rates:
        student = student - 0.05 * np.sign(loss.gradient(student)) + 0.02 * rng.standard_normal(student.shape)
        mean = mean + rate * (student - mean)
        gaps.append(student - mean)
    moved = mean - case.initial_weights
    return compare(np.tensordot(rates / (1 - rates), gaps, 1), moved, np.tensordot(rates, gaps, 1), 0 * moved)


@theorem(PROJECT)
def energy_never_rises(rng: np.random.Generator) -> Check:
    """For any rates in [0, 2] and step sizes up to 2 over the largest curvature, loss plus penalty never increases."""
    # The largest rise of the energy at the extremes allowed; the nulls allow teacher's rates, or step sizes, above them.
    case = random_instance(rng, rng.uniform(0.0, 0.5))
    problem, metric, teacher_curvature = case.problem, random_second_moment(rng, case.images.shape[1]), rng.uniform(0.5, 1.5)
    largest = 2 / np.linalg.norm(problem.curvature_matrix + teacher_curvature * metric, 2)

    def rise(rates, learning_rate) -> float:
        student, mean, energies = case.initial_weights, case.initial_weights, []
        for rate in rates:
            gap = student - mean
            energies.append(problem.loss(student) + teacher_curvature * np.sum(gap @ metric * gap) / 2)
            student = student - learning_rate * (problem.gradient(student) + teacher_curvature * gap @ metric)
            mean = mean + rate * (student - mean)
        return float(max(0.0, np.diff(energies).max()) / np.ptp(energies))

    allowed = rng.uniform(0, 2, 60)
    beyond = rise(allowed + 2, largest), rise(allowed, 1.5 * largest)
    return Check(rise(allowed, largest), EXACT, min(beyond))


@theorem(PROJECT)
def gap_bound(rng: np.random.Generator) -> Check:
    """For rates in [0, 2] and stable steps no mode's error exceeds the initial one, nor its gap sqrt(sigma/l) times that."""
    # Errors and gaps over their bounds, for the worst of many teachers; the null is the static teacher's bound, q.
    mode = random_mode(rng, x=(1.8, 2.0))
    runs = [simulate(mode, rng.uniform(0, 2, 40)) for _ in range(40)]
    error = max(np.abs(students).max() for students, _ in runs)
    gap = max(np.abs(students - teachers).max() for students, teachers in runs)
    bound = np.sqrt(mode.curvature / mode.teacher_curvature)
    return Check(float(max(error - 1, gap / bound - 1, 0.0)), EXACT, float(max(gap / mode.data_share - 1, 0.0)))
