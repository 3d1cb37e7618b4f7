"""Settings from claims: each rule by computing again what it promises to match."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import diagonal_problem, nearest_minimiser, quadratic, random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import BUDGET, CLOSED_FORM, DESIGN
from tests.tolerances import POWER
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.schedules import cosine
from tracer.theory import Distillation, FineTuning, Inputs, describe, gradient_descent, limit, optimum
from tracer.theory.closed_forms import ema, wma
from tracer.theory.design_rules import (
    exponent_that_leaves,
    frontier,
    largest_strength,
    measure,
    momentum_of_equal_budget,
    momentum_of_equal_mean_age,
    momentum_of_equal_residual,
    momentum_that_leaves,
    residual,
    smallest_exponent,
)

KERNELS = [Uniform(), PowerLaw(0.4), PowerLaw(3.0), Beta(0.5, 0.5), Beta(2.0, 0.5), Exponential(0.8)]
MODE = {"curvature": 0.7, "teacher_curvature": 0.9, "learning_rate": 0.3}
RUN = {"learning_rate": 0.3, "steps": 150}


def summed_gap(kernel, clock, curvature, teacher_curvature, learning_rate):
    """Sum over a run of teacher minus student of one mode, step by step."""
    student = teacher = 1.0
    total = 0.0
    for step in range(1, clock.total_steps + 1):
        total += teacher - student
        student -= learning_rate * (curvature * student + teacher_curvature * (student - teacher))
        if clock.updates_at(step):
            teacher += kernel.rate(clock, step // clock.update_every) * (student - teacher)
    return total


class TestEqualBudget:
    @pytest.mark.parametrize("kernel", [*KERNELS, Static()], ids=repr)
    @pytest.mark.parametrize("clock", [Clock(60), Clock(60, 7)], ids=repr)
    def test_gaps_add_up_to_the_same(self, kernel, clock):
        momentum = momentum_of_equal_budget(kernel, clock, **MODE)
        wanted = summed_gap(kernel, clock, **MODE)
        for_ever = Clock(int(100 / (1 - momentum)))
        found = summed_gap(Exponential(momentum), for_ever, **MODE)
        nulls = {"momentum": summed_gap(Exponential(0.99 * momentum), for_ever, **MODE)}
        assert_agrees(found, wanted, BUDGET, nulls=nulls, relative=True)

    def test_of_a_teacher_without_a_gap_is_zero(self):
        assert momentum_of_equal_budget(Exponential(0.0), Clock(60), **MODE) == pytest.approx(0, abs=CLOSED_FORM)
        assert momentum_of_equal_budget(Uniform(), Clock(60), curvature=0.0, teacher_curvature=0.9, learning_rate=0.3) == 0

    def test_of_an_ema_that_has_run_for_long_is_its_own(self):
        assert momentum_of_equal_budget(Exponential(0.8), Clock(2000), **MODE) == pytest.approx(0.8, rel=BUDGET)


class TestEqualMeanAge:
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("clock", [Clock(60), Clock(60, 7)], ids=repr)
    def test_ages_are_the_same(self, kernel, clock):
        def mean_age(weights):
            return sum(weight * (clock.updates - j) for j, weight in enumerate(weights)) * clock.update_every / clock.total_steps

        momentum = momentum_of_equal_mean_age(kernel, clock)
        geometric = [momentum**clock.updates, *(1 - momentum) * momentum ** np.arange(clock.updates - 1, -1, -1)]
        nulls = {"momentum": Exponential(0.99 * momentum).mean_age(clock)}
        assert_agrees(np.array(mean_age(geometric)), np.array(mean_age(kernel.weights(clock))), DESIGN, nulls=nulls)

    def test_of_an_ema_is_its_own(self):
        assert momentum_of_equal_mean_age(Exponential(0.93), Clock(100)) == pytest.approx(0.93, abs=DESIGN)

    def test_of_a_younger_teacher_is_smaller(self):
        found = [momentum_of_equal_mean_age(PowerLaw(beta), Clock(100)) for beta in (0.1, 0.5, 1.0, 5.0)]
        assert np.all(np.diff(found) < 0)


class TestResidual:
    @given(seeds, st.sampled_from(["generic", "rank-deficient", "decades"]))
    def test_is_the_root_mean_square_error_on_the_data(self, seed, kind):
        problem = random_problem(seed, kind)
        weights = np.random.default_rng(seed).standard_normal((3, 5))
        images, target = problem.pairs[0], nearest_minimiser(problem)
        direct = np.linalg.norm(images @ (weights - target).T) / np.linalg.norm(images @ (problem.initial_weights - target).T)
        nulls = {"square": direct**2} if abs(direct - 1) > 1e-3 else {}
        assert_agrees(residual(problem, weights), direct, DESIGN, nulls=nulls, relative=True)
        assert residual(problem, weights) ** 2 == pytest.approx(1 - describe(problem, weights).adaptation, rel=DESIGN)

    def test_ends(self):
        problem = random_problem(0, "rank-deficient")
        assert residual(problem, problem.initial_weights) == 1
        assert residual(problem, optimum(problem)) == 0
        settled = problem.starting_from(optimum(problem))
        assert residual(settled, settled.initial_weights) == 0
        assert residual(settled, problem.initial_weights) == np.inf

    def test_of_static_distillation_is_its_anchor_bias(self):
        problem = random_problem(0, "decades")
        assert residual(problem, limit(problem, Distillation(0.6, Static()))) == pytest.approx(0.6 / 1.6, rel=DESIGN)


class TestMeasure:
    @pytest.mark.parametrize("metric", ["data", "parameter", Inputs(random_moment(0, 5))], ids=["data", "parameter", "inputs"])
    def test_by_stepping(self, metric):
        problem, kernel = random_problem(1, "rank-deficient"), Beta(0.5, 0.5)
        distillation = Distillation(0.8, kernel, metric)
        weight, clock, schedule = distillation.measured_by.matrix(problem), Clock(40, 3), cosine(40)
        student = teacher = problem.initial_weights
        summed = 0 * student
        for step in range(1, 41):
            rate, force = 0.3 * schedule(step - 1), 0.8 * (student - teacher) @ weight
            summed = summed + rate * force
            student = student - rate * (problem.gradient(student) + force)
            if clock.updates_at(step):
                teacher = teacher + kernel.rate(clock, step // 3) * (student - teacher)
        away, before = student - nearest_minimiser(problem), problem.initial_weights - nearest_minimiser(problem)
        left = np.sqrt(quadratic(away, problem.second_moment) / quadratic(before, problem.second_moment))
        found = measure(problem, distillation, learning_rate=0.3, steps=40, update_every=3, schedule=schedule)
        assert found.kernel == kernel
        nulls = {"no teacher": measure(problem, Distillation(0.0), learning_rate=0.3, steps=40, schedule=schedule)[1:]}
        assert_agrees(np.array(found[1:]), np.array([left, np.linalg.norm(summed)]), DESIGN, nulls=nulls)


class TestFrontier:
    PROBLEM = random_problem(2, "decades")

    def test_points_are_the_measured_ones(self):
        points = frontier(self.PROBLEM, KERNELS, strength=0.9, **RUN)
        alone = gradient_descent(self.PROBLEM, FineTuning(), **RUN).weights(150)
        for kernel, point in zip(KERNELS, points, strict=True):
            path = gradient_descent(self.PROBLEM, Distillation(0.9, kernel), **RUN)
            expected = np.array([residual(self.PROBLEM, path.weights(150)), np.linalg.norm(path.impulse(150))])
            nulls = {"no teacher": np.array([residual(self.PROBLEM, alone), 0.0])}
            assert point.kernel == kernel
            assert_agrees(np.array(point[1:]), expected, CLOSED_FORM, nulls=nulls)

    @pytest.mark.parametrize("family", [lambda m: Exponential(m), lambda m: PowerLaw(1 / m - 1)], ids=["EMA", "power law"])
    def test_impulse_is_bought_with_residual(self, family):
        points = frontier(self.PROBLEM, [family(m) for m in np.linspace(0.1, 0.95, 12)], strength=0.9, **RUN)
        assert np.all(np.diff([point.residual for point in points]) > 0)
        assert np.all(np.diff([point.impulse for point in points]) > 0)

    @pytest.mark.parametrize("kernel", [Uniform(), PowerLaw(0.4), Beta(0.5, 0.5)], ids=repr)
    def test_ema_of_equal_residual(self, kernel):
        momentum = momentum_of_equal_residual(self.PROBLEM, Distillation(0.9, kernel), **RUN)
        wma, ema, off = frontier(self.PROBLEM, [kernel, Exponential(momentum), Exponential(0.999 * momentum)], strength=0.9, **RUN)
        assert_agrees(np.array(ema.residual), np.array(wma.residual), DESIGN, nulls={"momentum": off.residual})


class TestTolerances:
    PROBLEM = diagonal_problem([1.0, 0.6, 0.3])

    def left(self, strength, kernel, metric="data"):
        return measure(self.PROBLEM, Distillation(strength, kernel, metric), **RUN).residual

    @pytest.mark.parametrize("kernel", [*KERNELS[:2], KERNELS[3], Exponential(0.98), Static()], ids=repr)
    @pytest.mark.parametrize("metric", ["data", "parameter"])
    def test_largest_strength_leaves_just_the_tolerated_residual(self, kernel, metric):
        tolerated = [0.003, 0.02, 0.1] if kernel != Exponential(0.98) else [0.0003, 0.001, 0.01]
        found = [largest_strength(self.PROBLEM, kernel, bound, metric=metric, **RUN) for bound in tolerated]
        assert np.all(np.diff(found) > 0)
        for bound, strength in zip(tolerated, found, strict=True):
            nulls = {"stronger by a tenth": self.left(1.1 * strength, kernel, metric)}
            assert_agrees(self.left(strength, kernel, metric), bound, DESIGN, nulls=nulls)

    def test_largest_strength_by_hand(self):
        """A static teacher leaves strength / (1 + strength) of the error in the data's metric, once the run is long."""
        found = largest_strength(self.PROBLEM, Static(), 0.25, learning_rate=0.5, steps=2000)
        assert found == pytest.approx(1 / 3, rel=DESIGN)

    @pytest.mark.parametrize("metric", ["data", "parameter"])
    def test_smallest_exponent_leaves_just_the_tolerated_residual(self, metric):
        tolerated = [0.005, 0.05, 0.2]
        found = [smallest_exponent(self.PROBLEM, 0.9, bound, metric=metric, **RUN) for bound in tolerated]
        assert np.all(np.diff(found) < 0)
        for bound, beta in zip(tolerated, found, strict=True):
            nulls = {"a tenth less": self.left(0.9, PowerLaw(0.9 * beta), metric)}
            assert_agrees(self.left(0.9, PowerLaw(beta), metric), bound, DESIGN, nulls=nulls)
            assert nulls["a tenth less"] > bound + POWER * DESIGN

    def test_what_no_setting_reaches_is_refused(self):
        for impossible in (
            lambda: largest_strength(self.PROBLEM, Static(), 1e-12, **RUN),
            lambda: smallest_exponent(self.PROBLEM, 0.9, 1e-9, **RUN),
            lambda: smallest_exponent(self.PROBLEM, 0.9, 0.999, **RUN),
        ):
            with pytest.raises(UserError, match="change the tolerated residual"):
                impossible()


SPECTRUM = np.logspace(0, -2, 5)
RATE, STEPS, SHARE = 0.5, 2000, 0.3
TEACHER_CURVATURES = {"data": 0.9 * SPECTRUM, "parameter": np.full(5, 0.1)}
MATCHED = {"ema": (momentum_that_leaves, ema.student), "wma": (exponent_that_leaves, wma.student)}


@pytest.mark.parametrize("metric", TEACHER_CURVATURES)
@pytest.mark.parametrize("teacher", MATCHED)
def test_the_share_is_left_in_every_mode(teacher, metric):
    match, student = MATCHED[teacher]
    found = match(SHARE, SPECTRUM, TEACHER_CURVATURES[metric], RATE, STEPS)
    static = ema.student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, 1.0, STEPS)
    np.testing.assert_allclose(student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, found, STEPS), SHARE * static, rtol=1e-6)
    beside = student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, 0.9 * found, STEPS)
    assert np.abs(beside / static / SHARE - 1).min() > 0.05


def test_one_momentum_serves_all_learned_modes_of_the_data_metric_alone():
    """About e^(-q (1 - m) T) is left: q is 1 / 1.9 in every mode of the data metric, and sigma / (sigma + 0.1) in the other's."""
    memory = {
        metric: (1 - momentum_that_leaves(SHARE, SPECTRUM, TEACHER_CURVATURES[metric], RATE, STEPS)) * STEPS
        for metric in TEACHER_CURVATURES
    }
    np.testing.assert_allclose(memory["data"][:4], -np.log(SHARE) * 1.9, rtol=0.06)
    assert memory["parameter"][-1] > 5 * memory["parameter"][0]


def test_what_no_setting_leaves_is_nan():
    unlearned = 1e-6  # fine-tuning alone leaves nearly all of this mode
    assert np.isnan(momentum_that_leaves(SHARE, [unlearned], [unlearned], RATE, STEPS)).all()
    assert np.isnan(exponent_that_leaves(SHARE, [unlearned], [unlearned], RATE, STEPS)).all()


@pytest.mark.parametrize("steps", [2000, 4000, 20_000])
def test_without_a_teacher_no_setting_makes_a_difference(steps):
    """Even where what is left, 0.9^steps, underflows in a product with itself, or at once."""
    for match in (momentum_that_leaves, exponent_that_leaves):
        assert np.isnan(match(SHARE, [1.0], [0.0], 0.1, steps)).all()
        assert np.isfinite(match(SHARE, [1.0], [0.9], 0.1, steps)).all()


@pytest.mark.parametrize("learning_rate", [1.06, 1.1, 5.0])
def test_a_step_size_at_which_descent_diverges_is_refused(learning_rate):
    """Above 2 / (sigma + l) = 1.0526: a little below, rules hold."""
    mode = {"curvature": 1.0, "teacher_curvature": 0.9}
    for diverging in (
        lambda rate: momentum_of_equal_budget(Beta(0.5, 0.5), Clock(100), **mode, learning_rate=rate),
        lambda rate: momentum_that_leaves(SHARE, [0.1, 1.0], [0.1, 0.9], rate, STEPS),
        lambda rate: exponent_that_leaves(SHARE, [0.1, 1.0], [0.1, 0.9], rate, STEPS),
    ):
        with pytest.raises(UserError, match=r"above 1\.05263, the largest"):
            diverging(learning_rate)
        found = diverging(1.05)
        assert np.all((found > 0) & np.isfinite(found))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(UserError, match="share must lie between 0 and 1"):
        momentum_that_leaves(share, SPECTRUM, TEACHER_CURVATURES["data"], RATE, STEPS)
