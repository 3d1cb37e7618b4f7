"""Scalars along a path are those of its weights, and weights at many times are those at each, whatever strategy and metric."""

import numpy as np
import pytest

from tests.theory.cases import random_moment, random_problem
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM
from tests.tolerances import POWER
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    Geometry,
    Inputs,
    Parameter,
    Risk,
    Spectral,
    Subspace,
    TwoTowers,
    WeightDecay,
    WiSEFT,
    ZeroShot,
    decoupled_modes,
    describe,
    forgetting,
    gradient_descent,
    gradient_flow,
    ood_risk,
    optimum,
    proximal,
)

MIXED = Inputs(random_moment(0, 8))
STRATEGIES = {
    "flyp": FineTuning(),
    "weight_decay": WeightDecay(0.1),
    "little weight decay": WeightDecay(1e-9),
    "l2_sp": L2SP(0.3),
    "wise_ft": WiSEFT(0.4),
    "lp_ft": LPFT(),
    "static": Distillation(0.9, Static()),
    "spectral": Distillation(0.9, Static(), Spectral(0.5)),
    "ema": Distillation(0.9, Exponential(time_constant_progress=0.1)),
    "warmed up": Distillation(0.9, Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)),
    "uniform": Distillation(0.9, Uniform(), Parameter()),
    "power law": Distillation(0.9, PowerLaw(0.5)),
    "tracer": Distillation(0.9, Beta(0.5, 0.5)),
    "mixing": Distillation(0.9, Beta(0.5, 0.5), MIXED),
}
PATHS = {
    "descent": lambda problem, strategy: gradient_descent(problem, strategy, learning_rate=0.2, steps=400),
    "flow": lambda problem, strategy: gradient_flow(problem, strategy, duration=80.0),
    "proximal": lambda problem, strategy: proximal(problem, strategy, steps=400),
}
CASES = [
    (made, name)
    for made in PATHS
    for name in STRATEGIES
    if made == "descent" or (made == "proximal" and name in ("l2_sp", "mixing", "tracer")) or name not in ("warmed up", "mixing")
]
TIMES = np.array([0, 1, 2, 5, 70, 30, 80])
KINDS = {"rank-deficient": {}, "generic": {}, "decades": {"weight_decay": 0.02}}


@pytest.fixture(params=KINDS)
def problem(request):
    return random_problem(1, request.param, n=12, d=8, k=3, **KINDS[request.param])


def told(path, quantity):
    """A quantity of the weights at each of the times: (quantities, m)."""
    return np.transpose([quantity(weights) for weights in path.weights(TIMES)])


def assert_same(found, expected, nulls=True):
    """Equal to round-off of numbers of size 1, or of the largest of each quantity, and far from the values of the time before."""
    scale = np.maximum(np.max(np.abs(expected), axis=-1, keepdims=True), 1.0)
    late = {"the time before": np.roll(expected, 1, axis=-1) / scale} if nulls else {}
    assert_agrees(np.array(found) / scale, expected / scale, CLOSED_FORM, nulls=late)


@pytest.mark.parametrize(("made", "name"), CASES)
class TestScalars:
    def test_geometry(self, problem, made, name):
        path = PATHS[made](problem, STRATEGIES[name])
        turned = Subspace(np.linalg.qr(np.random.default_rng(0).standard_normal((8, 3)))[0])
        for space in (None, problem.effective_task_subspace(0.5), turned):
            found = path.geometry(TIMES, space)
            assert isinstance(found, Geometry)
            assert_same(found, told(path, lambda weights, space=space: describe(problem, weights, space)))

    def test_on_other_inputs(self, problem, made, name):
        path, moment = PATHS[made](problem, STRATEGIES[name]), random_moment(3, 8, rank=2)
        expected = told(path, lambda weights: forgetting(weights, problem.initial_weights, moment))
        assert_same(path.forgetting(TIMES, moment), expected)
        ideal = random_problem(2, d=8).initial_weights
        turned = Subspace(np.linalg.qr(np.random.default_rng(0).standard_normal((8, 3)))[0])
        for best in (ideal, optimum(problem)):
            for space in (problem.task_subspace, turned):
                found = path.ood_risk(TIMES, best, moment, space)
                assert isinstance(found, Risk)
                expected = told(path, lambda weights, best=best, space=space: ood_risk(weights, best, moment, space))
                assert_same(found, expected)

    def test_gaps_and_forces(self, problem, made, name):
        path = PATHS[made](problem, STRATEGIES[name])
        gaps, forces = (np.linalg.norm(at(TIMES), axis=(1, 2)) for at in (path.gap, path.force))
        assert_same(path.gap_norm(TIMES), gaps)
        assert_same(path.force_norm(TIMES), forces, nulls=path.strategy.distillation.strength > 0)


@pytest.mark.parametrize(("made", "name"), [("descent", "tracer"), ("descent", "mixing"), ("proximal", "tracer")])
def test_a_number_gives_numbers(made, name):
    problem = random_problem(1, "rank-deficient", d=8)
    path = PATHS[made](problem, STRATEGIES[name])
    moment, start, space = random_moment(3, 8), problem.initial_weights, problem.task_subspace
    for at in (
        path.geometry,
        lambda t: path.ood_risk(t, start, moment, space),
        lambda t: [path.forgetting(t, moment), path.gap_norm(t), path.force_norm(t)],
    ):
        assert np.shape(at(30)) == np.shape(at(TIMES))[:1]
        np.testing.assert_allclose(at(30), np.array(at(TIMES))[:, 5], rtol=CLOSED_FORM, atol=CLOSED_FORM)
        assert np.shape(at([])) == (*np.shape(at(30)), 0)


def test_zero_shot_goes_nowhere():
    problem = random_problem(1, "rank-deficient")
    found = gradient_descent(problem, ZeroShot(), learning_rate=0.2, steps=9).geometry([0, 9])
    for quantity, value in {"task_displacement": 0, "forgetting": 0, "adaptation": 0, "retention": 1}.items():
        np.testing.assert_allclose(getattr(found, quantity), value, atol=CLOSED_FORM)


def test_scalars_ask_for_a_problem_and_what_fits_it():
    towers = TwoTowers.balanced(np.eye(3), np.full(2, 0.1))
    path = gradient_flow(towers, FineTuning(), duration=1.0)
    with pytest.raises(UserError, match=r"geometry, forgetting and risk are those of a Problem, not of TwoTowers"):
        path.geometry(1.0)
    assert path.gap_norm(1.0) == pytest.approx(np.linalg.norm(path.gap(1.0)))


WRONG = {
    "another subspace": (lambda path: path.geometry(1, Subspace(np.eye(3))), "subspace must lie in the 5 dimensions"),
    "after the end": (lambda path: path.geometry(6), "steps must be whole numbers between 0 and the horizon of 5"),
    "a matrix of times": (lambda path: path.geometry([[1]]), "times must be a number or an array of one dimension"),
    "of gaps": (lambda path: path.gap_norm([[1]]), "times must be a number or an array of one dimension"),
    "another size": (lambda path: path.forgetting(1, np.eye(4)), r"second_moment must have shape \(5, 5\)"),
    "no moment": (lambda path: path.forgetting(1, -np.eye(5)), "second_moment must be positive semidefinite"),
    "another ideal": (lambda path: risk_at(path, np.eye(5), Subspace(np.eye(5))), r"ideal must have shape \(3, 5\)"),
    "of risk": (lambda path: risk_at(path, path.problem.initial_weights, Subspace(np.eye(3))), "subspace must lie in the 5"),
}


def risk_at(path, ideal, space):
    return path.ood_risk(1, ideal, np.eye(5), space)


@pytest.mark.parametrize("metric", ["data", Inputs(random_moment(0, 5))], ids=["decoupled", "mixing"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused(wrong, metric):
    path = gradient_descent(random_problem(1), Distillation(0.9, metric=metric), learning_rate=0.1, steps=5)
    ask, message = WRONG[wrong]
    with pytest.raises(UserError, match=message):
        ask(path)


class TestManyTimes:
    """At many times, weights are summed from the few displacements that span them."""

    STEPS = np.unique(np.geomspace(1, 4000, 120).astype(int))

    def path(self, strategy):
        problem = random_problem(1, "decades", n=80, d=60)
        return gradient_descent(problem, strategy, learning_rate=0.3, steps=4000)

    def by_few(self, at):
        """What is asked for so few times at once that each is turned back on its own."""
        few = np.array_split(self.STEPS, 1 + len(self.STEPS) // decoupled_modes.FEW_TIMES)
        return np.concatenate([at(times) for times in few])

    def errors(self, path):
        """Of the displacements at each time, relative to them."""
        start = path.posed.initial_weights
        moved = self.by_few(path.weights) - start
        return np.linalg.norm(path.weights(self.STEPS) - start - moved, axis=(1, 2)) / np.linalg.norm(moved, axis=(1, 2))

    @pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "mixing"])
    def test_each_is_accurate_relative_to_what_moved(self, name, monkeypatch):
        path = self.path(STRATEGIES[name])
        assert np.max(self.errors(path)) <= CLOSED_FORM
        monkeypatch.setattr(decoupled_modes, "ROUND_OFF", 1e-7)
        assert np.max(self.errors(path)) >= POWER * CLOSED_FORM

    def test_the_teacher_too(self):
        path = self.path(STRATEGIES["tracer"])
        expected = self.by_few(path.teacher)
        assert_agrees(path.teacher(self.STEPS), expected, CLOSED_FORM, nulls={"student": path.student(self.STEPS)})

    def test_what_never_moves_and_what_diverges(self):
        problem = random_problem(1)
        still = gradient_descent(problem, L2SP(0.1), learning_rate=0.2, steps=50)
        np.testing.assert_array_equal(still.teacher(np.arange(51)), np.repeat(problem.initial_weights[None], 51, axis=0))
        blown = gradient_descent(problem, FineTuning(), learning_rate=1e6, steps=60, allow_unstable=True)
        with np.errstate(all="ignore"):
            found, expected = blown.weights(np.arange(61)), np.array([blown.weights(t) for t in range(61)])
        finite = np.isfinite(expected).all(axis=(1, 2))
        assert np.array_equal(finite, np.isfinite(found).all(axis=(1, 2)))
        assert not finite[-1]
        np.testing.assert_allclose(found[finite], expected[finite], rtol=CLOSED_FORM)
