"""The exponential teacher: its gap collapses geometrically, and adds up to what its momentum alone decides."""

from collections.abc import Callable

import numpy as np
from scipy import linalg
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Mode, random_mode, simulate
from tracer.theory.claims.tolerances import SUMMED
from tracer.theory.closed_forms import ema


def _draw(rng: np.random.Generator, steps: int) -> tuple[Mode, float, np.ndarray, np.ndarray]:
    """A mode, a momentum, and students and gaps of that many steps."""
    mode, momentum = random_mode(rng), float(rng.uniform(0.4, 0.9))
    students, teachers = simulate(mode, [1 - momentum] * steps)
    return mode, momentum, students, students - teachers


def _step(mode: Mode, momentum: float) -> np.ndarray:
    """What a step makes of student and teacher, (2, 2)."""
    kept, held = 1 - mode.x, mode.learning_rate * mode.teacher_curvature
    return np.array([[kept, held], [(1 - momentum) * kept, momentum + (1 - momentum) * held]])


@theorem(PROJECT)
def ema_eigenvalues(rng: np.random.Generator) -> Check:
    """With an EMA teacher a mode has two real eigenvalues, a = 1 - eta (sigma + l) and b = eta l: the discriminant is never
    negative.
    """
    mode, momentum, _, _ = _draw(rng, 0)
    measured = np.sort(np.linalg.eigvals(_step(mode, momentum)))[::-1]
    return compare(ema.eigenvalues(*mode, momentum), measured, [momentum, 1 - mode.x])


def _path(form: Callable[..., np.ndarray], mode: Mode, momentum: float, measured: np.ndarray) -> Check:
    """A closed form at all steps; the nulls are a teacher without and with all memory."""
    predicted, *nulls = (form(*mode, memory, np.arange(len(measured))) for memory in (momentum, 0.0, 1.0))
    return compare(predicted, measured, *nulls)


@theorem(PROJECT)
def ema_student(rng: np.random.Generator) -> Check:
    """The student's error under an EMA teacher is a sum of two geometric sequences."""
    mode, momentum, students, _ = _draw(rng, 80)
    return _path(ema.student, mode, momentum, students)


@theorem(f"{TRACER} (that it vanishes); {PROJECT} (the formula)", "Section C.5.2")
def ema_gap(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher is a difference of two geometric sequences, which starts at 0 and vanishes."""
    mode, momentum, _, gaps = _draw(rng, 80)
    return _path(ema.gap, mode, momentum, gaps)


@theorem(TRACER, "Corollary C.9", "Section C.5.2")
def ema_collapse(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher collapses at the geometric rate of the larger eigenvalue."""
    mode, momentum, _, gaps = _draw(rng, 400)
    return compare(ema.decay_rate(*mode, momentum), 1 - gaps[-1] / gaps[-2], 0.0, mode.learning_rate * mode.curvature)


@theorem(PROJECT)
def ema_budget(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher adds up to -m/(1-m) times the initial error, whatever curvature, strength and step size."""
    _, momentum, _, gaps = _draw(rng, 4000)
    return compare(ema.budget(momentum), gaps.sum(), 0.0, -1 / (1 - momentum), tolerance=SUMMED)


@theorem(PROJECT)
def ema_budget_with_period(rng: np.random.Generator) -> Check:
    """If an EMA teacher moves every k steps, the sum of the gap depends on the student's own factor a per step as well."""
    mode, momentum, period = random_mode(rng), rng.uniform(0.4, 0.9), int(rng.integers(2, 6))
    rates = [0.0 if step % period else 1 - momentum for step in range(1, 2000 * period + 1)]
    nulls = ema.budget(momentum), period * ema.budget(momentum)
    measured = np.subtract(*simulate(mode, rates)).sum()
    return compare(ema.budget_with_period(*mode, momentum, period), measured, *nulls, tolerance=SUMMED)


@theorem(PROJECT)
def ema_gap_sign(rng: np.random.Generator) -> Check:
    """If and only if a + m + (1 - m) b >= 0, the gap to an EMA teacher never changes sign, and its size adds up to m/(1-m)."""
    # Sizes of the gap of a student that does not overshoot; the null is one that does.
    modes = [random_mode(rng, x, share=(0.8, 0.9)) for x in ((0.2, 0.8), (1.6, 1.8))]
    summed = [np.abs(np.subtract(*simulate(mode, [0.8] * 4000))).sum() for mode in modes]
    error, null_error = (abs(float(size / ema.budget(0.2) + 1)) for size in summed)
    return Check(error, SUMMED, null_error)


@theorem(PROJECT)
def ema_stability(rng: np.random.Generator) -> Check:
    """Gradient descent with an EMA teacher is stable if and only if eta (sigma + 2 m l / (1 + m)) < 2."""
    # Where the spectral radius is 1; the nulls are no pull, and a static teacher.
    mode, momentum, _, _ = _draw(rng, 0)
    total = mode.curvature + mode.teacher_curvature

    def growth(learning_rate: float) -> float:
        return float(np.log(np.abs(np.linalg.eigvals(_step(mode._replace(learning_rate=learning_rate), momentum))).max()))

    measured = brentq(growth, 0.5 / total, 4 / mode.curvature, xtol=1e-14)
    return compare(ema.max_learning_rate(*mode[:2], momentum), measured, 2 / mode.curvature, 2 / total)


@theorem(PROJECT)
def ema_flow(rng: np.random.Generator) -> Check:
    """In the limit of small steps the gap to an EMA teacher that moves at the speed gamma is a difference of two exponentials."""
    mode, speed, times = random_mode(rng), rng.uniform(0.3, 1.5), np.linspace(0, 6, 13)
    equations = np.array([[-mode.curvature - mode.teacher_curvature, mode.teacher_curvature], [speed, -speed]])
    measured = [np.array([1, -1]) @ linalg.expm(equations * time) @ [1, 1] for time in times]
    predicted, without = (ema.flow_gap(mode.curvature, pull, speed, times) for pull in (mode.teacher_curvature, 0.0))
    return compare(predicted, measured, without)
