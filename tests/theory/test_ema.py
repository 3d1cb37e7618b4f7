"""The exponential teacher: closed forms against the recursion they solve, its sums, its bounds and its limit of small steps."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from tests.theory.power import assert_agrees
from tests.theory.tolerances import (
    BUDGET,
    CLOSED_FORM,
    ORDER,
    RATE,
    RECURSION,
    SPECTRAL_RADIUS,
    STABILITY_MARGIN,
)
from tests.tolerances import POWER
from tracer.averaging import Clock, Exponential, PowerLaw, Static
from tracer.theory.closed_forms import ema
from tracer.theory.closed_forms.stiffness import learning_rate_per_update, stiffness
from tracer.theory.recursion import Stepping, propagate

CURVATURES = np.array([0.5, 0.05, 0.9, 0.3, 1.0, 1e-3, 0.0])
TEACHER_CURVATURES = np.array([0.5, 0.9, 0.05, 0.3, 0.0, 1e-3, 0.4])
momenta = st.one_of(st.just(0.0), st.floats(1e-6, 0.9), st.floats(1e-6, 0.1).map(lambda rate: 1 - rate))


def random_modes(seed, size=6, decades=6):
    """Curvatures of loss and teacher over so many decades, after one mode that surely moves."""
    exponents = np.random.default_rng(seed).uniform(-decades, 0, (2, size))
    return np.concatenate([[[0.5], [0.5]], 10**exponents], axis=1)


def run(curvatures, teacher_curvatures, learning_rate, kernel, steps, update_every=1, heavy_ball=0.0):
    """Student and teacher of the recursion after the given steps, (m, modes) each."""
    stepping = Stepping(learning_rate, Clock(int(np.max(steps)), update_every), kernel, heavy_ball=heavy_ball)
    found = propagate(curvatures, teacher_curvatures, stepping, np.asarray(steps))
    return found.student_decay, found.teacher_decay


def exact_gap(curvature, teacher_curvature, learning_rate, momentum, steps):
    """The gap by the recursion at 40 digits, for when it is a small difference."""
    with mpmath.workdps(40):
        curvature, teacher_curvature, learning_rate, momentum = map(
            mpmath.mpf, (curvature, teacher_curvature, learning_rate, momentum)
        )
        student = teacher = mpmath.mpf(1)
        for _ in range(steps):
            student -= learning_rate * (curvature * student + teacher_curvature * (student - teacher))
            teacher = momentum * teacher + (1 - momentum) * student
        return float(student - teacher)


class TestAgainstTheRecursion:
    @given(st.integers(0, 2**32), momenta, st.floats(0.01, 0.99))
    def test_student_and_teacher(self, seed, momentum, share):
        curvatures, teacher_curvatures = random_modes(seed)
        learning_rate = share / np.max(curvatures + teacher_curvatures)
        steps = np.arange(0, 301, 10)[:, None]
        student, teacher = run(curvatures, teacher_curvatures, learning_rate, Exponential(momentum), steps[:, 0])
        arguments = curvatures, teacher_curvatures, learning_rate, momentum, steps
        uniform = run(curvatures, teacher_curvatures, learning_rate, PowerLaw(1.0), steps[:, 0])
        still = np.ones_like(student)
        assert_agrees(ema.student(*arguments), student, RECURSION, nulls={"uniform": uniform[0], "still": still})
        assert_agrees(ema.teacher(*arguments), teacher, RECURSION, nulls={"uniform": uniform[1], "still": still})
        assert_agrees(ema.gap(*arguments), student - teacher, RECURSION, nulls={"uniform": uniform[0] - uniform[1]})

    @given(st.integers(0, 2**32), momenta, st.floats(0.5, 0.999))
    def test_steps_that_overshoot(self, seed, momentum, share):
        curvatures, teacher_curvatures = random_modes(seed)
        learning_rate = share * np.min(ema.max_learning_rate(curvatures, teacher_curvatures, momentum))
        steps = np.arange(0, 101)[:, None]
        student, teacher = run(curvatures, teacher_curvatures, learning_rate, Exponential(momentum), steps[:, 0])
        arguments = curvatures, teacher_curvatures, learning_rate, momentum, steps
        assert_agrees(ema.student(*arguments), student, RECURSION, nulls={"one step late": ema.student(*arguments[:-1], steps + 1)})
        assert_agrees(ema.teacher(*arguments), teacher, RECURSION, nulls={"one step late": ema.teacher(*arguments[:-1], steps + 1)})

    @given(st.integers(0, 2**32), st.floats(0.1, 0.999), st.integers(1, 30), st.floats(0.05, 1.9))
    def test_any_update_period(self, seed, momentum, period, share):
        curvatures, teacher_curvatures = random_modes(seed)
        learning_rate = share / np.max(curvatures + teacher_curvatures)
        updates = np.arange(0, 41)[:, None]
        student, teacher = run(curvatures, teacher_curvatures, learning_rate, Exponential(momentum), updates[:, 0] * period, period)
        in_one = learning_rate_per_update(curvatures, teacher_curvatures, learning_rate, period)
        nulls = {
            "one step": in_one / 2,
            "one more": learning_rate_per_update(curvatures, teacher_curvatures, learning_rate, period + 1),
        }
        for form, truth in ((ema.student, student), (ema.teacher, teacher)):
            wrong = {name: form(curvatures, teacher_curvatures, rate, momentum, updates) for name, rate in nulls.items()}
            assert_agrees(form(curvatures, teacher_curvatures, in_one, momentum, updates), truth, RECURSION, nulls=wrong)

    def test_every_digit_is_right_of_values_far_below_one(self):
        steps = np.arange(0, 3001, 100)[:, None]
        student, teacher = run(CURVATURES, TEACHER_CURVATURES, 0.5, Exponential(0.9), steps[:, 0])
        seen = student > 1e-250
        arguments = CURVATURES, TEACHER_CURVATURES, 0.5, 0.9, steps
        null = ema.student(CURVATURES, TEACHER_CURVATURES, 0.5, 0.9 + 1e-9, steps)
        assert_agrees(
            ema.student(*arguments)[seen], student[seen], RECURSION, nulls={"momentum off by 1e-9": null[seen]}, relative=True
        )
        np.testing.assert_allclose(ema.teacher(*arguments)[seen], teacher[seen], rtol=RECURSION)

    @pytest.mark.parametrize("steps", [1, 2, 200])
    @pytest.mark.parametrize(
        ("curvature", "teacher_curvature", "momentum"),
        [
            (1e-9, 0.5, 0.9),
            (1e-12, 1e-12, 0.999),
            (0.1, 0.0, 0.9),
            (0.1 + 1e-9, 1e-20, 0.9),
            (0.3, 0.2, 1e-9),
            (1e-7, 0.9, 1 - 1e-7),
        ],
    )
    def test_small_gaps_and_coinciding_eigenvalues_keep_their_digits(self, curvature, teacher_curvature, momentum, steps):
        exact = exact_gap(curvature, teacher_curvature, 1.0, momentum, steps)
        predicted = ema.gap(curvature, teacher_curvature, 1.0, momentum, steps)
        nulls = {
            "teacher = student": 0.0,
            "curvature off": ema.gap(curvature * (1 + 1e-9), teacher_curvature, 1.0, momentum, steps),
        }
        assert_agrees(predicted, exact, CLOSED_FORM, nulls=nulls, relative=True)


def test_without_a_pull_student_and_teacher_may_decay_alike():
    """1 - eta sigma = m: the gap is m eta sigma t m^(t - 1), which binary fractions keep to the last bit."""
    steps = np.arange(1, 12)
    assert (ema.gap(1.0, 0.0, 0.5, 0.5, steps) == -0.25 * steps * 0.5 ** (steps - 1)).all()
    assert ema.gap(1.0, 0.0, 0.5, 0.5, 0) == 0


class TestEigenvalues:
    @given(st.floats(1e-4, 1), st.floats(1e-4, 1), st.floats(0.01, 1.5), momenta)
    def test_equal_those_of_the_step(self, curvature, teacher_curvature, learning_rate, momentum):
        kept, held = 1 - learning_rate * (curvature + teacher_curvature), learning_rate * teacher_curvature
        step = np.array([[kept, held], [(1 - momentum) * kept, momentum + (1 - momentum) * held]])
        plus, minus = ema.eigenvalues(curvature, teacher_curvature, learning_rate, momentum)
        coefficients = np.array([np.trace(step), np.linalg.det(step)])
        nulls = {"no teacher": np.array([kept, 0.0])}
        assert_agrees(np.array([plus + minus, plus * minus]), coefficients, CLOSED_FORM, nulls=nulls)
        assert minus <= momentum <= plus <= 1

    @pytest.mark.parametrize("learning_rate", [1e-3, 1e-9, 1e-15])
    def test_decay_rate_does_not_cancel(self, learning_rate):
        with mpmath.workdps(60):
            kept, held, m = 1 - mpmath.mpf(learning_rate) * 0.75, mpmath.mpf(learning_rate) * 0.25, mpmath.mpf(0.9)
            trace = kept + m + (1 - m) * held
            exact = float(1 - (trace + mpmath.sqrt(trace**2 - 4 * kept * m)) / 2)
        nulls = {
            "curvature": ema.decay_rate(0.5 + 1e-9, 0.25, learning_rate, 0.9),
            "by subtraction": 1 - ema.eigenvalues(0.5, 0.25, learning_rate, 0.9)[0],
        }
        if learning_rate > 1e-6:
            del nulls["by subtraction"]
        assert_agrees(ema.decay_rate(0.5, 0.25, learning_rate, 0.9), exact, CLOSED_FORM, nulls=nulls, relative=True)

    def test_measured_rate_is_the_slow_eigenvalue(self):
        curvatures, teacher_curvatures = np.array([0.5, 0.2, 0.01]), np.array([0.5, 0.6, 0.01])
        student, teacher = run(curvatures, teacher_curvatures, 0.3, Exponential(0.99), [4000, 4001])
        gaps = student - teacher
        plus, minus = ema.eigenvalues(curvatures, teacher_curvatures, 0.3, 0.99)
        nulls = {"the fast one": minus, "momentum": 0.99 + 0 * plus, "no teacher": 1 - 0.3 * curvatures}
        assert_agrees(plus, gaps[1] / gaps[0], RATE, nulls=nulls)

    @given(st.floats(1e-8, 1), st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 0.9999))
    def test_half_life_halves_what_lasts(self, curvature, teacher_curvature, learning_rate, momentum):
        half_life = ema.half_life_steps(curvature, teacher_curvature, learning_rate, momentum)
        lasting = np.max(np.abs(ema.eigenvalues(curvature, teacher_curvature, learning_rate, momentum)))
        if lasting > 0:
            assert -np.log(2) / half_life == pytest.approx(np.log(lasting), rel=CLOSED_FORM, abs=CLOSED_FORM)

    def test_half_life_without_decay(self):
        assert ema.half_life_steps(0.0, 0.3, 0.1, 0.9) == np.inf
        assert ema.half_life_steps(3.0, 0.3, 1.0, 0.9) == np.inf
        assert ema.half_life_steps(1.0, 0.0, 1.0, 0.0) == 0


class TestLimits:
    def test_momentum_one_is_the_static_teacher(self):
        steps = np.arange(0, 101, 5)[:, None]
        student, teacher = run(CURVATURES, TEACHER_CURVATURES, 0.6, Static(), steps[:, 0])
        arguments = CURVATURES, TEACHER_CURVATURES, 0.6, 1.0, steps
        assert_agrees(
            ema.student(*arguments),
            student,
            RECURSION,
            nulls={"momentum": ema.student(CURVATURES, TEACHER_CURVATURES, 0.6, 0.99, steps)},
        )
        np.testing.assert_array_equal(ema.teacher(*arguments), np.ones_like(teacher))
        np.testing.assert_allclose(teacher, 1, rtol=CLOSED_FORM)

    def test_momentum_zero_has_no_gap(self):
        steps = np.arange(0, 11)[:, None]
        np.testing.assert_array_equal(ema.gap(CURVATURES, TEACHER_CURVATURES, 0.6, 0.0, steps), np.zeros((11, 7)))
        expected = (1 - 0.6 * CURVATURES) ** steps
        np.testing.assert_allclose(ema.student(CURVATURES, TEACHER_CURVATURES, 0.6, 0.0, steps), expected, rtol=CLOSED_FORM)
        np.testing.assert_allclose(ema.teacher(CURVATURES, TEACHER_CURVATURES, 0.6, 0.0, steps), expected, rtol=CLOSED_FORM)

    @pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
    def test_nothing_moves_without_curvature(self, momentum):
        teacher_curvatures, steps = np.array([0.0, 0.3, 1.0]), np.array([[0], [1], [10**6]])
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            np.testing.assert_array_equal(ema.student(0.0, teacher_curvatures, 1.0, momentum, steps), np.ones((3, 3)))
            np.testing.assert_array_equal(ema.teacher(0.0, teacher_curvatures, 1.0, momentum, steps), np.ones((3, 3)))
            np.testing.assert_array_equal(ema.gap(0.0, teacher_curvatures, 1.0, momentum, steps), np.zeros((3, 3)))


class TestBudget:
    @pytest.mark.parametrize("period", [1, 2, 7, 50])
    @pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
    def test_is_the_sum_of_the_gaps(self, momentum, period):
        curvatures, teacher_curvatures, learning_rate = np.array([1.0, 0.5, 0.2]), np.array([0.5, 0.9, 0.3]), 0.4
        steps = 1300 * period
        stepping = Stepping(learning_rate, Clock(steps, period), Exponential(momentum))
        measured = propagate(curvatures, teacher_curvatures, stepping, np.array([steps])).decay_impulse[0] / learning_rate
        predicted = ema.budget_with_period(curvatures, teacher_curvatures, learning_rate, momentum, period)
        nulls = {"momentum": ema.budget_with_period(curvatures, teacher_curvatures, learning_rate, momentum + 1e-3, period)}
        if period > 1:
            nulls |= {
                "no period": ema.budget(momentum) + 0 * measured,
                "periods only": period * ema.budget(momentum) + 0 * measured,
            }
        scale = max(1.0, np.max(np.abs(measured)))
        assert_agrees(predicted / scale, measured / scale, BUDGET, nulls={name: null / scale for name, null in nulls.items()})
        if period == 1:
            np.testing.assert_allclose(predicted, ema.budget(momentum), rtol=CLOSED_FORM)

    @pytest.mark.parametrize("learning_rate", [1e-14, 1e-9, 1e-4, 0.5])
    @pytest.mark.parametrize("period", [2, 500])
    def test_small_steps_do_not_cancel(self, period, learning_rate):
        with mpmath.workdps(60):
            kept = 1 - mpmath.mpf(learning_rate) * 0.75
            exact = float(-(period * 9 + period / (1 - kept**period) - 1 / (1 - kept)))
        naive = -(period * 9 + period / (1 - (1 - learning_rate * 0.75) ** period) - 1 / (learning_rate * 0.75))
        nulls = {"k = 1": -9.0} | ({"by subtraction": naive} if learning_rate < 1e-8 else {})
        predicted = ema.budget_with_period(0.5, 0.25, learning_rate, 0.9, period)
        assert_agrees(predicted, exact, CLOSED_FORM, nulls=nulls, relative=True)

    def test_without_curvature_there_is_no_gap(self):
        assert ema.budget_with_period(0.0, 0.5, 0.1, 0.9, 5) == 0


def amplitudes_at_bound(share, momentum, period, heavy_ball):
    """Largest errors of several modes in the middle and at the end of a run at a share of each mode's own bound."""
    curvatures, teacher_curvatures = np.array([0.5, 0.3, 0.9, 1.0]), np.array([0.5, 0.7, 0.1, 0.0])
    bounds = ema.max_learning_rate(curvatures, teacher_curvatures, momentum, period, heavy_ball)
    steps = 4000 * period
    around = np.array([steps // 2 + np.arange(-period, 0), steps + np.arange(-period, 0)]).ravel()
    student, _ = run(
        bounds * curvatures, bounds * teacher_curvatures, share, Exponential(momentum), np.append(around, steps), period, heavy_ball
    )
    sizes = np.abs(student[:-1]).reshape(2, period, -1).max(axis=1)
    return sizes[0], sizes[1]


class TestLargestStep:
    @pytest.mark.parametrize(
        ("period", "heavy_ball", "momentum"),
        [(1, 0.0, 0.9), (1, 0.0, 0.3), (1, 0.5, 0.9), (1, 0.9, 0.3), (2, 0, 0.9), (3, 0, 0.3), (5, 0, 0.6)],
    )
    def test_converges_below_and_diverges_above(self, period, heavy_ball, momentum):
        middle, end = amplitudes_at_bound(1 - STABILITY_MARGIN, momentum, period, heavy_ball)
        assert np.all(end < middle / 2)
        middle, end = amplitudes_at_bound(1 + STABILITY_MARGIN, momentum, period, heavy_ball)
        assert np.all(end > 2 * middle)

    @given(st.integers(0, 2**32), st.floats(0, 0.99), st.sampled_from([1, 2, 3, 4, 7, 8, 51]), st.floats(0, 0.97))
    def test_is_where_the_spectral_radius_passes_one(self, seed, momentum, period, heavy_ball):
        curvatures, teacher_curvatures = random_modes(seed, decades=1)
        heavy_ball = heavy_ball if period == 1 else 0.0
        bounds = ema.max_learning_rate(curvatures, teacher_curvatures, momentum, period, heavy_ball)
        at = [
            ema.growth(curvatures, teacher_curvatures, share * bounds, momentum, period, heavy_ball)
            for share in (0.5, 0.9, 1, 1.001)
        ]
        assert np.all(at[0] < 1 + SPECTRAL_RADIUS)
        assert np.all(at[1] < 1 + SPECTRAL_RADIUS)
        assert np.all(np.abs(at[2] - 1) < SPECTRAL_RADIUS)
        assert np.all(at[3] > 1 + POWER * SPECTRAL_RADIUS)

    @pytest.mark.parametrize(("period", "heavy_ball"), [(1, 0.0), (4, 0.0), (3, 0.8)])
    def test_growth_is_that_of_the_recursion(self, period, heavy_ball):
        curvatures, teacher_curvatures, learning_rate = np.array([0.5, 0.2]), np.array([0.3, 0.7]), 0.2
        updates = 1000 // period
        student, _ = run(
            curvatures,
            teacher_curvatures,
            learning_rate,
            Exponential(0.95),
            np.array([updates, updates + 1]) * period,
            period,
            heavy_ball,
        )
        predicted = ema.growth(curvatures, teacher_curvatures, learning_rate, 0.95, period, heavy_ball)
        nulls = {"momentum": ema.growth(curvatures, teacher_curvatures, learning_rate, 0.949, period, heavy_ball)}
        assert_agrees(predicted, student[1] / student[0], SPECTRAL_RADIUS, nulls=nulls)

    def test_velocity_carried_between_updates_can_diverge_far_below(self):
        """The bound of a resting teacher is no guarantee with heavy ball and a period: the step here is a tenth of it."""
        bound = ema.max_learning_rate(1e-6, 1.0, 0.2, update_every=10, heavy_ball=0.999)
        assert ema.growth(1e-6, 1.0, 0.1 * bound, 0.2, update_every=10) <= 1 + SPECTRAL_RADIUS
        rates = np.linspace(0.01, 0.1, 200) * bound
        assert np.max(ema.growth(1e-6, 1.0, rates, 0.2, update_every=10, heavy_ball=0.999)) > 1 + POWER * SPECTRAL_RADIUS

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("period", [1, 2, 3])
    def test_a_teacher_without_memory_pulls_nowhere(self, period):
        """Held to itself at once, a mode without curvature stays put at an odd period whatever the step size."""
        at_rest = 2 / 0.7 if period == 2 else np.inf
        assert ema.max_learning_rate(0.0, 0.7, 0.0, period) == pytest.approx(at_rest)

    def test_without_stiffness_any_step_is_stable(self):
        assert ema.max_learning_rate(0.0, 0.0, 0.9) == np.inf
        assert ema.max_learning_rate(0.0, 0.0, 0.9, update_every=3) == np.inf


class TestFlow:
    FORMS = (ema.flow_student, ema.flow_teacher, ema.flow_gap)

    @given(st.integers(0, 2**32), st.floats(0, 3))
    def test_equals_the_matrix_exponential(self, seed, teacher_rate):
        curvatures, teacher_curvatures = random_modes(seed, size=3)
        times = np.array([0.0, 0.3, 4.0, 30.0])
        generators = [
            np.array([[-s - p, p], [teacher_rate, -teacher_rate]]) for s, p in zip(curvatures, teacher_curvatures, strict=True)
        ]
        exact = np.array([[linalg.expm(time * generator) @ [1, 1] for generator in generators] for time in times])
        truths = exact[..., 0], exact[..., 1], exact[..., 0] - exact[..., 1]
        for form, truth in zip(self.FORMS, truths, strict=True):
            null = form(curvatures, teacher_curvatures, teacher_rate + 1e-3, times[:, None])
            assert_agrees(
                form(curvatures, teacher_curvatures, teacher_rate, times[:, None]),
                truth,
                RECURSION,
                nulls={"teacher's speed": null},
            )

    def test_coinciding_rates(self):
        """Without a teacher's curvature and with the teacher as fast as its student, ubar = (1 + sigma s) e^{-sigma s}."""
        times = np.array([0.0, 1.0, 10.0])
        for teacher_rate in (0.5, 0.5 + 1e-12, 0.5 - 1e-12):
            np.testing.assert_allclose(
                ema.flow_teacher(0.5, 0.0, teacher_rate, times), (1 + times / 2) * np.exp(-times / 2), rtol=RECURSION
            )
            np.testing.assert_allclose(ema.flow_gap(0.5, 0.0, teacher_rate, times), -times / 2 * np.exp(-times / 2), rtol=RECURSION)

    def test_small_steps_approach_it_with_order_one(self):
        learning_rates, teacher_rate = np.array([0.02, 0.01, 0.005]), 0.4
        errors, wrong = [], []
        for learning_rate in learning_rates:
            steps = np.round(np.linspace(0, 6, 31) / learning_rate).astype(int)
            truths = run(CURVATURES, TEACHER_CURVATURES, learning_rate, Exponential(1 - teacher_rate * learning_rate), steps)
            time = learning_rate * steps[:, None]
            forms = [form(CURVATURES, TEACHER_CURVATURES, teacher_rate, time) for form in self.FORMS[:2]]
            errors.append([np.abs(form - truth).max() for form, truth in zip(forms, truths, strict=True)])
            wrong.append(np.abs(forms[0] - truths[1]).max())
        orders = np.polyfit(np.log(learning_rates), np.log(errors), 1)[0]
        np.testing.assert_allclose(orders, 1, atol=ORDER)
        assert abs(np.polyfit(np.log(learning_rates), np.log(wrong), 1)[0]) < ORDER
        assert wrong[-1] > POWER * np.max(errors[-1])

    def test_eigenvalues_solve_their_equation(self):
        slow, fast = ema.flow_eigenvalues(CURVATURES, TEACHER_CURVATURES, 0.4)
        np.testing.assert_allclose(slow + fast, -(stiffness(CURVATURES, TEACHER_CURVATURES).total + 0.4), rtol=CLOSED_FORM)
        np.testing.assert_allclose(slow * fast, 0.4 * CURVATURES, atol=CLOSED_FORM)
        assert np.all(fast <= slow)
        assert np.all(slow <= 0)


@pytest.mark.parametrize(
    ("form", "others"),
    [
        (ema.student, (0.1, 0.9, 5)),
        (ema.gap, (0.1, 0.9, 5)),
        (ema.growth, (0.1, 0.9)),
        (ema.max_learning_rate, (0.9,)),
        (ema.flow_student, (0.1, 5.0)),
        (ema.flow_gap, (0.1, 5.0)),
    ],
)
def test_numbers_without_a_sign_are_numbers(form, others):
    """Of eight bits the minus of 1 is 255."""
    unsigned, signed = (form(kind(1), kind(2), *others) for kind in (np.uint8, np.float64))
    assert_agrees(unsigned, signed, CLOSED_FORM, nulls={"another mode": form(1.0, 1.0, *others)})
