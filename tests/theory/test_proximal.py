"""The student solved at every step: paths by the definition, closed forms to a million steps, null modes, limits, conditions."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import problems, random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, GEOMETRY, LIMIT, LONG_RUN, MEANS, RECURSION, SLOWED
from tests.tolerances import POWER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.theory import Distillation, Inputs, Metric, Parameter, Spectral, proximal
from tracer.theory.closed_forms import ema, wma
from tracer.theory.optima import shared_modes
from tracer.theory.recursion import Stepping, propagate

KERNELS = [Static(), Exponential(0.0), Exponential(0.9), Uniform(), PowerLaw(0.4), Beta(0.5, 0.5), Beta(2.0, 0.6)]
METRICS = ["data", Parameter(), Spectral(0.4), Inputs(random_moment(0, 5)), Inputs(random_moment(1, 5, rank=4))]
CURVATURES = np.array([1.0, 1.0, 1e-9, 1.0, 1.0])
TEACHER_CURVATURES = np.array([0.9, 1e-9, 1.0, 9.0, 0.0])


def minimised(problem, strategy, rates):
    """Students and teachers by the definition: a Newton step from where the student is, by least squares."""
    strength, metric = strategy.strength, strategy.measured_by.matrix(problem)
    curvature = problem.curvature_matrix + strength * metric
    student = teacher = problem.initial_weights
    students, teachers = [student], [teacher]
    for rate in rates:
        slope = problem.gradient(student) + strength * (student - teacher) @ metric
        student = student - np.linalg.lstsq(curvature, slope.T, rcond=1e-9)[0].T
        teacher = teacher + rate * (student - teacher)
        students.append(student)
        teachers.append(teacher)
    return np.array(students), np.array(teachers)


class Unshared(Metric):
    """The data's metric, which does not say that it commutes."""

    def matrix(self, problem):
        return problem.second_moment

    def spectrum(self, problem):
        return None


class TestPath:
    @pytest.mark.parametrize("metric", METRICS, ids=repr)
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    def test_is_the_minimiser_at_every_step(self, kernel, metric, weight_decay):
        problem = random_problem(3, "rank-deficient", weight_decay=weight_decay)
        strategy, times = Distillation(0.8, kernel, metric), np.arange(21)
        path = proximal(problem, strategy, steps=20)
        students, teachers = minimised(problem, strategy, kernel.rates(Clock(20), times[1:]))
        descended = theory.gradient_descent(problem, strategy, learning_rate=0.1, steps=20)
        swapped = np.concatenate([teachers[1:], teachers[-1:]])
        nulls = {"descent": descended.student(times), "one step late": np.roll(students, 1, axis=0)}
        assert_agrees(path.student(times), students, LONG_RUN, nulls=nulls)
        nulls = {} if isinstance(kernel, Static) else {"descent": descended.teacher(times), "one step early": swapped}
        assert_agrees(path.teacher(times), teachers, LONG_RUN, nulls=nulls)
        gap = students - teachers
        assert_agrees(path.gap(times), gap, LONG_RUN, nulls={} if kernel == Exponential(0.0) else {"reversed": -gap})
        force = 0.8 * gap @ strategy.measured_by.matrix(problem)
        assert_agrees(path.force(times), force, LONG_RUN, nulls={} if kernel == Exponential(0.0) else {"none": 0 * force})
        summed = np.concatenate([np.zeros((1, 3, 5)), np.cumsum(force[:-1], axis=0)])
        assert_agrees(path.impulse(times), summed, LONG_RUN, nulls={} if kernel == Exponential(0.0) else {"late": summed + force})

    @given(problems(kinds=("generic", "rank-deficient", "repeated", "decades")), st.sampled_from(KERNELS), st.integers(1, 4))
    def test_update_periods(self, problem, kernel, period):
        """Between two updates a solved student stands still, so a period only numbers the steps anew."""
        strategy = Distillation(0.8, kernel)
        path = proximal(problem, strategy, steps=6 * period, update_every=period)
        rates = Stepping(1.0, Clock(6 * period, period), kernel).rates(6 * period)
        students, teachers = minimised(problem, strategy, rates)
        times, size = np.arange(6 * period + 1), np.abs(students).max()
        assert_agrees(path.student(times) / size, students / size, LIMIT, nulls={"still": 0 * students})
        assert_agrees(path.teacher(times) / size, teachers / size, LIMIT, nulls={"still": 0 * students})

    def test_is_the_teacher_and_the_optimum_in_the_task_subspace_and_rests_off_it(self):
        """W_t = W_{t-1} Q + p Wbar_{t-1} P + q W* P: W* itself holds W_0 Q, and would add a share of it at each step."""
        problem, times = random_problem(3, "rank-deficient"), np.arange(20)
        path = proximal(problem, Distillation(0.8, Beta(0.5, 0.5)), steps=20)
        p, space, optimum = 0.8 / 1.8, problem.task_subspace, theory.optimum(problem)
        before = path.student(times) @ space.orthogonal_projector + p * path.teacher(times) @ space.projector
        expected, null = before + (1 - p) * optimum @ space.projector, before + (1 - p) * optimum
        assert_agrees(path.student(times + 1), expected, LIMIT, nulls={"all of the optimum": null})

    @pytest.mark.parametrize("kernel", KERNELS[2:], ids=repr)
    def test_the_gap_is_what_has_not_been_learned(self, kernel):
        """-(1 - omega) sigma / l times the student's error, in every mode; in the data's metric sigma / l is rho / lambda."""
        problem, times = random_problem(3, "decades", embedding_penalty=2.5), np.arange(1, 31)
        kept = 1 - kernel.rates(Clock(30), times)[:, None, None]
        for metric, quotient in (("data", 2.5 / 0.8), ("parameter", 2.5 * problem.eigenvalues / 0.8)):
            path = proximal(problem, Distillation(0.8, kernel, metric), steps=30)
            gap, error = (
                (each @ problem.eigenvectors) for each in (path.gap(times), path.student(times) - theory.optimum(problem))
            )
            law = -kept * error * quotient
            assert_agrees(gap, law, LIMIT, nulls={"no rho": law / 2.5, "no omega": law / np.where(kept > 0, kept, 1)})

    @given(seeds)
    def test_is_descent_where_one_step_size_suits_all_modes(self, seed):
        problem, strategy, times = random_problem(seed, "repeated"), Distillation(0.9, Beta(0.5, 0.5)), np.arange(31)
        path = proximal(problem, strategy, steps=30)
        rate = 1 / (1.9 * problem.eigenvalues[0])
        descended, slower = (
            theory.gradient_descent(problem, strategy, learning_rate=each, steps=30) for each in (rate, 0.9 * rate)
        )
        assert_agrees(path.student(times), descended.student(times), RECURSION, nulls={"x = .9": slower.student(times)})

    @pytest.mark.parametrize("metric", ["data", Parameter(), Inputs(np.diag([0.0, 0.0, 0.0, 0.0, 1.0]))], ids=repr)
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    def test_what_neither_sees_never_moves(self, kernel, metric):
        problem = random_problem(4, "rank-deficient")
        outside = problem.task_subspace.orthogonal_projector
        if isinstance(metric, Inputs):  # held where the task is not, which moves nothing either: no gradient is there
            direction = outside[:, :1] / np.linalg.norm(outside[:, 0])
            metric = Inputs(problem.second_moment + direction @ direction.T)
        path = proximal(problem, Distillation(0.8, kernel, metric), steps=3000)
        moved = path.student(3000) - problem.initial_weights
        assert np.abs(moved @ outside).max() <= GEOMETRY
        assert np.abs(moved).max() >= POWER * GEOMETRY

    def test_untaught_strategies_are_solved_in_one_step(self):
        problem = random_problem(5)
        fine_tuned = proximal(problem, theory.FineTuning(), steps=3)
        assert_agrees(fine_tuned.student(1), theory.optimum(problem), LIMIT, nulls={"start": problem.initial_weights})
        held = proximal(problem, theory.L2SP(0.6), steps=3)
        expected = theory.limit(problem, theory.L2SP(0.6))
        assert_agrees(held.student(1), expected, LIMIT, nulls={"optimum": theory.optimum(problem)})
        assert_agrees(held.limit(), expected, LIMIT, nulls={"optimum": theory.optimum(problem)})
        halfway = proximal(problem, theory.WiSEFT(0.4), steps=3)
        expected = problem.initial_weights + 0.4 * (theory.optimum(problem) - problem.initial_weights)
        assert_agrees(halfway.weights(3), expected, LIMIT, nulls={"student": halfway.student(3)})
        assert_agrees(halfway.limit(), expected, LIMIT, nulls={"student": halfway.student(3)})


class TestSharedModes:
    @given(problems(), st.sampled_from(["data", "parameter", "mixing"]), seeds)
    def test_both_are_diagonal(self, problem, name, seed):
        d = len(problem.eigenvalues)
        distillation = Distillation(0.7, metric=Inputs(random_moment(seed, d)) if name == "mixing" else name)
        modes = shared_modes(problem, distillation.strength, distillation.measured_by)
        whole = problem.curvature_matrix + 0.7 * distillation.measured_by.matrix(problem)
        seen = np.diag(modes.basis.T @ whole @ modes.basis)
        seen = np.where(seen > 0.5, 1.0, 0.0)
        assert_agrees(modes.basis.T @ whole @ modes.basis, np.diag(seen), LIMIT, nulls={"nothing": np.zeros((d, d))})
        curvature = modes.basis.T @ problem.curvature_matrix @ modes.basis
        assert_agrees(curvature, np.diag(seen * modes.data_shares), LIMIT, nulls={"all the data's": np.diag(seen)})
        np.testing.assert_allclose(modes.data_shares + modes.teacher_shares, 1, rtol=CLOSED_FORM)
        assert np.all((modes.data_shares >= 0) & (modes.data_shares <= 1))

    @pytest.mark.parametrize("kind", ["generic", "rank-deficient", "repeated"])
    def test_a_metric_that_commutes_unawares_gives_the_same_path(self, kind):
        problem, times = random_problem(6, kind), np.arange(31)
        aware, unaware, other = (
            proximal(problem, Distillation(strength, PowerLaw(0.5), metric), steps=30)
            for strength, metric in ((0.9, "data"), (0.9, Unshared()), (0.91, Unshared()))
        )
        for of in ("student", "teacher", "gap", "impulse"):
            found, expected, null = (getattr(path, of)(times) for path in (unaware, aware, other))
            assert_agrees(found, expected, GEOMETRY, nulls={"another strength": null})
        assert_agrees(unaware.limit(), aware.limit(), GEOMETRY, nulls={"start": problem.initial_weights})


class TestLimit:
    @pytest.mark.parametrize("metric", METRICS, ids=repr)
    @pytest.mark.parametrize("kernel", [Static(), Exponential(0.5), Exponential(0.9)], ids=repr)
    @pytest.mark.parametrize("weight_decay", [0.0, 0.3])
    def test_is_where_the_path_ends(self, kernel, metric, weight_decay):
        problem = random_problem(7, "rank-deficient", weight_decay=weight_decay)
        path = proximal(problem, Distillation(0.8, kernel, metric), steps=5000)
        other = Static() if kernel != Static() else Exponential(0.5)
        null = proximal(problem, Distillation(0.8, other, metric), steps=1).limit()
        assert_agrees(path.student(5000), path.limit(), LIMIT, nulls={"another kernel": null, "start": problem.initial_weights})

    @pytest.mark.parametrize("metric", METRICS, ids=repr)
    def test_of_a_teacher_that_slows_down_with_the_run(self, metric):
        problem, kernel = random_problem(7, "rank-deficient", weight_decay=0.1), Exponential(time_constant_progress=0.4)
        strategy = Distillation(0.8, kernel, metric)
        ends = [proximal(problem, strategy, steps=steps).student(steps) for steps in (4000, 8000)]
        found = proximal(problem, strategy, steps=1).limit()
        nulls = {"no bias": theory.optimum(problem), "static": theory.limit(problem, Distillation(0.8, Static(), metric))}
        assert_agrees(found, 2 * ends[1] - ends[0], SLOWED, nulls=nulls)

    def test_is_direct_fine_tuning_unless_the_metric_mixes(self):
        problem = random_problem(7, "rank-deficient")
        optimum = theory.optimum(problem)
        for metric in METRICS[:3]:
            found = proximal(problem, Distillation(0.8, Uniform(), metric), steps=1).limit()
            assert_agrees(found, optimum, LIMIT, nulls={"start": problem.initial_weights})
        mixing = proximal(problem, Distillation(0.8, Uniform(), METRICS[3]), steps=1).limit()
        outside = problem.task_subspace.orthogonal_projector
        assert np.abs((mixing - problem.initial_weights) @ outside).max() >= POWER * LIMIT


class TestClosedForms:
    STEPS = np.array([0, 1, 2, 10, 99, 100, 120, 500, 5000, 10**5, 10**6])

    @pytest.mark.parametrize("beta", [0.01, 0.2, 0.5, 1.0, 1.5, 3.0])
    def test_power_law_keeps_its_digits_to_a_million_steps(self, beta):
        exact = []
        with mpmath.workdps(50):
            for curvature, teacher_curvature in zip(map(mpmath.mpf, CURVATURES), map(mpmath.mpf, TEACHER_CURVATURES), strict=True):
                p, b = teacher_curvature / (curvature + teacher_curvature), mpmath.mpf(beta)
                for t in map(int, self.STEPS):
                    teacher = mpmath.gammaprod([b + 1, t + 1 + b * p], [1 + b * p, t + 1 + b])
                    student = mpmath.rf(b * p, t) / mpmath.rf(b, t)
                    exact.append([float(value) for value in (student, teacher, student - teacher)])
        exact = np.array(exact).reshape(len(CURVATURES), len(self.STEPS), 3)
        arguments = CURVATURES[:, None], TEACHER_CURVATURES[:, None], beta, self.STEPS
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            found = np.stack([form(*arguments) for form in (wma.proximal_student, wma.proximal_teacher, wma.proximal_gap)], axis=-1)
        there = exact != 0
        assert np.all(found[~there] == 0)
        null = (
            wma.proximal_teacher(CURVATURES[:, None], TEACHER_CURVATURES[:, None], beta * (1 + 1e-10), self.STEPS)[..., None]
            + 0 * exact
        )
        assert_agrees(found[there], exact[there], MEANS, nulls={"beta off by 1e-10": null[there]}, relative=True)

    @pytest.mark.parametrize("momentum", [0.0, 1e-9, 0.5, 0.9, 0.999, 1 - 1e-6])
    def test_ema_keeps_its_digits(self, momentum):
        exact, found, nulls = [], [], []
        for curvature, teacher_curvature in [*zip(CURVATURES, TEACHER_CURVATURES, strict=True), (0.0, 1.0), (0.0, 0.0)]:
            with mpmath.workdps(50):
                c, total, m = mpmath.mpf(curvature), mpmath.mpf(curvature) + mpmath.mpf(teacher_curvature), mpmath.mpf(momentum)
                q = c / total if total else mpmath.mpf(0)
                kept = 1 - q * (1 - m)
                for t in map(int, self.STEPS):
                    before = kept ** (t - 1) if t else mpmath.mpf(0)
                    exact += [(1 - q) * before if t else mpmath.mpf(1), kept**t, -q * m * before]
            with np.errstate(divide="raise", invalid="raise", over="raise"):
                for t in self.STEPS:
                    forms = ema.proximal_student, ema.proximal_teacher, ema.proximal_gap
                    found += [form(curvature, teacher_curvature, momentum, t) for form in forms]
                    nulls += [form(curvature * (1 + 1e-9), teacher_curvature + 1e-6, momentum, t) for form in forms]
        exact, found, nulls = (np.array([float(value) for value in values]) for values in (exact, found, nulls))
        there = np.abs(exact) > 1e-290
        assert np.all(np.abs(found[~there]) <= 1e-290)
        assert_agrees(found[there], exact[there], CLOSED_FORM, nulls={"another teacher": nulls[there]}, relative=True)

    @given(st.floats(0.05, 0.95), st.floats(0.1, 3.0), st.floats(0.0, 0.95))
    def test_against_the_recursion(self, share, beta, momentum):
        curvatures, teacher_curvatures, times = (
            np.array([share, 0.0, 0.0]),
            np.array([1 - share, 1.0, 0.0]),
            np.array([0, 1, 2, 3, 10, 30, 100, 300]),
        )
        for kernel, forms, parameter in ((PowerLaw(beta), wma, beta), (Exponential(momentum), ema, momentum)):
            # the modes of `proximal` are scaled to sigma + l = 1; those that nothing drives count as the teacher's
            run = propagate(curvatures, 1 - curvatures, Stepping(1.0, Clock(300), kernel), times)
            arguments = curvatures, teacher_curvatures, parameter, times[:, None]
            other = curvatures, teacher_curvatures, parameter + 0.02, times[:, None]
            measured = run.student_decay, run.teacher_decay, run.student_decay - run.teacher_decay
            named = forms.proximal_student, forms.proximal_teacher, forms.proximal_gap
            for form, truth in zip(named, measured, strict=True):
                assert_agrees(form(*arguments), truth, RECURSION, nulls={})
            assert_agrees(forms.proximal_teacher(*arguments), measured[1], RECURSION, nulls={"off": forms.proximal_teacher(*other)})

    def test_the_gap_to_an_ema_adds_up_to_its_budget(self):
        gaps = ema.proximal_gap(1.0, np.array([0.1, 0.9]), 0.9, np.arange(3000)[:, None])
        np.testing.assert_allclose(gaps.sum(axis=0), ema.budget(0.9), rtol=LONG_RUN)

    def test_the_power_law_is_reached(self):
        late = np.array([10**5, 10**6])
        kept = wma.proximal_teacher(1.0, 0.9, 0.5, late)
        law = wma.persistence_constant(1.0, 0.9, 0.5) * late ** -wma.persistence_exponent(1.0, 0.9, 0.5)
        np.testing.assert_allclose(kept, law, rtol=1e-5)  # the next order is 1 / t


class TestConditions:
    """What makes a bias go, beyond the claims: an anchor that loses its weight is not enough."""

    @staticmethod
    def left(weights, share=0.5):
        rates = (weights / np.cumsum(weights))[1:]
        return np.prod(1 - share * rates), rates.sum()

    def test_one_great_weight_takes_all_from_the_anchor_and_leaves_the_bias(self):
        for great in (1e3, 1e6, 1e9):
            kept, _ = self.left(np.array([1.0, great]))
            assert kept == pytest.approx(0.5, abs=1 / great)

    def test_a_kernel_that_is_not_integrable_keeps_its_bias_at_every_horizon(self):
        share = 1 / 1.9
        kept, summed = np.transpose([self.left((np.arange(steps + 1) + 0.5) ** -1.5, share) for steps in (10**3, 10**4, 10**5)])
        assert np.all(np.diff(kept) < 0)
        assert np.ptp(kept) < 0.02
        assert 0.75 < kept[-1] < 0.77
        assert np.ptp(summed) < 0.1
        integrable, _ = np.transpose([self.left((np.arange(steps + 1) + 0.5) ** -0.5, share) for steps in (10**3, 10**5)])
        assert integrable[1] / integrable[0] == pytest.approx(100 ** (-0.5 * share), rel=1e-2)
