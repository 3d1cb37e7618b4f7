"""`theory.gradient_descent` against the trainer: every strategy, kernel and metric, at every step, student and teacher."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crosscheck.problems import KERNELS, METRICS, metrics, problems, settings_for
from tests.tolerances import POWER, THEORY_AGAINST_TRAINER
from tracer import theory
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.crosscheck.history import deviation
from tracer.crosscheck.training import train
from tracer.strategies import PRESETS as TRAINED

UNTAUGHT = {
    "zero_shot": theory.ZeroShot(),
    "flyp": theory.FineTuning(),
    "weight_decay": theory.WeightDecay(0.2),
    "l2_sp": theory.L2SP(0.6),
    "wise_ft": theory.WiSEFT(0.4),
}


def assert_path_is_run(problem, strategy, setting):
    """Path and run must agree; a path in which nothing moves must not."""
    path = theory.gradient_descent(problem, strategy, **setting._asdict(), allow_unstable=True)
    trained = train(problem, strategy, **setting._asdict())
    steps = np.arange(len(trained.student))
    assert deviation(path.student(steps), trained.student) <= THEORY_AGAINST_TRAINER
    assert deviation(path.teacher(steps), trained.teacher) <= THEORY_AGAINST_TRAINER
    assert deviation(path.weights(setting.steps), trained.final) <= THEORY_AGAINST_TRAINER
    assert deviation(path.posed.initial_weights, trained.student[-1]) >= POWER * THEORY_AGAINST_TRAINER
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
    assert_path_is_run(problem, theory.LPFT(), data.draw(settings_for(problem, theory.LPFT())))


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
