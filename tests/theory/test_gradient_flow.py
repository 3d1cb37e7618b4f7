"""Gradient flow: against closed forms at all times, and against an integrator where there is none."""

import mpmath
import numpy as np
import pytest
from scipy import special
from scipy.integrate import solve_ivp

from tests.theory.cases import commuting, diagonal_problem
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, FLOW, HAZARD
from tests.tolerances import POWER
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.theory import L2SP, Distillation, FineTuning, Problem, WeightDecay, WiSEFT, gradient_flow, limit
from tracer.theory.closed_forms import ema, wma
from tracer.theory.gradient_flow import _Integrator
from tracer.theory.gradient_flow import hazard as hazard_of

EIGENVALUES = np.array([1.0, 0.3, 0.02, 1e-5])
TEACHER_CURVATURES = np.array([0.9, 0.02, 0.6, 1e-3])
SHARES = np.concatenate([[0], np.geomspace(1e-14, 1, 43), [0.3, 0.77, 0.999, 1 - 1e-9]])
DURATIONS = [1e-4, 1.0, 40.0, 1e4, 1e10]


def problem_and_start(weight_decay=0.0):
    """A problem in unit vectors and W_0 - W*, (k, d)."""
    problem = diagonal_problem(EIGENVALUES, weight_decay=weight_decay)
    return problem, problem.initial_weights - problem.cross_covariance / (EIGENVALUES + weight_decay)


def exponential(time_constant, duration):
    speed = 1 / (time_constant * duration)
    return lambda form, times: getattr(ema, f"flow_{form}")(EIGENVALUES, TEACHER_CURVATURES, speed, times)


def power_law(beta):
    return lambda form, times: getattr(wma, f"flow_{form}")(EIGENVALUES, TEACHER_CURVATURES, beta, times)


def share_left(path, form, times):
    """What is left of each mode's initial error, (m, k, modes)."""
    problem, before = problem_and_start()
    values = path.gap(times) if form == "gap" else getattr(path, form)(times) - (problem.initial_weights - before)
    return values / before


def assert_follows(kernel, closed, wrong, duration):
    """What was learned, what the teacher took over, and the gap; in short runs, relative to their duration."""
    problem, _ = problem_and_start()
    path, times = (
        gradient_flow(problem, Distillation(1.0, kernel, commuting(TEACHER_CURVATURES, problem)), duration=duration),
        duration * SHARES,
    )

    def learned(left):
        student, teacher, gap = (left(form) for form in ("student", "teacher", "gap"))
        return np.stack([1 - student, 1 - teacher, gap]) / min(1.0, duration)

    found = learned(lambda form: share_left(path, form, times))
    expected, null = (learned(lambda form, forms=forms: forms(form, times[:, None, None])) + 0 * found for forms in (closed, wrong))
    assert_agrees(found, expected, FLOW, nulls={"wrong kernel": null, "late": 1.01 * expected})


@pytest.mark.parametrize("duration", DURATIONS)
class TestClosedForms:
    @pytest.mark.parametrize("time_constant", [1e-3, 0.2, 30.0])
    def test_exponential(self, duration, time_constant):
        right, wrong = exponential(time_constant, duration), exponential(1.1 * time_constant, duration)
        assert_follows(Exponential(time_constant_progress=time_constant), right, wrong, duration)

    @pytest.mark.parametrize("kernel", [PowerLaw(0.3), PowerLaw(1.7), Uniform(), Beta(0.6, 1.0), Beta(60.0, 1.0)], ids=repr)
    def test_power_law(self, duration, kernel):
        """A Beta(a, 1) kernel is the power law of exponent a over any horizon."""
        beta = kernel.beta if isinstance(kernel, PowerLaw) else getattr(kernel, "a", 1.0)
        assert_follows(kernel, power_law(beta), power_law(1.1 * beta), duration)

    def test_static(self, duration):
        def closed(form, times):
            total = EIGENVALUES + TEACHER_CURVATURES
            student = (TEACHER_CURVATURES + EIGENVALUES * np.exp(-total * times)) / total
            gap = EIGENVALUES / total * np.expm1(-total * times)
            return {"student": student, "teacher": np.ones_like(student), "gap": gap}[form]

        assert_follows(Static(), closed, power_law(0.1), duration)


@pytest.mark.parametrize(
    ("kernel", "lag"),
    [
        (Static(), 0),
        (Exponential(time_constant_progress=0.2), 0),
        (PowerLaw(0.5), 1 / 3),
        (Uniform(), 0.5),
        (Beta(2.0, 0.5), 2 / 3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("time", [1e-30, 1e-15, 1e-9])
def test_first_moments_of_the_run(kernel, lag, time):
    """Before the teacher pulls, the student goes down the gradient G and the teacher lags behind: -G t, and its share of that."""
    problem, _ = problem_and_start()
    path = gradient_flow(problem, Distillation(1.0, kernel, commuting(TEACHER_CURVATURES, problem)), duration=20.0)
    gradient = problem.gradient(problem.initial_weights)
    nulls = {"half": -gradient / 2}
    assert_agrees(path.solution.student(np.array([time]))[0] / time, -gradient, FLOW, nulls=nulls)
    assert_agrees(path.solution.teacher(np.array([time]))[0] / time, -lag * gradient, FLOW, nulls=nulls if lag != 0.5 else {})
    assert_agrees(path.gap(time) / time, -(1 - lag) * gradient, FLOW, nulls=nulls if lag != 0.5 else {})
    summed = -TEACHER_CURVATURES * gradient * (1 - lag) / 2
    assert_agrees(path.impulse(time) / time**2, summed, FLOW, nulls={"twice": 2 * summed})


class TestWithoutATeacher:
    @pytest.mark.parametrize("strategy", [FineTuning(), WeightDecay(0.2), WiSEFT(0.3), L2SP(0.4)], ids=repr)
    def test_decays_exponentially(self, strategy):
        problem, _ = problem_and_start(0.05)
        path, times = gradient_flow(problem, strategy, duration=50.0), 50 * SHARES
        distillation = 0.4 if isinstance(strategy, L2SP) else 0.0
        rates = EIGENVALUES + 0.05 + distillation + (0.2 if isinstance(strategy, WeightDecay) else 0.0)
        end = (problem.cross_covariance + distillation * problem.initial_weights) / rates
        share = 0.3 if isinstance(strategy, WiSEFT) else 1.0
        moved = (end - problem.initial_weights) * -np.expm1(-rates * times[:, None, None])
        nulls = {"half": problem.initial_weights + share * moved / 2}
        assert_agrees(path.weights(times), problem.initial_weights + share * moved, FLOW, nulls=nulls)
        np.testing.assert_allclose(
            path.limit(), problem.initial_weights + share * (end - problem.initial_weights), rtol=CLOSED_FORM
        )

    def test_comes_to_its_limit(self):
        problem, _ = problem_and_start(0.1)
        for strategy in (
            FineTuning(),
            L2SP(0.4),
            Distillation(0.4, Static()),
            Distillation(0.4, Exponential(time_constant_progress=1e-4)),
        ):
            path = gradient_flow(problem, strategy, duration=1e5)
            assert_agrees(path.weights(1e5), limit(problem, strategy), FLOW, nulls={"start": problem.initial_weights})


@pytest.mark.parametrize("duration", [1e-3, 1.0, 1e5])
def test_steps_begin_at_the_first_time(duration):
    """Until 1e-7 of the fastest mode's time scale, or of a run shorter than that, weights move by their slope times the time.

    From then on that mode, of curvature 1, falls behind as u'' = -u' says: by (t^2 - first^2) / 2 after a time t.
    """
    problem = Problem(np.diag(EIGENVALUES), np.diag(EIGENVALUES), np.zeros((4, 4)))
    first = 1e-7 * min(1.0, duration)
    times = first * np.array([0.5, 0.95, 1.05, 2.0])
    moved = gradient_flow(problem, FineTuning(), duration=duration).weights(times)[:, 0, 0]
    expected = np.maximum(0, times**2 - first**2) / 2
    np.testing.assert_allclose(times - moved, expected, atol=0.1 * first**2, rtol=0)


class TestUnseenDirections:
    @pytest.mark.parametrize("duration", [1.0, 1e6])
    @pytest.mark.parametrize("kernel", [Static(), Exponential(time_constant_progress=0.1), PowerLaw(0.5), Beta(0.5, 0.5)], ids=repr)
    def test_stay(self, kernel, duration):
        """Nothing moves where the data do not reach, in any time; with decay it fades, held by a teacher in the weights' metric."""
        problem = diagonal_problem([1.0, 0.2, 0.0])
        path = gradient_flow(problem, Distillation(0.7, kernel, "parameter"), duration=duration)
        for t in (duration / 3, duration):
            np.testing.assert_array_equal(path.weights(t)[:, 2], problem.initial_weights[:, 2])
            np.testing.assert_array_equal(path.gap(t)[:, 2], np.zeros(3))
        assert np.linalg.norm(path.weights(duration)[:, :2] - problem.initial_weights[:, :2]) > 0.1

    def test_fade_as_a_power_law_with_weight_decay(self):
        problem = diagonal_problem([1.0, 0.2, 0.0], weight_decay=0.1)
        path = gradient_flow(problem, Distillation(0.7, PowerLaw(0.5), "parameter"), duration=1e4)
        times = np.geomspace(1, 1e4, 9)
        left = path.weights(times)[:, :, 2] / problem.initial_weights[:, 2]
        expected = wma.flow_student(0.1, 0.7, 0.5, times)
        nulls = {"fine-tuning": np.exp(-0.1 * times)[:, None] + 0 * left}
        assert_agrees(left, expected[:, None] + 0 * left, FLOW, nulls=nulls)


class TestImpulse:
    @pytest.mark.parametrize("duration", [1e-3, 3.0, 1e4])
    def test_exponential(self, duration):
        """The teacher moves by its speed times the gap: the integral of the gap is (ubar - 1) / speed."""
        problem, before = problem_and_start()
        kernel, times = Exponential(time_constant_progress=0.2), duration * np.array([0.0, 1e-3, 0.1, 0.7, 1.0])
        path = gradient_flow(problem, Distillation(1.0, kernel, commuting(TEACHER_CURVATURES, problem)), duration=duration)
        speed = 1 / (0.2 * duration)
        teacher = ema.flow_teacher(EIGENVALUES, TEACHER_CURVATURES, speed, times[:, None])
        summed = before * ((teacher - 1) / speed)[:, None, :]
        scale = 0.2 * duration
        nulls = {"no teacher": summed / scale} if duration > 1 else {}
        assert_agrees(path.impulse(times) / scale, TEACHER_CURVATURES * summed / scale, FLOW, nulls=nulls)

    def test_static(self):
        problem, before = problem_and_start()
        path = gradient_flow(problem, Distillation(1.0, Static(), commuting(TEACHER_CURVATURES, problem)), duration=30.0)
        times, total = np.array([1e-3, 0.5, 30.0]), EIGENVALUES + TEACHER_CURVATURES
        summed = -EIGENVALUES / total * (times[:, None] + np.expm1(-total * times[:, None]) / total)
        expected = TEACHER_CURVATURES * before * summed[:, None, :]
        assert_agrees(path.impulse(times), expected, FLOW, nulls={"teacher = student": 0 * expected})


def integrated(a, b, duration, progress):
    """Student, teacher and integral of the gap of each mode under a Beta(a, b) kernel, (m, 3, modes), by LSODA.

    First over ln p, then over ln (1 - p): both ends of the density are powers there.
    """
    modes = len(EIGENVALUES)

    def slopes(state, p, left, per_log):
        student, teacher, _ = state.reshape(3, modes)
        density = p ** (a - 1) * left ** (b - 1) / special.beta(a, b)
        mass = special.betainc(a, b, p) if p < 0.5 else special.betaincc(b, a, left)
        gap = student - teacher
        moved = np.concatenate([-EIGENVALUES * student - TEACHER_CURVATURES * gap, density / mass / duration * gap, gap])
        return duration * per_log * moved

    def solve(function, ends, state, at):
        found = solve_ivp(function, ends, state, "LSODA", t_eval=at, rtol=1e-12, atol=1e-15)
        assert found.success
        return found.y.T

    first, last = 1e-11, 1e-15 ** (1 / min(b, 0.5))
    seconds = first * duration
    start = np.concatenate([1 - EIGENVALUES * seconds, 1 - EIGENVALUES * seconds * a / (a + 1), 0 * TEACHER_CURVATURES])
    early = np.append(np.log(progress[progress < 0.5]), np.log(0.5))
    half = solve(lambda z, y: slopes(y, np.exp(z), -np.expm1(z), np.exp(z)), (np.log(first), np.log(0.5)), start, early)
    late = np.log(np.maximum(1 - progress[progress >= 0.5], last))
    rest = solve(lambda z, y: slopes(y, -np.expm1(z), np.exp(z), -np.exp(z)), (np.log(0.5), np.log(last)), half[-1], late)
    return np.concatenate([half[:-1], rest]).reshape(-1, 3, modes)


class TestBetaKernel:
    PROGRESS = np.array([1e-6, 1e-3, 0.1, 0.4, 0.8, 0.99, 1 - 1e-6, 1.0])

    @pytest.mark.parametrize("duration", [2.0, 300.0])
    @pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (0.3, 0.7), (2.5, 0.4), (0.5, 0.1), (0.5, 2.0), (3.0, 3.0), (1.0, 1.0)])
    def test_equals_an_integrator(self, a, b, duration):
        problem, before = problem_and_start()
        path = gradient_flow(problem, Distillation(1.0, Beta(a, b), commuting(TEACHER_CURVATURES, problem)), duration=duration)
        reference = integrated(a, b, duration, self.PROGRESS)
        times = duration * self.PROGRESS
        other = integrated(1.05 * a, b, duration, self.PROGRESS)
        summed = path.impulse(times) / before / TEACHER_CURVATURES / duration
        for i, found in enumerate((share_left(path, "student", times), share_left(path, "teacher", times), summed)):
            expected, null = (solved[:, None, i] / (duration if i == 2 else 1) + 0 * found for solved in (reference, other))
            assert_agrees(found, expected, FLOW, nulls={"a": null})

    def test_half_of_the_weight_at_either_end(self):
        """With a = b near 0 the teacher rests until the end, then meets its student, which is p of it, halfway: 1 - q / 2."""
        problem, _ = problem_and_start()
        kernel, duration = Beta(1e-10, 1e-10), 1e6
        path = gradient_flow(problem, Distillation(1.0, kernel, commuting(TEACHER_CURVATURES, problem)), duration=duration)
        found = share_left(path, "teacher", duration)
        expected = 1 - EIGENVALUES / (EIGENVALUES + TEACHER_CURVATURES) / 2 + 0 * found
        assert_agrees(found, expected, FLOW, nulls={"all of it": 2 * expected - 1})

    def test_b_matters(self):
        ends = [integrated(0.5, b, 300.0, np.array([0.5, 1.0]))[-1] for b in (0.5, 0.55)]
        assert np.max(np.abs(ends[0] - ends[1])) > POWER * FLOW

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            (1e-6, 1e-6),
            (1e-3, 1e-3),
            (0.5, 1e-3),
            (0.02, 0.1),
            (0.5, 0.5),
            (100.0, 0.5),
            (0.5, 200.0),
            (300.0, 300.0),
            (700.0, 600.0),
        ],
    )
    def test_hazard_of_any_shape(self, a, b):
        """Its density over its mass, also where both underflow or 1 - p has lost its digits."""
        hazard = hazard_of(Beta(a, b))
        with mpmath.workdps(60):
            for x in (1e-12, 1e-6, 1e-3, 0.02, 0.024, 0.1, 0.3, 0.45, 0.6, 0.9, 0.99):
                left = (1 - mpmath.mpf(x)) ** hazard.stretch
                p = 1 - left
                # near the end p is 1 to 60 digits, and yet left^b need not be 0
                late = left < 0.01
                mass = 1 - mpmath.betainc(b, a, 0, left, regularized=True) if late else mpmath.betainc(a, b, 0, p, regularized=True)
                ratio = p ** (a - 1) * left ** mpmath.mpf(b) / mpmath.beta(a, b) / mass
                expected = float(ratio * hazard.stretch / (1 - mpmath.mpf(x)) * x)
                nulls = {"early": a} if x > 0.1 else {}
                if expected > 1e-290:
                    assert_agrees(hazard.per_log_x(x), expected, HAZARD, nulls=nulls, relative=True)


@pytest.mark.parametrize("kernel", [PowerLaw(0.5), Beta(0.5, 0.5), Exponential(time_constant_progress=0.2)], ids=repr)
def test_an_initial_error_decays_by_what_its_gradient_brings(kernel):
    """A start y_0 moves as 0 does under the gradient sigma y_0, at first and later: decay = start - sigma response."""
    curvatures, teacher_curvatures, duration = np.array([1.0, 0.3, 0.0]), np.array([0.5, 0.5, 0.2]), 20.0
    found = _Integrator(curvatures, teacher_curvatures, hazard_of(kernel), duration).propagate(np.array([1e-30, 6.0, 20.0]))
    for decay, response, start in (
        (found.student_decay, found.student_response, 1.0),
        (found.teacher_decay, found.teacher_response, 1.0),
        (found.decay_impulse, found.response_impulse, 0.0),
    ):
        assert_agrees(decay, start - curvatures * response, FLOW, nulls={"the gradient's": response, "of another start": decay + 1})
