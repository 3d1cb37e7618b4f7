"""Settings computed from the claims, each recomputed by running what it was computed for."""

import numpy as np
import pytest

from tests.theory.cases import random_problem
from tests.tolerances import POWER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.theory import design_rules, ema
from tracer.theory.recursion import Stepping, respond

# Root finding stops at 1e-10 in a logarithm, and the residual's slope there is at most about 1.
MATCHED = 1e-8
STEPS, RATE = 300, 0.1


@pytest.fixture
def problem():
    return random_problem(3, "decades")


def residual_of(problem, pull):
    path = theory.discrete(problem, pull, learning_rate=RATE, steps=STEPS)
    start = np.sqrt(1 - theory.describe(problem, problem.initial_weights).adaptation)
    assert start == 1
    return np.sqrt(1 - theory.describe(problem, path.weights(STEPS)).adaptation)


@pytest.mark.parametrize("kernel", [Beta(0.5, 0.5), Uniform(), PowerLaw(3.0)], ids=repr)
@pytest.mark.parametrize("update_every", [1, 4])
def test_equal_budget(kernel, update_every):
    """Summed by hand over a long EMA run, the gap is the kernel's over its own run."""
    clock, mode = Clock(STEPS, update_every), {"curvature": 0.8, "pull": 0.5, "learning_rate": RATE}
    momentum = design_rules.momentum_of_equal_budget(kernel, clock, **mode)
    steps = np.arange(STEPS)
    run = respond(np.array([0.8]), np.array([0.5]), Stepping(RATE, clock, kernel), steps)
    wanted = np.sum(run.student_decay - run.teacher_decay)
    summed = np.sum(ema.gap(0.8, 0.5, RATE, momentum, np.arange(200_000)))
    assert abs(summed - wanted) <= MATCHED * abs(wanted)
    assert abs(np.sum(ema.gap(0.8, 0.5, RATE, 1.01 * momentum - 0.01, np.arange(200_000))) - wanted) >= POWER * MATCHED * abs(
        wanted
    )


def test_teacher_that_is_the_student_has_no_budget():
    assert design_rules.momentum_of_equal_budget(Exponential(0.0), Clock(9), curvature=1.0, pull=1.0, learning_rate=0.1) == 0


@pytest.mark.parametrize("kernel", [Beta(0.5, 0.5), Beta(0.3, 2.0), Uniform(), PowerLaw(0.2)], ids=repr)
@pytest.mark.parametrize("update_every", [1, 7])
def test_equal_mean_age(kernel, update_every):
    clock = Clock(STEPS, update_every)
    momentum = design_rules.momentum_of_equal_mean_age(kernel, clock)
    assert abs(Exponential(momentum).mean_age(clock) - kernel.mean_age(clock)) <= MATCHED
    assert abs(Exponential(momentum**2).mean_age(clock) - kernel.mean_age(clock)) >= POWER * MATCHED


class TestResidual:
    def test_is_what_adaptation_lacks(self, problem):
        pull = theory.Distillation(0.9)
        point = design_rules.measure(problem, pull, learning_rate=RATE, steps=STEPS)
        assert abs(point.residual - residual_of(problem, pull)) <= MATCHED
        assert abs(residual_of(problem, theory.FineTuning()) - point.residual) >= POWER * MATCHED

    def test_impulse_is_the_sum_of_forces(self, problem):
        pull = theory.Distillation(0.9)
        forces = theory.discrete(problem, pull, learning_rate=RATE, steps=STEPS).force(np.arange(STEPS))
        point = design_rules.measure(problem, pull, learning_rate=RATE, steps=STEPS)
        assert abs(np.linalg.norm(RATE * forces.sum(axis=0)) - point.impulse) <= MATCHED

    @pytest.mark.parametrize("kernel", [Beta(0.5, 0.5), Exponential(0.98), Static()], ids=repr)
    @pytest.mark.parametrize("metric", ["data", "parameter"])
    def test_largest_strength_leaves_just_that(self, problem, kernel, metric):
        run = {"learning_rate": RATE, "steps": STEPS}
        least = design_rules.measure(problem, theory.Distillation(1e-6, kernel, metric), **run).residual
        most = design_rules.measure(problem, theory.Distillation(3.0, kernel, metric), **run).residual
        tolerated = np.sqrt(least * most)
        strength = design_rules.largest_strength(problem, kernel, tolerated, metric=metric, **run)
        assert abs(residual_of(problem, theory.Distillation(strength, kernel, metric)) - tolerated) <= MATCHED
        assert residual_of(problem, theory.Distillation(1.1 * strength, kernel, metric)) >= tolerated + POWER * MATCHED

    def test_smallest_exponent_leaves_just_that(self, problem):
        bounds = [residual_of(problem, theory.Distillation(0.9, PowerLaw(beta))) for beta in (0.1, 5.0)]
        tolerated = np.mean(bounds)
        exponent = design_rules.smallest_exponent(problem, 0.9, tolerated, learning_rate=RATE, steps=STEPS)
        assert abs(residual_of(problem, theory.Distillation(0.9, PowerLaw(exponent))) - tolerated) <= MATCHED
        assert residual_of(problem, theory.Distillation(0.9, PowerLaw(0.9 * exponent))) >= tolerated + POWER * MATCHED

    @pytest.mark.parametrize("kernel", [Beta(0.5, 0.5), Uniform()], ids=repr)
    def test_momentum_of_equal_residual(self, problem, kernel):
        pull = theory.Distillation(0.9, kernel)
        momentum = design_rules.momentum_of_equal_residual(problem, pull, learning_rate=RATE, steps=STEPS)
        rival = residual_of(problem, theory.Distillation(0.9, Exponential(momentum)))
        assert abs(rival - residual_of(problem, pull)) <= MATCHED
        assert abs(residual_of(problem, theory.Distillation(0.9, Exponential(0.9))) - rival) >= POWER * MATCHED


def test_frontier_trades_residual_for_impulse(problem):
    """Along both families, what pulls harder leaves more."""
    for kernels in ([Exponential(m) for m in (0.9, 0.99, 0.999)], [PowerLaw(beta) for beta in (3.0, 0.5, 0.1)]):
        points = design_rules.frontier(problem, kernels, strength=0.9, learning_rate=RATE, steps=STEPS)
        assert [point.kernel for point in points] == kernels
        assert np.all(np.diff([point.residual for point in points]) > 0)
        assert np.all(np.diff([point.impulse for point in points]) > 0)
