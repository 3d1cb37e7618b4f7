"""The power-law teacher: closed forms against the recursion they solve, its power law, its sum, and kernels over a horizon."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.power import assert_agrees
from tests.theory.tolerances import (
    CLOSED_FORM,
    CONSTANT,
    DIFFERENCES,
    EXPONENT,
    GROWTH,
    HORIZON,
    ORDER,
    POWER_LAW_BUDGET,
    RECURSION,
    STABILITY_MARGIN,
)
from tests.tolerances import POWER
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.theory.closed_forms import wma
from tracer.theory.closed_forms.stiffness import learning_rate_per_update, stiffness
from tracer.theory.recursion import Stepping, propagate

CURVATURES = np.array([0.5, 0.3, 0.8])
TEACHER_CURVATURES = 1 - CURVATURES
betas = st.floats(-2, 0.7).map(lambda exponent: 10.0**exponent)


def random_modes(seed, size=6):
    """Curvatures of loss and teacher over six decades, after one that surely moves; without one, the other, both at the end."""
    drawn = 10 ** np.random.default_rng(seed).uniform(-6, 0, (2, size))
    return np.concatenate([[[0.5], [0.5]], drawn, [[0.3, 0, 0], [0, 0.3, 0]]], axis=1)


def run(curvatures, teacher_curvatures, learning_rate, kernel, steps, update_every=1, heavy_ball=0.0):
    """Student and teacher of the recursion after the given steps, (m, modes) each."""
    stepping = Stepping(learning_rate, Clock(int(np.max(steps)), update_every), kernel, heavy_ball=heavy_ball)
    found = propagate(curvatures, teacher_curvatures, stepping, np.asarray(steps))
    return found.student_decay, found.teacher_decay


class TestAgainstTheRecursion:
    @given(st.integers(0, 2**32), betas, st.floats(0.01, 1.98))
    def test_at_every_step_size(self, seed, beta, share):
        curvatures, teacher_curvatures = random_modes(seed)
        learning_rate = share / np.max(curvatures + teacher_curvatures)
        steps = np.arange(0, 401, 20)[:, None]
        student, teacher = run(curvatures, teacher_curvatures, learning_rate, PowerLaw(beta), steps[:, 0])
        gap = student - teacher
        arguments = curvatures, teacher_curvatures, learning_rate, beta, steps
        wrong = curvatures, teacher_curvatures, learning_rate, beta + 0.1, steps
        ema = run(curvatures, teacher_curvatures, learning_rate, Exponential(0.9), steps[:, 0])
        for form, truth, null in ((wma.student, student, ema[0]), (wma.teacher, teacher, ema[1]), (wma.gap, gap, ema[0] - ema[1])):
            assert_agrees(form(*arguments), truth, RECURSION, nulls={"beta": form(*wrong), "an EMA": null})

    @given(st.integers(0, 2**32), betas, st.integers(1, 20), st.floats(0.05, 1.9))
    def test_any_update_period(self, seed, beta, period, share):
        curvatures, teacher_curvatures = random_modes(seed)
        learning_rate = share / np.max(curvatures + teacher_curvatures)
        updates = np.arange(0, 31)[:, None]
        student, teacher = run(curvatures, teacher_curvatures, learning_rate, PowerLaw(beta), updates[:, 0] * period, period)
        in_one = learning_rate_per_update(curvatures, teacher_curvatures, learning_rate, period)
        nulls = {
            "one step": in_one / 2,
            "one more": learning_rate_per_update(curvatures, teacher_curvatures, learning_rate, period + 1),
        }
        for form, truth in ((wma.student, student), (wma.teacher, teacher)):
            wrong = {name: form(curvatures, teacher_curvatures, rate, beta, updates) for name, rate in nulls.items()}
            assert_agrees(form(curvatures, teacher_curvatures, in_one, beta, updates), truth, RECURSION, nulls=wrong)

    def test_every_digit_is_right_of_values_far_below_one(self):
        steps = np.arange(0, 3001, 100)[:, None]
        for beta in (0.3, 5.0):
            truth = run(CURVATURES, TEACHER_CURVATURES, 0.7, PowerLaw(beta), steps[:, 0])
            for form, values in zip((wma.student, wma.teacher), truth, strict=True):
                null = form(CURVATURES, TEACHER_CURVATURES, 0.7, beta + 1e-6, steps)
                predicted = form(CURVATURES, TEACHER_CURVATURES, 0.7, beta, steps)
                assert_agrees(predicted, values, RECURSION, nulls={"beta off by 1e-6": null}, relative=True)

    @pytest.mark.parametrize("steps", [1, 200])
    @pytest.mark.parametrize(("curvature", "teacher_curvature"), [(1e-9, 0.5), (1e-12, 1e-12), (0.5, 1e-9), (1e-7, 0.9)])
    def test_small_gaps_keep_their_digits(self, curvature, teacher_curvature, steps):
        with mpmath.workdps(60):
            student = teacher = mpmath.mpf(1)
            for step in range(1, steps + 1):
                student -= mpmath.mpf(curvature) * student + mpmath.mpf(teacher_curvature) * (student - teacher)
                teacher += mpmath.mpf(0.5) / (mpmath.mpf(0.5) + step) * (student - teacher)
            exact = float(student - teacher)
        nulls = {"teacher = student": 0.0, "curvature": wma.gap(curvature * (1 + 1e-9), teacher_curvature, 1.0, 0.5, steps)}
        assert_agrees(wma.gap(curvature, teacher_curvature, 1.0, 0.5, steps), exact, CLOSED_FORM, nulls=nulls, relative=True)

    def test_smaller_exponents_keep_more_of_the_error(self):
        """Between no teacher (beta to infinity) and the static one (beta to 0)."""
        steps = np.array([[5], [50], [500]])
        kept = np.array([wma.student(CURVATURES, TEACHER_CURVATURES, 0.5, beta, steps) for beta in (1e-12, 0.3, 1, 5, 50)])
        assert np.all(np.diff(kept, axis=0) < 0)
        static, _ = run(CURVATURES, TEACHER_CURVATURES, 0.5, Static(), steps[:, 0])
        np.testing.assert_allclose(kept[0], static, rtol=RECURSION)


class TestLimits:
    STEPS = np.array([[0], [1], [30], [5000], [10**6]])

    def test_without_a_pull_the_student_is_alone(self):
        x, beta = np.array([1e-5, 0.3, 0.9]), np.array([[[0.3]], [[1.0]], [[2.5]]])
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            student = wma.student(x, 0.0, 1.0, beta, self.STEPS)
            teacher = wma.teacher(x, 0.0, 1.0, beta, self.STEPS)
        alone = np.broadcast_to((1 - x) ** self.STEPS, student.shape)
        null = np.broadcast_to(wma.student(x, 1e-9, 1.0, 1.0, self.STEPS), student.shape)
        assert_agrees(student, alone, RECURSION, nulls={"a teacher": null, "teacher = student": teacher})
        uniform = -np.expm1((self.STEPS + 1) * np.log1p(-x)) / ((self.STEPS + 1) * x)
        assert_agrees(teacher[1], uniform, CLOSED_FORM, nulls={"beta": teacher[0], "student": student[1]}, relative=True)

    @pytest.mark.parametrize("teacher_curvature", [0.0, 0.3, 1.0])
    def test_without_curvature_nothing_moves(self, teacher_curvature):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            assert np.all(wma.student(0.0, teacher_curvature, 1.0, 0.5, self.STEPS) == 1)
            assert np.all(wma.teacher(0.0, teacher_curvature, 1.0, 0.5, self.STEPS) == 1)
            assert np.all(wma.gap(0.0, teacher_curvature, 1.0, 0.5, self.STEPS) == 0)
            assert np.all(wma.flow_student(0.0, teacher_curvature, 0.5, self.STEPS) == 1)
            assert np.all(wma.flow_teacher(0.0, teacher_curvature, 0.5, self.STEPS) == 1)
            assert np.all(wma.flow_gap(0.0, teacher_curvature, 0.5, self.STEPS) == 0)
        assert wma.budget(0.0, teacher_curvature, 0.1, 3.0) == 0
        assert wma.persistence_exponent(0.0, teacher_curvature, 0.5) == 0
        assert wma.persistence_constant(0.0, teacher_curvature, 0.5) == 1

    def test_stiffness_keeps_the_digits_of_a_small_share(self):
        total, data_share, teacher_share = stiffness(np.array([0.7, 0.7, 0.0]), np.array([1e-20, 0.3, 0.0]))
        assert total.tolist() == [0.7, 1.0, 0.0]
        assert data_share.tolist() == [1.0, 0.7, 0.0]
        assert teacher_share.tolist() == [1e-20 / 0.7, 0.3, 1.0]

    def test_one_step_of_a_period_without_stiffness(self):
        assert learning_rate_per_update(0.0, 0.0, 0.1, 7) == pytest.approx(0.7)
        assert learning_rate_per_update(1e-12, 0.0, 0.1, 7) == pytest.approx(0.7, rel=RECURSION)


@pytest.fixture(scope="module", params=[(0.3, 0.6), (1.0, 1.2), (2.5, 1.2)], ids=str)
def late(request):
    """beta, step size, and (student, teacher) after 10,000 and 20,000 steps, (2, 3) each."""
    beta, learning_rate = request.param
    return beta, learning_rate, run(CURVATURES, TEACHER_CURVATURES, learning_rate, PowerLaw(beta), [10000, 20000])


class TestPersistence:
    def test_exponent(self, late):
        beta, _, (student, teacher) = late
        exponent = wma.persistence_exponent(CURVATURES, TEACHER_CURVATURES, beta)
        nulls = {
            "no teacher": beta + 0 * exponent,
            "p for q": beta * TEACHER_CURVATURES,
            "uniform" if beta != 1 else "half": CURVATURES / (1 + (beta == 1)),
        }
        for values in (student, teacher, teacher - student):
            assert_agrees(exponent, -np.log2(values[1] / values[0]), EXPONENT, nulls=nulls, relative=True)

    def test_constants(self, late):
        beta, learning_rate, (student, teacher) = late
        constant = wma.persistence_constant(CURVATURES, TEACHER_CURVATURES, beta)
        law = constant * (learning_rate * 20000) ** -wma.persistence_exponent(CURVATURES, TEACHER_CURVATURES, beta)
        nulls = {"a constant of 1": law / constant, "teacher = student": TEACHER_CURVATURES * law}
        assert_agrees(law, teacher[1], CONSTANT, nulls=nulls, relative=True)
        assert_agrees(TEACHER_CURVATURES * law, student[1], CONSTANT, nulls={"teacher = student": law}, relative=True)
        assert_agrees(
            -CURVATURES * law, (student - teacher)[1], CONSTANT, nulls={"p for q": -TEACHER_CURVATURES * law}, relative=True
        )

    @pytest.mark.parametrize("beta", [0.4, 1.0, 2.5])
    def test_constants_are_approached_with_order_one_in_time(self, beta):
        steps = np.array([[10**4], [10**5], [10**6]])
        law = wma.persistence_constant(CURVATURES, TEACHER_CURVATURES, beta) * (0.3 * steps) ** -wma.persistence_exponent(
            CURVATURES, TEACHER_CURVATURES, beta
        )
        errors = np.abs(law / wma.teacher(CURVATURES, TEACHER_CURVATURES, 0.3, beta, steps) - 1)
        np.testing.assert_allclose(np.diff(np.log10(errors), axis=0), -1, atol=ORDER)
        wrong = np.abs(law / wma.student(CURVATURES, TEACHER_CURVATURES, 0.3, beta, steps) - 1)
        assert np.all(wrong[-1] > POWER * errors[-1])


class TestBudget:
    def test_is_the_sum_of_a_gap_that_falls_fast(self):
        curvatures, teacher_curvatures, learning_rate = np.array([0.8, 1.0]), np.array([0.2, 0.0]), 1.5
        stepping = Stepping(learning_rate, Clock(15000), PowerLaw(4.0))
        measured = propagate(curvatures, teacher_curvatures, stepping, np.array([15000])).decay_impulse[0] / learning_rate
        nulls = {"kappa": wma.budget(curvatures, teacher_curvatures, learning_rate, 4.1), "EMA": -9 + 0 * measured}
        assert_agrees(
            wma.budget(curvatures, teacher_curvatures, learning_rate, 4.0), measured, POWER_LAW_BUDGET, nulls=nulls, relative=True
        )

    @pytest.mark.parametrize("beta", [0.3, 1.0])
    def test_grows_as_a_power_of_the_horizon_otherwise(self, beta):
        assert np.all(wma.budget(CURVATURES, TEACHER_CURVATURES, 0.3, beta) == -np.inf)
        steps = np.array([2500, 5000, 10000])
        stepping = Stepping(1.0, Clock(10000), PowerLaw(beta))
        sums = -propagate(CURVATURES, TEACHER_CURVATURES, stepping, steps).decay_impulse
        kappa = wma.persistence_exponent(CURVATURES, TEACHER_CURVATURES, beta)
        slopes = np.log2((sums[2] - sums[1]) / (sums[1] - sums[0]))
        assert_agrees(1 - kappa, slopes, GROWTH, nulls={"bounded": 0 * kappa, "linear": 1 + 0 * kappa})

    def test_grows_as_a_logarithm_at_the_border(self):
        """kappa = 1: equal sums over equal ratios of time, q C / x^kappa times their logarithm."""
        assert wma.budget(0.5, 0.5, 0.3, 2.0) == -np.inf
        sums = propagate(
            np.array([0.5]), np.array([0.5]), Stepping(1.0, Clock(10000), PowerLaw(2.0)), np.array([5000, 10000])
        ).decay_impulse
        expected = -0.5 * wma.persistence_constant(0.5, 0.5, 2.0) * np.log(2)
        assert_agrees(expected, (sums[1] - sums[0])[0], EXPONENT, nulls={"bounded": 0.0}, relative=True)


class TestLargestStep:
    @pytest.mark.parametrize(("period", "heavy_ball"), [(1, 0.0), (1, 0.5), (4, 0.0), (3, 0.9)])
    def test_converges_below_and_diverges_above(self, period, heavy_ball):
        bounds = wma.max_learning_rate(CURVATURES, TEACHER_CURVATURES, heavy_ball)
        ends = []
        for share in (1 - STABILITY_MARGIN, 1 + STABILITY_MARGIN):
            student, _ = run(bounds * CURVATURES, bounds * TEACHER_CURVATURES, share, PowerLaw(0.5), [12000], period, heavy_ball)
            ends.append(np.abs(student[0]))
        assert np.all(ends[0] < 1)
        assert np.all(ends[1] > POWER)

    def test_without_stiffness_any_step_is_stable(self):
        assert wma.max_learning_rate(0.0, 0.0) == np.inf


class TestFlow:
    def test_small_steps_approach_it_with_order_one(self):
        learning_rates = np.array([0.02, 0.01, 0.005])
        curvatures, teacher_curvatures = random_modes(0)
        errors, wrong = [], []
        for learning_rate in learning_rates:
            steps = np.round(np.linspace(0, 6, 31) / learning_rate).astype(int)
            student, teacher = run(curvatures, teacher_curvatures, learning_rate, PowerLaw(0.5), steps)
            time = learning_rate * steps[:, None]
            arguments = curvatures, teacher_curvatures, 0.5, time
            gap = wma.flow_student(*arguments) - wma.flow_teacher(*arguments)
            np.testing.assert_allclose(wma.flow_gap(*arguments), gap, atol=CLOSED_FORM)
            errors.append(
                [np.abs(wma.flow_student(*arguments) - student).max(), np.abs(wma.flow_teacher(*arguments) - teacher).max()]
            )
            wrong.append(np.abs(wma.flow_teacher(curvatures, teacher_curvatures, 5.0, time) - teacher).max())
        orders = np.polyfit(np.log(learning_rates), np.log(errors), 1)[0]
        np.testing.assert_allclose(orders, 1, atol=ORDER)
        assert abs(np.polyfit(np.log(learning_rates), np.log(wrong), 1)[0]) < ORDER
        assert wrong[-1] > POWER * np.max(errors[-1])

    @pytest.mark.parametrize("beta", [0.3, 2.0])
    def test_teacher_solves_kummers_equation(self, beta):
        """s ubar'' + (beta + 1 + c s) ubar' + beta sigma ubar = 0, with ubar' = beta g / s and its derivative by differences."""
        time, step = np.array([[0.5], [5.0], [80.0]]), 1e-5

        def slope(at):
            return beta * wma.flow_gap(CURVATURES, TEACHER_CURVATURES, beta, at) / at

        second = (slope(time + step) - slope(time - step)) / (2 * step)
        rest = (beta + 1 + time) * slope(time) + beta * CURVATURES * wma.flow_teacher(CURVATURES, TEACHER_CURVATURES, beta, time)
        size = np.abs((beta + 1 + time) * slope(time))
        assert np.max(np.abs(time * second + rest) / size) < DIFFERENCES
        assert np.max(np.abs(rest) / size) > POWER * DIFFERENCES


class TestHorizon:
    """A Beta(a, b) kernel: asymptotic in x T, and first order in x where a is not 1 (its rates there are not a power law's)."""

    @staticmethod
    def measured(a, b, learning_rate, steps):
        student, teacher = run(CURVATURES, TEACHER_CURVATURES, learning_rate, Beta(a, b), [steps // 2, steps])
        return teacher[0], student[1], teacher[1], (student - teacher)[1]

    @staticmethod
    def predicted(a, b, learning_rate, steps):
        mode = CURVATURES, TEACHER_CURVATURES, learning_rate, a, b, steps
        return wma.beta_teacher(*mode, steps // 2), *wma.beta_end(*mode)

    @pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (1.0, 1.0), (0.5, 2.0), (2.0, 0.5)])
    def test_error_falls_with_the_horizon(self, a, b):
        """Four times the horizon at half the step size halves the step size and the inverse of x T."""
        truths = [self.measured(a, b, *scale) for scale in ((0.04, 5000), (0.02, 20000))]
        forms = [self.predicted(a, b, *scale) for scale in ((0.04, 5000), (0.02, 20000))]
        errors = np.array(
            [[np.max(np.abs(f / t - 1)) for f, t in zip(*pair, strict=True)] for pair in zip(forms, truths, strict=True)]
        )
        assert np.all(errors[1] < errors[0] / 1.4)
        for form, truth, null in zip(forms[1], truths[1], self.predicted(a / 4, b, 0.02, 20000), strict=True):
            assert_agrees(form, truth, HORIZON, nulls={"a quarter of the exponent": null}, relative=True)
        _, student, teacher, _ = truths[1]
        assert_agrees(forms[1][1], student, HORIZON, nulls={"teacher = student": teacher}, relative=True)

    def test_lag_at_the_end_has_the_stated_constant(self):
        """Without delta the student and gap are off by a few delta ~ T^-b; with it, ten times less is left at this horizon."""
        horizons, without, left = np.array([4000, 16000]), [], []
        for steps in horizons:
            _, student, teacher, gap = self.measured(1.0, 0.5, 0.4, steps)
            forms = wma.beta_end(CURVATURES, TEACHER_CURVATURES, 0.4, 1.0, 0.5, steps)
            without.append(
                [np.max(np.abs(TEACHER_CURVATURES * teacher / student - 1)), np.max(np.abs(-CURVATURES * teacher / gap - 1))]
            )
            left.append(
                [
                    np.max(np.abs(forms[0] * teacher / forms[1] / student - 1)),
                    np.max(np.abs(forms[2] * teacher / forms[1] / gap - 1)),
                ]
            )
        np.testing.assert_allclose(np.diff(np.log2(without), axis=0) / 2, -0.5, atol=ORDER / 2)
        assert np.all(np.array(left[1]) < np.array(without[1]) / 10)

    def test_uniform_kernel_is_the_power_law_without_a_horizon(self):
        steps = np.array([[10**4], [10**5]])
        law = wma.persistence_constant(CURVATURES, TEACHER_CURVATURES, 1.0) * (0.3 * steps) ** -CURVATURES
        np.testing.assert_allclose(
            wma.beta_teacher(CURVATURES, TEACHER_CURVATURES, 0.3, 1.0, 1.0, 10**5, steps), law, rtol=CLOSED_FORM
        )
        assert Uniform().rates(Clock(9), np.arange(1, 10)) == pytest.approx(Beta(1.0, 1.0).rates(Clock(9), np.arange(1, 10)))
