"""The exponential teacher: its gap collapses geometrically, and adds up to what its momentum alone decides."""

import numpy as np
from scipy import linalg
from scipy.optimize import brentq

from tracer.theory.claims.claim import PROJECT, TRACER, Check, compare, theorem
from tracer.theory.claims.instances import Mode, random_mode, simulate
from tracer.theory.claims.tolerances import SUMMED
from tracer.theory.closed_forms import ema


def _draw(rng: np.random.Generator) -> tuple[Mode, float]:
    return random_mode(rng), float(rng.uniform(0.4, 0.9))


def _path_check(form):
    """A check of a closed form, named as the library does, at all steps; the nulls are a teacher without and with all memory."""

    def check(rng: np.random.Generator) -> Check:
        mode, momentum = _draw(rng)
        students, teachers = simulate(mode, [1 - momentum] * 80)
        measured = {"student": students, "gap": students - teachers}[form]
        predicted, without, static = (getattr(ema, form)(*mode, memory, np.arange(81)) for memory in (momentum, 0.0, 1.0))
        return compare(predicted, measured, without, static)

    return check


@theorem(PROJECT)
def ema_eigenvalues(rng: np.random.Generator) -> Check:
    """With an EMA teacher a mode has two real eigenvalues, a = 1 - eta (sigma + l) and b = eta l: the discriminant is never
    negative.
    """
    mode, momentum = _draw(rng)
    kept, held = 1 - mode.x, mode.learning_rate * mode.teacher_curvature
    step = [[kept, held], [(1 - momentum) * kept, momentum + (1 - momentum) * held]]
    measured = np.sort(np.linalg.eigvals(step))[::-1]
    return compare(np.array(ema.eigenvalues(*mode, momentum)), measured, [momentum, kept])


@theorem(PROJECT)
def ema_student(rng: np.random.Generator) -> Check:
    """The student's error under an EMA teacher is a sum of two geometric sequences."""
    return _path_check("student")(rng)


@theorem(f"{TRACER} (that it vanishes); {PROJECT} (the formula)", "Section C.5.2")
def ema_gap(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher is a difference of two geometric sequences, which starts at 0 and vanishes."""
    return _path_check("gap")(rng)


@theorem(TRACER, "Corollary C.9", "Section C.5.2")
def ema_collapse(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher collapses at the geometric rate of the larger eigenvalue."""
    mode, momentum = _draw(rng)
    students, teachers = simulate(mode, [1 - momentum] * 400)
    gaps = students - teachers
    return compare(ema.decay_rate(*mode, momentum), 1 - gaps[-1] / gaps[-2], 0.0, mode.learning_rate * mode.curvature)


@theorem(PROJECT)
def ema_budget(rng: np.random.Generator) -> Check:
    """The gap to an EMA teacher adds up to -m/(1-m) times the initial error, whatever curvature, strength and step size."""
    mode, momentum = _draw(rng)
    students, teachers = simulate(mode, [1 - momentum] * 4000)
    nulls = 0.0, -1 / (1 - momentum), -momentum / (1 - momentum) / mode.data_share
    return compare(ema.budget(momentum), np.sum(students - teachers), *nulls, tolerance=SUMMED)


@theorem(PROJECT)
def ema_budget_with_period(rng: np.random.Generator) -> Check:
    """If an EMA teacher moves every k steps, the sum of the gap depends on the student's own factor a per step as well."""
    (mode, momentum), period = _draw(rng), int(rng.integers(2, 6))
    students, teachers = simulate(mode, [0.0 if step % period else 1 - momentum for step in range(1, 2000 * period + 1)])
    predicted = ema.budget_with_period(*mode, momentum, period)
    nulls = ema.budget(momentum), period * ema.budget(momentum)
    return compare(predicted, np.sum(students - teachers), *nulls, tolerance=SUMMED)


@theorem(PROJECT)
def ema_gap_sign(rng: np.random.Generator) -> Check:
    """If and only if a + m + (1 - m) b >= 0, the gap to an EMA teacher never changes sign, and its size adds up to m/(1-m)."""
    # Sizes of the gap of a student that does not overshoot; the null is one that does.
    summed = []
    for x in ((0.2, 0.8), (1.6, 1.8)):
        mode, momentum = random_mode(rng, x, share=(0.8, 0.9)), 0.2
        students, teachers = simulate(mode, [1 - momentum] * 4000)
        summed.append(float(np.abs(students - teachers).sum() / -ema.budget(momentum) - 1))
    return Check(abs(summed[0]), SUMMED, abs(summed[1]))


@theorem(PROJECT)
def ema_stability(rng: np.random.Generator) -> Check:
    """Gradient descent with an EMA teacher is stable if and only if eta (sigma + 2 m l / (1 + m)) < 2."""
    mode, momentum = _draw(rng)

    def growth(learning_rate: float) -> float:
        """Logarithm of the spectral radius."""
        kept, held = 1 - learning_rate * (mode.curvature + mode.teacher_curvature), learning_rate * mode.teacher_curvature
        step = [[kept, held], [(1 - momentum) * kept, momentum + (1 - momentum) * held]]
        return float(np.log(np.abs(np.linalg.eigvals(step)).max()))

    measured = brentq(growth, 0.5 / (mode.curvature + mode.teacher_curvature), 4 / mode.curvature, xtol=1e-14)
    bounds = (
        ema.max_learning_rate(mode.curvature, teacher_curvature, momentum) for teacher_curvature in (mode.teacher_curvature, 0.0)
    )
    static = 2 / (mode.curvature + mode.teacher_curvature)
    predicted, without = bounds
    return compare(predicted, measured, without, static)


@theorem(PROJECT)
def ema_flow(rng: np.random.Generator) -> Check:
    """In the limit of small steps the gap to an EMA teacher that moves at the speed gamma is a difference of two exponentials."""
    mode, speed = random_mode(rng), rng.uniform(0.3, 1.5)
    times = np.linspace(0, 6, 13)
    equations = np.array([[-mode.curvature - mode.teacher_curvature, mode.teacher_curvature], [speed, -speed]])
    measured = np.array([np.diff((linalg.expm(equations * time) @ [1, 1])[::-1])[0] for time in times])
    without = ema.flow_gap(mode.curvature, 0.0, speed, times)
    return compare(ema.flow_gap(mode.curvature, mode.teacher_curvature, speed, times), measured, without, 0 * times)
