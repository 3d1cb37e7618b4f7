"""The largest stable step size, against the spectral radius of a whole period's matrix and against descent on either side of it."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, STABLE_STEP
from tests.tolerances import POWER
from tracer.averaging import Beta, Clock, Exponential, Kernel, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.schedules import cosine
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    Inputs,
    Problem,
    Spectral,
    WeightDecay,
    WiSEFT,
    gradient_descent,
    max_learning_rate,
)
from tracer.theory.stability import resonates

MIXED = Inputs(random_moment(0, 5))
AT_REST = [Static(), Uniform(), PowerLaw(0.5), Beta(0.5, 0.5)]
MIXED_3 = Inputs(random_moment(1, 3))
GROWN = 1e-6


@cache
def posed(kind, weight_decay):
    return random_problem(1, kind, weight_decay=weight_decay)


class Case(NamedTuple):
    kernel: Kernel
    metric: object = "data"
    update_every: int = 1
    heavy_ball: float = 0.0
    kind: str = "generic"
    weight_decay: float = 0.0

    def __str__(self):
        metric = "mixed" if self.metric is MIXED else str(self.metric)
        kernel = f"momentum {self.kernel.momentum}" if isinstance(self.kernel, Exponential) else str(self.kernel)
        return f"{kernel}, {metric}, k = {self.update_every}, h = {self.heavy_ball}, {self.kind}"

    @property
    def problem(self):
        return posed(self.kind, self.weight_decay)

    @property
    def strategy(self):
        return Distillation(1.5, self.kernel, self.metric)

    def radius(self, learning_rate):
        """Spectral radius of the map of student, teacher and velocity over a period; teachers whose rate goes to 0 stand still."""
        momentum = self.kernel.momentum if isinstance(self.kernel, Exponential) else 1.0
        problem = self.problem
        distillation, one, none = 1.5 * self.strategy.measured_by.matrix(problem), np.eye(5), np.zeros((5, 5))
        velocity = [problem.curvature_matrix + distillation, -distillation, self.heavy_ball * one]
        moved = [kept - learning_rate * part for kept, part in zip((one, none, none), velocity, strict=True)]
        step = np.block([moved, [none, one, none], velocity])
        update = np.block([[one, none, none], [(1 - momentum) * one, momentum * one, none], [none, none, one]])
        return np.max(np.abs(np.linalg.eigvals(update @ np.linalg.matrix_power(step, self.update_every))))

    def edge(self, guess):
        """The smallest step size at which the radius passes 1, by a scan and bisection."""
        scan = guess * np.linspace(0.04, 3, 75)
        above = np.array([self.radius(at) > 1 + GROWN for at in scan])
        high = scan[np.argmax(above)]
        low = high - (scan[1] - scan[0])
        for _ in range(25):
            middle = (low + high) / 2
            low, high = (low, middle) if self.radius(middle) > 1 + GROWN else (middle, high)
        return high

    def predicted(self):
        return max_learning_rate(self.problem, self.strategy, update_every=self.update_every, heavy_ball=self.heavy_ball)


EXACT = [
    *(Case(kernel, metric, heavy_ball=h) for kernel in AT_REST[:3] for metric in ("data", "parameter", MIXED) for h in (0.0, 0.7)),
    *(Case(Static(), metric, update_every=5) for metric in ("data", MIXED)),
    *(Case(Exponential(m), metric) for m in (0.0, 0.3, 0.9) for metric in ("data", "parameter", Spectral(0.5), MIXED)),
    *(Case(Exponential(m), metric, heavy_ball=0.7) for m in (0.3, 0.9) for metric in ("data", MIXED)),
    *(Case(Exponential(0.5), metric, update_every=k) for k in (2, 4) for metric in ("data", "parameter", MIXED)),
    *(Case(Exponential(0.5), metric, update_every=k) for k in (3, 7) for metric in ("data", "parameter")),
    *(Case(Exponential(0.9), metric, kind="rank-deficient") for metric in ("data", "parameter", MIXED)),
    *(Case(Exponential(0.9), metric, kind="decades", weight_decay=0.3) for metric in ("data", "parameter", MIXED)),
]


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_is_where_the_spectral_radius_passes_one(case):
    predicted = case.predicted()
    nulls = {"no teacher": 2 / case.problem.curvatures[0] * (1 + case.heavy_ball)} if case.kernel != Exponential(0.0) else {}
    if case.kernel == Exponential(0.3):
        nulls["at rest"] = case._replace(kernel=Static()).predicted()
    assert_agrees(predicted, case.edge(predicted), STABLE_STEP, nulls=nulls, relative=True)


@pytest.mark.parametrize("period", [3, 5])
def test_is_safe_with_odd_periods_in_metrics_that_do_not_commute(period):
    """There the exact bound depends on the whole matrices; the student's own, which is given, lies below it."""
    case = Case(Exponential(0.5), MIXED, update_every=period)
    assert case.predicted() < case.edge(case.predicted()) < 1.5 * case.predicted()


@pytest.mark.parametrize("case", [case for case in EXACT if case.update_every < 3], ids=str)
def test_descent_settles_below_and_diverges_above(case):
    """The largest step late in a run over that early on; the edge itself is between."""
    predicted = case.predicted()
    changes = []
    for share in (0.98, 1.02):
        setting = {"update_every": case.update_every, "heavy_ball": case.heavy_ball}
        path = gradient_descent(
            case.problem, case.strategy, learning_rate=share * predicted, steps=1600, allow_unstable=True, **setting
        )
        moved = np.abs(np.diff(path.weights(np.arange(1601)), axis=0)).max(axis=(1, 2))
        changes.append(moved[800:].max() / moved[:800].max())
    assert changes[0] < 1
    assert changes[1] > POWER


@given(seeds, st.sampled_from(["data", "parameter", MIXED]), st.floats(0.01, 0.99), st.floats(0.05, 1))
def test_every_smaller_step_is_stable(seed, metric, momentum, share):
    case = Case(Exponential(momentum), metric)
    assert case.radius(share * case.predicted()) <= 1 + GROWN


class TestStrategies:
    problem = random_problem(2)

    def test_without_a_teacher(self):
        stiffest = self.problem.eigenvalues[0]
        for strategy, extra in ((FineTuning(), 0.0), (WeightDecay(0.4), 0.4), (L2SP(0.6), 0.6), (WiSEFT(0.5), 0.0), (LPFT(), 0.0)):
            nulls = {"half": 1 / (stiffest + extra)}
            assert_agrees(max_learning_rate(self.problem, strategy), 2 / (stiffest + extra), CLOSED_FORM, nulls=nulls)

    def test_time_constant_is_its_momentum(self):
        over_the_run = Distillation(1.5, Exponential(time_constant_progress=0.2))
        same = Distillation(1.5, Exponential(np.exp(-3 / (0.2 * 30))))
        found = max_learning_rate(self.problem, over_the_run, update_every=3, total_steps=30)
        nulls = {"another horizon": max_learning_rate(self.problem, over_the_run, update_every=3, total_steps=60)}
        assert_agrees(found, max_learning_rate(self.problem, same, update_every=3), CLOSED_FORM, nulls=nulls)

    def test_warm_up_counts_by_its_end(self):
        warmed = Distillation(1.5, Exponential(0.9, initial_momentum=0.1, warmup_progress=0.5))
        final = max_learning_rate(self.problem, Distillation(1.5, Exponential(0.9)))
        assert max_learning_rate(self.problem, warmed, total_steps=100) == pytest.approx(final, rel=CLOSED_FORM)

    @pytest.mark.filterwarnings("error")
    def test_is_infinite_where_nothing_moves(self):
        """Also where a metric that mixes sees nothing, whose largest curvature is the round-off of a zero at most."""
        nothing = Problem(np.zeros((3, 3)), np.zeros((2, 3)), np.ones((2, 3)))
        for strategy in (FineTuning(), Distillation(1.0), Distillation(1.0, Exponential(0.9)), Distillation(0.0, metric=MIXED_3)):
            assert max_learning_rate(nothing, strategy) == np.inf

    def test_a_mixed_metric_alone_bounds_the_step(self):
        nothing = Problem(np.zeros((3, 3)), np.zeros((2, 3)), np.ones((2, 3)))
        stiffest = np.linalg.eigvalsh(MIXED_3.second_moment)[-1]
        assert max_learning_rate(nothing, Distillation(1.5, metric=MIXED_3)) == pytest.approx(2 / (1.5 * stiffest))

    @pytest.mark.parametrize("metric", ["data", MIXED], ids=["data", "mixed"])
    def test_a_schedule_is_judged_by_its_peak(self, metric):
        strategy = Distillation(1.5, Exponential(0.5), metric)
        largest = max_learning_rate(self.problem, strategy)
        halved, late = (lambda step: 0.5), (lambda step: float(step == 7))
        gradient_descent(self.problem, strategy, learning_rate=1.99 * largest, steps=8, schedule=halved)
        gradient_descent(self.problem, strategy, learning_rate=1.01 * largest, steps=7, schedule=late)
        for schedule, rate in ((halved, 2.01), (late, 1.01), (cosine(8), 1.01)):
            with pytest.raises(UserError, match="at the schedule's peak is above"):
                gradient_descent(self.problem, strategy, learning_rate=rate * largest, steps=8, schedule=schedule)
            gradient_descent(self.problem, strategy, learning_rate=rate * largest, steps=8, schedule=schedule, allow_unstable=True)

    def test_a_schedule_that_never_peaks_is_not_held_to_its_learning_rate(self):
        largest = max_learning_rate(self.problem, FineTuning())
        path = gradient_descent(
            self.problem, FineTuning(), learning_rate=1.5 * largest, steps=8, schedule=lambda step: (step + 1) / 80
        )
        settled = path.weights(8) - path.limit()
        assert np.linalg.norm(settled) < np.linalg.norm(self.problem.initial_weights - path.limit())

    @pytest.mark.parametrize(
        ("schedule", "words"),
        [
            (cosine(7), "schedule must have the run's 8 steps, not 7"),
            (lambda step: np.nan, "multiplier must be finite"),
            (lambda step: -0.1, "multiplier must be finite and not negative"),
            (lambda step: 1j, "multiplier must be made of real numbers"),
        ],
        ids=["short", "nan", "negative", "complex"],
    )
    @pytest.mark.parametrize("allow_unstable", [False, True])
    def test_a_schedule_that_gives_no_multiplier_is_refused(self, schedule, words, allow_unstable):
        with pytest.raises(UserError, match=words):
            gradient_descent(
                self.problem, FineTuning(), learning_rate=0.1, steps=8, schedule=schedule, allow_unstable=allow_unstable
            ).weights(8)

    def test_descent_refuses_what_lies_above(self):
        strategy = Distillation(1.5, Exponential(0.5))
        largest = max_learning_rate(self.problem, strategy)
        gradient_descent(self.problem, strategy, learning_rate=largest, steps=3)
        with pytest.raises(UserError, match="above"):
            gradient_descent(self.problem, strategy, learning_rate=1.001 * largest, steps=3)


class TestResonance:
    """A heavy ball and an update period together may diverge where neither does alone."""

    CASE = Case(Exponential(0.5), "parameter", update_every=4, heavy_ball=0.95)

    def test_is_of_a_heavy_ball_and_a_period_together(self):
        """Without either, what diverges is not for resonance."""
        problem, strategy = self.CASE.problem, self.CASE.strategy
        assert resonates(problem, strategy, 0.99 * self.CASE.predicted(), Clock(8, 4), 0.95)
        above = 10 * self.CASE.predicted()
        assert not resonates(problem, strategy, above, Clock(8, 4), 0.0)
        assert not resonates(problem, strategy, above, Clock(8, 1), 0.95)
        assert not resonates(problem, Distillation(1.5, Static(), "parameter"), above, Clock(8, 4), 0.95)

    def test_is_asked_of_a_schedule_at_its_peak(self):
        setting = {"steps": 8, "update_every": 4, "heavy_ball": 0.95}
        rate = 0.99 * self.CASE.predicted()
        with pytest.raises(UserError, match="resonates"):
            gradient_descent(self.CASE.problem, self.CASE.strategy, learning_rate=2 * rate, schedule=lambda step: 0.5, **setting)
        gradient_descent(self.CASE.problem, self.CASE.strategy, learning_rate=rate, schedule=lambda step: 0.0, **setting)

    def test_is_refused_exactly_where_the_radius_exceeds_one(self):
        seen = set()
        for share in np.linspace(0.01, 0.99, 40):
            learning_rate = share * self.CASE.predicted()
            setting = {"steps": 8, "update_every": 4, "heavy_ball": 0.95}
            try:
                gradient_descent(self.CASE.problem, self.CASE.strategy, learning_rate=learning_rate, **setting)
                refused = False
            except UserError as error:
                refused = "resonates" in str(error)
            assert refused == (self.CASE.radius(learning_rate) > 1 + GROWN)
            seen.add(refused)
        assert seen == {False, True}
