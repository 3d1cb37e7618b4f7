"""`theory.gradient_descent` against the trainer: every strategy, kernel and metric, at every step, student and teacher."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from tests.crosscheck.problems import KERNELS, METRICS, Setting, metrics, problems, settings_for
from tests.tolerances import POWER, THEORY_AGAINST_TRAINER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.crosscheck.history import deviation
from tracer.crosscheck.training import train
from tracer.strategies import PRESETS as TRAINED
from tracer.theory.strategies import probe

UNTAUGHT = {
    "zero_shot": theory.ZeroShot(),
    "flyp": theory.FineTuning(),
    "weight_decay": theory.WeightDecay(0.2),
    "l2_sp": theory.L2SP(0.6),
    "wise_ft": theory.WiSEFT(0.4),
}


# A step rounds sums of up to 17 products, a few 1e-15 of the largest weights so far; those it is given it passes on, no larger.
PER_STEP = 5e-14


def missed(predicted, measured, start):
    """Largest difference of weights (times, k, d) at any time over the largest norm that weights had had by then.

    Weights may pass through zero, and then have the round-off of those that they came from.
    """
    size = np.maximum.accumulate(np.linalg.norm(np.concatenate([start[None], measured]), axis=(1, 2)))[1:]
    return np.max(np.linalg.norm(predicted - measured, axis=(1, 2)) / size)


def assert_path_is_run(problem, strategy, setting, condition=0.0):
    """Path and run must agree to the rounding of their steps, and of an inverse of that condition; where nothing moves not."""
    path = theory.gradient_descent(problem, strategy, **setting._asdict(), allow_unstable=True)
    trained = train(problem, strategy, **setting._asdict())
    steps, start, bound = np.arange(setting.steps + 1), problem.initial_weights, PER_STEP * (setting.steps + condition)
    assert missed(path.student(steps), trained.student, start) <= bound
    assert missed(path.teacher(steps), trained.teacher, start) <= bound
    assert missed(path.weights(steps)[-1:], np.stack([trained.final]), start) <= bound
    assert missed(path.weights(steps)[:1], trained.student[-1:], start) >= POWER * bound
    return path, trained


@pytest.mark.parametrize("name", UNTAUGHT)
@given(data=st.data())
def test_strategies_without_a_moving_teacher(name, data):
    problem, strategy = data.draw(problems()), UNTAUGHT[name]
    if name == "zero_shot":
        np.testing.assert_array_equal(
            theory.gradient_descent(problem, strategy, learning_rate=1e-3, steps=5).weights(5), problem.initial_weights
        )
        np.testing.assert_array_equal(train(problem, strategy, learning_rate=1e-3, steps=5).final, problem.initial_weights)
    else:
        assert_path_is_run(problem, strategy, data.draw(settings_for(problem, strategy)))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kernel", KERNELS)
@given(data=st.data())
def test_distillation(kernel, metric, data):
    problem = data.draw(problems())
    strength = data.draw(st.sampled_from([0.1, 0.9, 3.0]))
    strategy = theory.Distillation(strength, KERNELS[kernel], data.draw(metrics(problem, metric)))
    assert_path_is_run(problem, strategy, data.draw(settings_for(problem, strategy)))


@pytest.mark.parametrize("kernel", ["momentum 0.9", "beta"])
@given(data=st.data())
def test_passive_teacher(kernel, data):
    """A teacher that follows its student and does not hold it."""
    problem = data.draw(problems())
    strategy = theory.Distillation(0.0, KERNELS[kernel])
    assert_path_is_run(problem, strategy, data.draw(settings_for(problem, strategy)))


@given(data=st.data())
def test_linear_probe_then_fine_tuning(data):
    """The probe is an inverse, so its round-off grows with the condition of the embeddings: only such as are well conditioned."""
    problem = data.draw(problems(kinds=("generic", "repeated"), weight_decays=(0.1,)))
    condition = np.linalg.cond(probe(problem).curvature_matrix)
    assert_path_is_run(problem, theory.LPFT(), data.draw(settings_for(problem, theory.LPFT())), condition)


def test_weights_that_pass_through_zero():
    """One weight that the third step brings to a millionth of where it started, with the round-off of where it started."""
    images, texts = np.array([[1.0], [-2.0], [0.5]]), np.array([[-1.0], [1.0], [0.3]])
    problem = theory.Problem.from_pairs(images, texts, np.array([[1.0]]))

    def third(learning_rate):
        return theory.gradient_descent(problem, theory.FineTuning(), learning_rate=learning_rate, steps=5).weights(3).item()

    rate = brentq(lambda learning_rate: third(learning_rate) - 1e-6, 0.01, 0.5)
    _, trained = assert_path_is_run(problem, theory.FineTuning(), Setting(rate, 5))
    assert trained.student[3].item() == pytest.approx(1e-6, rel=1e-6)
    third_weights = trained.student[3:4]
    assert missed(1.001 * third_weights, third_weights, problem.initial_weights) > POWER * PER_STEP * 5


class TestPower:
    """What the comparison above would miss: each wrong prediction lies far outside its tolerance."""

    STEPS = 60

    @pytest.fixture
    def problem(self):
        rng = np.random.default_rng(5)
        return theory.Problem.from_pairs(rng.standard_normal((20, 6)), rng.standard_normal((20, 3)), rng.standard_normal((3, 6)))

    def path(self, problem, strategy, **changes):
        setting = {"learning_rate": 0.2, "steps": self.STEPS, "update_every": 2} | changes
        return theory.gradient_descent(problem, strategy, **setting).weights(self.STEPS)

    @pytest.mark.parametrize(
        "wrong",
        [
            theory.Distillation(0.9, Beta(0.505, 0.5)),
            theory.Distillation(0.9, Beta(0.5, 0.505)),
            theory.Distillation(0.9, Beta(0.5, 0.5, weighting="pdf")),
            theory.Distillation(0.9, PowerLaw(0.5)),
            theory.Distillation(0.9, Exponential(0.9)),
            theory.Distillation(0.9, Static()),
            theory.Distillation(0.909, Beta(0.5, 0.5)),
            theory.Distillation(0.9, Beta(0.5, 0.5), theory.Spectral(0.01)),
            theory.Distillation(0.9, Beta(0.5, 0.5), "parameter"),
            theory.FineTuning(),
        ],
        ids=repr,
    )
    def test_wrong_strategy(self, problem, wrong):
        right = self.path(problem, theory.Distillation(0.9, Beta(0.5, 0.5)))
        assert deviation(self.path(problem, wrong), right) >= POWER * THEORY_AGAINST_TRAINER

    @pytest.mark.parametrize("change", [{"learning_rate": 0.201}, {"update_every": 1}, {"heavy_ball": 0.01}], ids=repr)
    def test_wrong_stepping(self, problem, change):
        strategy = theory.Distillation(0.9, Beta(0.5, 0.5))
        assert deviation(self.path(problem, strategy, **change), self.path(problem, strategy)) >= POWER * THEORY_AGAINST_TRAINER

    def test_teacher_is_not_the_student(self, problem):
        path = theory.gradient_descent(problem, theory.Distillation(0.9), learning_rate=0.2, steps=self.STEPS)
        assert deviation(path.weights(self.STEPS), path.teacher(self.STEPS)) >= POWER * THEORY_AGAINST_TRAINER

    def test_teacher_updated_before_the_student(self, problem):
        """The other order of the two updates: a teacher one step behind."""
        kernel, clock = Beta(0.5, 0.5), Clock(self.STEPS)
        path = theory.gradient_descent(problem, theory.Distillation(0.9, kernel), learning_rate=0.2, steps=self.STEPS)
        students = path.weights(np.arange(self.STEPS + 1))
        late = np.tensordot(kernel.weights(clock)[1:], students[:-1], 1) + kernel.weights(clock)[0] * students[0]
        assert deviation(late, path.teacher(self.STEPS)) >= POWER * THEORY_AGAINST_TRAINER


def test_names_are_the_trainers():
    assert set(TRAINED) & set(theory.STRATEGIES) == set(theory.STRATEGIES) - {"weight_decay"}
