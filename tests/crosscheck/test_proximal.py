"""`theory.proximal` against the trainer: the student solved exactly at every step, under every kernel and metric."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.crosscheck.problems import KERNELS, METRICS, metrics
from tests.theory.cases import problems
from tests.tolerances import POWER, THEORY_AGAINST_TRAINER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw
from tracer.crosscheck.training import train, train_proximal
from tracer.theory.strategies import L2SP, FineTuning, WeightDecay, WiSEFT

# A Newton step divides rounding by the smallest curvature that it sees: those of the data within a factor of 16, or flat zeros,
WELL_CONDITIONED = ("generic", "rank-deficient", "repeated")
# and those of data and metric together, which may nearly cancel a direction where both lack some, within this one
WIDEST_CURVATURES = 1e3


def missed(predicted, measured):
    """Largest difference of weights over the largest measured: a step of this size may pass through zero."""
    return np.linalg.norm(predicted - measured, axis=(-2, -1)).max() / np.linalg.norm(measured, axis=(-2, -1)).max()


def is_well_conditioned(problem, strategy):
    posed, distillation = strategy.prepare(problem), strategy.distillation
    curvatures = np.linalg.eigvalsh(posed.curvature_matrix + distillation.strength * distillation.measured_by.matrix(posed))
    seen = curvatures[curvatures > 1e-10 * curvatures[-1]]
    return seen[-1] <= WIDEST_CURVATURES * seen[0]


def assert_path_is_run(problem, strategy, steps, update_every=1):
    """Path and run must agree at every step, student and teacher; one in which nothing moves must not."""
    path = theory.proximal(problem, strategy, steps=steps, update_every=update_every)
    run = train_proximal(problem, strategy, steps=steps, update_every=update_every)
    times = np.arange(steps + 1)
    assert missed(path.student(times), run.student) <= THEORY_AGAINST_TRAINER
    assert missed(path.teacher(times), run.teacher) <= THEORY_AGAINST_TRAINER
    assert missed(path.weights(steps), run.final) <= THEORY_AGAINST_TRAINER
    assert missed(path.posed.initial_weights, run.student[-1]) >= POWER * THEORY_AGAINST_TRAINER


@pytest.mark.parametrize("kernel", KERNELS)
@given(data=st.data())
def test_distillation(kernel, data):
    problem = data.draw(problems(kinds=WELL_CONDITIONED))
    metric = data.draw(metrics(problem, data.draw(st.sampled_from(METRICS))))
    strategy = theory.Distillation(data.draw(st.sampled_from([0.1, 0.9, 3.0])), KERNELS[kernel], metric)
    assume(is_well_conditioned(problem, strategy))
    steps = data.draw(st.integers(3, 40))
    assert_path_is_run(problem, strategy, steps, data.draw(st.integers(1, min(steps, 6))))


@pytest.mark.parametrize("strategy", [FineTuning(), L2SP(0.6), WeightDecay(0.2), WiSEFT(0.4)], ids=repr)
@given(problem=problems(kinds=WELL_CONDITIONED))
def test_strategies_without_a_moving_teacher(strategy, problem):
    assert_path_is_run(problem, strategy, 4)


class TestPower:
    """What the comparison above would miss: each wrong prediction lies far outside its tolerance."""

    STEPS = 30
    DISTILLATION = theory.Distillation(0.9, Beta(0.5, 0.5))

    @pytest.fixture
    def problem(self):
        rng = np.random.default_rng(5)
        return theory.Problem.from_pairs(rng.standard_normal((20, 6)), rng.standard_normal((20, 3)), rng.standard_normal((3, 6)))

    @pytest.fixture
    def run(self, problem):
        return train_proximal(problem, self.DISTILLATION, steps=self.STEPS)

    def assert_missed(self, student, teacher, run):
        for predicted, measured in ((student, run.student), (teacher, run.teacher)):
            assert missed(predicted, measured[-1]) >= POWER * THEORY_AGAINST_TRAINER

    def test_ordinary_descent_is_missed(self, problem, run):
        rate = 0.5 * theory.max_learning_rate(problem, self.DISTILLATION)
        path = theory.gradient_descent(problem, self.DISTILLATION, learning_rate=rate, steps=self.STEPS)
        self.assert_missed(path.student(self.STEPS), path.teacher(self.STEPS), run)

    @pytest.mark.parametrize(
        "wrong",
        [
            theory.Distillation(0.9, PowerLaw(0.5)),
            theory.Distillation(0.9, Exponential(0.9)),
            theory.Distillation(0.9, Beta(0.505, 0.5)),
            theory.Distillation(0.909, Beta(0.5, 0.5)),
            theory.Distillation(0.9, Beta(0.5, 0.5), "parameter"),
        ],
        ids=repr,
    )
    def test_another_teacher_is_missed(self, problem, run, wrong):
        path = theory.proximal(problem, wrong, steps=self.STEPS)
        self.assert_missed(path.student(self.STEPS), path.teacher(self.STEPS), run)

    def test_the_teacher_updated_before_the_student_is_missed(self, problem, run):
        """The other order of the two updates, by the definition: every teacher averages the student before the last."""
        q, best = 1 / 1.9, theory.optimum(problem)
        student = teacher = problem.initial_weights
        for rate in Beta(0.5, 0.5).rates(Clock(self.STEPS), np.arange(1, self.STEPS + 1)):
            teacher = teacher + rate * (student - teacher)
            student = (1 - q) * teacher + q * best
        self.assert_missed(student, teacher, run)

    def test_a_preconditioner_takes_weight_decay_with_it(self, problem):
        """Without the gradient of weight decay under the matrix, the student ends elsewhere."""
        strategy, matrix = WeightDecay(0.3), 0.2 * np.diag([1.0, 2, 3, 4, 5, 6])
        found = train(problem, strategy, learning_rate=0.1, steps=5, preconditioner=matrix).final
        posed, weights, apart = strategy.prepare(problem), problem.initial_weights, problem.initial_weights
        for _ in range(5):
            weights = weights - 0.1 * posed.gradient(weights) @ matrix
            apart = apart - 0.1 * (problem.gradient(apart) @ matrix + 0.3 * apart)
        assert missed(weights, found) <= THEORY_AGAINST_TRAINER
        assert missed(apart, found) >= POWER * THEORY_AGAINST_TRAINER
