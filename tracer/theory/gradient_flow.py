"""Gradient flow: the limit of small steps, in which a horizon is a duration and kernels are hazards over progress."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from itertools import pairwise

import numpy as np
from scipy import special

from tracer.averaging import Beta, Exponential, Kernel, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.number_checks import POSITIVE, Array, number
from tracer.theory.decoupled_modes import DecoupledModes
from tracer.theory.modes import modes_of, teacher_spectrum
from tracer.theory.path import Solution, WeightPath
from tracer.theory.problem import LearningProblem
from tracer.theory.recursion import Propagators, times_within
from tracer.theory.strategies import Posed, Strategy

FIRST_TIME = 1e-7
"""In units of the fastest mode's time scale: until then, the solution is its own expansion."""
STEPS_PER_E_FOLD = 20
"""Grid steps for each factor e in time; on this grid the integration errs by about 1e-10."""
SMALLEST = 1e-280
"""Mass of a Beta distribution below which it and its density underflow, so that only their ratio is computed; and distance to its
end below which that underflows, so that the mass is computed from the leading power of what is left."""
_ROOT = np.sqrt(6)
RADAU_NODES = np.array([(4 - _ROOT) / 10, (4 + _ROOT) / 10, 1])
RADAU_WEIGHTS = np.array(
    [
        [(88 - 7 * _ROOT) / 360, (296 - 169 * _ROOT) / 1800, (-2 + 3 * _ROOT) / 225],
        [(296 + 169 * _ROOT) / 1800, (88 + 7 * _ROOT) / 360, (-2 - 3 * _ROOT) / 225],
        [(16 - _ROOT) / 36, (16 + _ROOT) / 36, 1 / 9],
    ]
)
"""Of the Radau IIA method, Hairer and Wanner, Solving Ordinary Differential Equations II, table IV.5.6."""


def gradient_flow(problem: Posed, strategy: Strategy, *, duration: float) -> WeightPath[Posed]:
    """The path of gradient flow; times are learning rate times steps, from 0 to the duration.

        W' = -(gradient of L at W) - strength (W - Wbar) D,   Wbar' = h(p) (W - Wbar) / duration,   p = time / duration,

    with the kernel's hazard h: 0 (static), 1 / time constant (exponential), beta / p (power law), f(p) / F(p) (Beta). What
    `gradient_descent` gives with steps T and learning rate duration / T differs from it by O(duration / T). Integrated to
    about 1e-9 of the initial error.

        >>> import numpy as np
        >>> from tracer import theory
        >>> problem = theory.Problem.from_pairs(np.eye(3), np.eye(3)[:, :2], np.zeros((2, 3)))
        >>> path = theory.gradient_flow(problem, theory.FineTuning(), duration=6.0)
        >>> round(float(path.weights(6.0)[0, 0] / path.limit()[0, 0]), 6)  # curvature 1/3: 1 - exp(-2) of the way
        0.864665

    Source: this project.

    Args:
        problem, strategy: what is learned and how, `TwoTowers` too; an exponential kernel needs its time constant.
        duration: the horizon, learning rate times steps.

    Raises:
        UserError: if the duration is not positive, the kernel has no limit of small steps, the metric does not commute with the
            second moment, strategy and problem have no solution together, or (when asked) a time lies outside the run.
    """
    number("duration", duration, POSITIVE)
    posed = strategy.prepare(problem)
    return WeightPath(problem, posed, strategy, duration, flow_of(posed, strategy, duration))


@singledispatch
def flow_of(posed: LearningProblem, strategy: Strategy, duration: float) -> Solution:
    """The solution of a problem as the strategy poses it: by modes, or by a function that is registered for its kind."""
    distillation = strategy.distillation
    teacher_curvatures, modes = teacher_spectrum(posed, distillation), modes_of(posed, distillation)
    integrator = _Integrator(modes.curvatures, teacher_curvatures, hazard(distillation.kernel), duration)
    return DecoupledModes(modes.gradient, modes.basis, integrator.propagate)


@dataclass(frozen=True)
class Hazard:
    """How fast a kernel moves its teacher, over x in (0, 1] with progress p = 1 - (1 - x)^stretch.

    The stretch makes an infinite (but integrable) speed at the end of the run a finite one in x.

    Attributes:
        start: p times the hazard as p goes to 0.
        stretch: at least 1.
        per_log_x: the hazard times dp / d ln x.
    """

    start: float
    per_log_x: Callable[[float], float]
    stretch: float = 1.0

    def progress(self, x: float) -> float:
        """p of x, without loss of digits near 0."""
        return -np.expm1(self.stretch * np.log1p(-x)) if x < 1 else 1.0

    def progress_per_log_x(self, x: float) -> float:
        """dp / d ln x."""
        return float(self.stretch * (1.0 - x) ** (self.stretch - 1.0) * x)

    def x_of(self, progress: Array) -> Array:
        """x of p, without loss of digits near 0."""
        with np.errstate(divide="ignore"):
            return -np.expm1(np.log1p(-progress) / self.stretch)


def hazard(kernel: Kernel) -> Hazard:
    """The hazard of an averaging kernel: the limit of its rates per progress as steps become small.

    Raises:
        UserError: if there is no such limit: a momentum fixed per step follows its student at once.
    """
    if isinstance(kernel, Static):
        return Hazard(0.0, lambda x: 0.0)
    if isinstance(kernel, Exponential) and kernel.time_constant_progress and kernel.warmup_progress == 0:
        time_constant = kernel.time_constant_progress
        return Hazard(0.0, lambda x: x / time_constant)
    if isinstance(kernel, Uniform | PowerLaw):
        beta = kernel.beta if isinstance(kernel, PowerLaw) else 1.0
        return Hazard(beta, lambda x: beta)
    if isinstance(kernel, Beta):
        return _beta_hazard(kernel.a, kernel.b)
    raise UserError(
        f"{kernel!r} has no limit of small steps: give the exponential kernel a time_constant_progress and no warm-up, "
        "or use gradient_descent"
    )


def _beta_hazard(a: float, b: float) -> Hazard:
    stretch = max(1.0, 1.0 / b)

    def per_log_x(x: float) -> float:
        p, left = stretched.progress(x), (1.0 - x) ** stretch
        if p < 0.5:  # from the end whose distance has its digits
            mass = special.betainc(a, b, p)
        elif left > SMALLEST:
            mass = special.betaincc(b, a, left)
        else:  # left^b / (b B(a, b)) is missing, to all digits
            mass = -np.expm1(special.xlog1py(stretch * b, -x) - np.log(b) - special.betaln(a, b))
        if mass < SMALLEST:  # DLMF 8.17.8
            return float(stretch * x * a / (p * (1.0 - x) * special.hyp2f1(a + b, 1.0, a + 1.0, p)))
        density = special.xlogy(a - 1.0, p) + special.xlog1py(max(0.0, stretch * b - 1.0), -x) - special.betaln(a, b)
        return float(stretch * x * np.exp(density) / mass)

    stretched = Hazard(a, per_log_x, stretch)
    return stretched


class _Integrator:
    """The linear equations of student and teacher in every mode, by Radau collocation (three stages, order 5) on a grid in ln x.

    The stiff equations of fast modes ask for an L-stable method; being linear, they need one solution of a 6 x 6 system a step.
    """

    def __init__(self, curvatures: Array, teacher_curvatures: Array, hazard: Hazard, duration: float) -> None:
        self._curvatures, self._teacher_curvatures, self._hazard, self._duration = curvatures, teacher_curvatures, hazard, duration
        self._first = FIRST_TIME / max(1.0, duration * float(np.max(curvatures + teacher_curvatures, initial=0.0))) / hazard.stretch

    def propagate(self, times: Array) -> Propagators:
        """Propagators at the given times, (m, d) each.

        Raises:
            UserError: if a time lies outside the run.
        """
        x = self._hazard.x_of(times_within(times, self._duration) / self._duration)
        states = np.array([self._expansion(time) for time in times]).reshape(-1, 3, 2, len(self._curvatures))
        late = x > self._first
        if late.any():
            nodes, position = np.unique(np.log(x[late]), return_inverse=True)
            states[late] = self._integrate(nodes)[position]
        student, teacher, impulse = states[:, 0], states[:, 1], states[:, 2]
        gap = self._gap_response(student, teacher)
        return Propagators(student[:, 0], teacher[:, 0], student[:, 1], teacher[:, 1], gap, impulse[:, 0], impulse[:, 1])

    def _gap_response(self, student: Array, teacher: Array) -> Array:
        """Student minus teacher in response, (m, d), of decays and responses (m, 2, d).

        Where a mode has converged, both responses are 1 / sigma and their difference would be round-off: there it is taken
        from the decays, which are (1 - sigma response).
        """
        converged = np.abs(student[:, 0]) < 0.5
        from_decay = np.divide(teacher[:, 0] - student[:, 0], self._curvatures, out=np.zeros_like(student[:, 0]), where=converged)
        return np.where(converged, from_decay, student[:, 1] - teacher[:, 1])

    def _expansion(self, time: float) -> Array:
        """Student, teacher and impulse, each a decay and a response, (3, 2, d), after so short a time that they are linear."""
        lag = self._hazard.start / (self._hazard.start + 1)
        response = np.full(len(self._curvatures), time) * np.array([1, lag, time / 2 * (1 - lag)])[:, None]
        decay = np.array([1.0, 1, 0])[:, None] - self._curvatures * response
        return np.stack([decay, response], axis=1)

    def _integrate(self, nodes: Array) -> Array:
        """States at the given increasing ln x, (m, 3, 2, d)."""
        halfway = np.geomspace(self._first, 0.5, int(np.ceil(np.log(0.5 / self._first) * STEPS_PER_E_FOLD)))
        regular = np.log(
            np.concatenate([halfway, 1 - halfway, [1.0]])
        )  # as fine at the end, where a Beta's density changes as fast
        grid = np.union1d(regular[regular < nodes[-1]], nodes)
        state = self._expansion(self._duration * self._hazard.progress(self._first))
        kept, wanted = [], set(nodes.tolist())
        for left, right in pairwise(grid.tolist()):
            state = self._step(state, left, right - left)
            if right in wanted:
                kept.append(state)
        return np.array(kept)

    def _step(self, state: Array, left: float, width: float) -> Array:
        """The state one grid step on: stage slopes k solve k_i = M_i (y + width sum_j A_ij k_j) + source_i."""
        x = np.exp(left + width * RADAU_NODES)
        speeds = np.array([self._duration * self._hazard.progress_per_log_x(at) for at in x])
        hazards = np.array([self._hazard.per_log_x(at) for at in x])
        d = len(self._curvatures)
        matrices = np.empty((d, 3, 2, 2))
        matrices[:, :, 0, 0] = -np.outer(self._curvatures + self._teacher_curvatures, speeds)
        matrices[:, :, 0, 1] = np.outer(self._teacher_curvatures, speeds)
        matrices[:, :, 1] = hazards[:, None] * np.array([1.0, -1.0])
        start = state[:2].transpose(2, 0, 1)
        known = matrices @ start[:, None]
        known[:, :, 0, 1] += speeds
        coupled = width * RADAU_WEIGHTS[:, None, :, None] * matrices[:, :, :, None, :]
        system = np.eye(6) - coupled.reshape(d, 6, 6)
        slopes = np.linalg.solve(system, known.reshape(d, 6, 2)).reshape(d, 3, 2, 2)
        stages = start[:, None] + width * np.einsum("ij,djvc->divc", RADAU_WEIGHTS, slopes)
        impulse = state[2] + width * np.einsum("i,dic->cd", RADAU_WEIGHTS[-1] * speeds, stages[:, :, 0] - stages[:, :, 1])
        return np.concatenate([stages[:, -1].transpose(1, 2, 0), impulse[None]])
