"""Paths of descent and flow: what gap, force and impulse mean, at which times they are known, and what holds along all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.theory.cases import diagonal_problem, nearest_minimiser, problems, quadratic, random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, FLOW, RECURSION, VANISHING_GAP
from tests.tolerances import POWER
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.schedules import cosine
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    Inputs,
    Parameter,
    Problem,
    Spectral,
    WiSEFT,
    ZeroShot,
    gradient_descent,
    gradient_flow,
    max_learning_rate,
)
from tracer.theory.closed_forms import ema
from tracer.theory.recursion import Stepping

KERNELS = [Static(), Exponential(0.0), Exponential(0.9), Uniform(), PowerLaw(0.4), Beta(0.5, 0.5), Beta(2.0, 0.6)]
FLOWING = [
    Static(),
    Exponential(time_constant_progress=0.2),
    Uniform(),
    PowerLaw(0.4),
    Beta(0.5, 0.5),
    Beta(2.0, 0.6),
    Beta(0.4, 3),
]
METRICS = ["data", Parameter(), Spectral(0.4), Inputs(random_moment(0, 5))]


def matrix_of(metric, problem):
    return Distillation(1.0, metric=metric).measured_by.matrix(problem)


def gauss(nodes, ends):
    """Nodes and weights of Gauss and Legendre's rule between two ends."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return ends[0] + (ends[1] - ends[0]) * (x + 1) / 2, w * (ends[1] - ends[0]) / 2


def over_progress(kernel, nodes=60):
    """A rule on (0, 1) that resolves the power of 1 - p at which a Beta kernel ends."""
    end_power = max(1.0, 2 / kernel.b) if isinstance(kernel, Beta) else 1.0
    early, early_weights = gauss(nodes, (0, 0.5))
    y, weights = gauss(nodes, (0, 0.5 ** (1 / end_power)))
    return np.append(early, 1 - y**end_power), np.append(early_weights, weights * end_power * y ** (end_power - 1))


def hazard(kernel, p):
    """How fast a kernel's teacher moves per progress, by its definition."""
    if isinstance(kernel, Exponential):
        return np.full_like(p, 1 / kernel.time_constant_progress)
    if isinstance(kernel, Beta):
        return stats.beta.pdf(p, kernel.a, kernel.b) / stats.beta.cdf(p, kernel.a, kernel.b)
    return {Static: 0.0, Uniform: 1.0, PowerLaw: 0.4}[type(kernel)] / p


class TestMeaning:
    @pytest.mark.parametrize("metric", METRICS, ids=repr)
    @pytest.mark.parametrize("kernel", KERNELS, ids=repr)
    @pytest.mark.parametrize("setting", [{}, {"update_every": 3}, {"schedule": cosine(40, 5)}, {"heavy_ball": 0.5}], ids=repr)
    def test_descent(self, kernel, metric, setting):
        """Force is strength (W - Wbar) D; the impulse is the sum of all forces so far, each times its learning rate."""
        problem = random_problem(1, "rank-deficient", weight_decay=0.05)
        path = gradient_descent(problem, Distillation(0.8, kernel, metric), learning_rate=0.2, steps=40, **setting)
        times = np.arange(41)
        gap = path.weights(times) - path.teacher(times)
        nulls = {"no teacher": path.weights(times) - problem.initial_weights} if not isinstance(kernel, Static) else {}
        assert_agrees(path.gap(times), gap, CLOSED_FORM, nulls=nulls)
        force = 0.8 * gap @ matrix_of(metric, problem)
        moves = kernel != Exponential(0.0) or "update_every" in setting
        nulls = {"gap": path.gap(times), "pushing": -force} if moves else {}
        assert_agrees(path.force(times), force, CLOSED_FORM, nulls=nulls)
        rates = 0.2 * np.array([setting.get("schedule", lambda step: 1.0)(step) for step in range(40)])
        summed = np.concatenate([np.zeros((1, 3, 5)), np.cumsum(rates[:, None, None] * force[:-1], axis=0)])
        late = np.cumsum(0.2 * force, axis=0)
        assert_agrees(
            path.impulse(times), summed, CLOSED_FORM, nulls={"one step late": late, "per step": summed / 0.2} if moves else {}
        )

    @pytest.mark.parametrize("metric", METRICS[:3], ids=repr)
    @pytest.mark.parametrize("kernel", FLOWING, ids=repr)
    def test_flow(self, kernel, metric):
        problem = random_problem(1, "rank-deficient", weight_decay=0.05)
        path = gradient_flow(problem, Distillation(0.8, kernel, metric), duration=9.0)
        nodes, weights = over_progress(kernel)
        times = 9 * nodes
        gap = path.weights(times) - path.teacher(times)
        assert_agrees(path.gap(times), gap, FLOW, nulls={"reversed": -gap})
        force = 0.8 * gap @ matrix_of(metric, problem)
        assert_agrees(path.force(times), force, FLOW, nulls={"gap": gap})
        integral = 9 * np.tensordot(weights, force, 1)
        assert_agrees(path.impulse(9.0), integral, FLOW, nulls={"per progress": integral / 9, "mean": 0.0 * integral})

    def test_interpolation_applies_to_the_weights_alone(self):
        problem = random_problem(2)
        path, whole = (gradient_descent(problem, strategy, learning_rate=0.2, steps=9) for strategy in (WiSEFT(0.3), FineTuning()))
        interpolated = 0.7 * problem.initial_weights + 0.3 * whole.weights(9)
        assert_agrees(path.weights(9), interpolated, CLOSED_FORM, nulls={"whole": whole.weights(9)})
        np.testing.assert_array_equal(path.student(9), whole.weights(9))
        np.testing.assert_array_equal(path.teacher(9), problem.initial_weights)
        still = gradient_descent(problem, ZeroShot(), learning_rate=0.2, steps=9)
        np.testing.assert_array_equal(still.weights(9), problem.initial_weights)

    def test_probing_sets_the_start(self):
        problem = random_problem(2)
        path = gradient_descent(problem, LPFT(), learning_rate=0.2, steps=9)
        np.testing.assert_array_equal(path.weights(0), path.posed.initial_weights)
        assert np.linalg.norm(path.weights(0) - problem.initial_weights) > 0.1


def solutions():
    """A path of each kind: modes and matrices of descent, and a flow."""
    problem = random_problem(3)
    mixed = Distillation(0.8, Beta(0.5, 0.5), METRICS[-1])
    return {
        "modes": gradient_descent(problem, Distillation(0.8), learning_rate=0.1, steps=12),
        "matrices": gradient_descent(problem, mixed, learning_rate=0.1, steps=12),
        "flow": gradient_flow(problem, Distillation(0.8), duration=12),
    }


@pytest.mark.parametrize("kind", solutions())
class TestTimes:
    QUANTITIES = ("weights", "student", "teacher", "gap", "force", "impulse")

    def test_scalars_and_arrays_in_any_order(self, kind):
        path = solutions()[kind]
        order = np.array([7, 0, 12, 7])
        for quantity in self.QUANTITIES:
            at = getattr(path, quantity)
            together = at(order)
            assert together.shape == (4, 3, 5)
            for i in (0, 2):
                np.testing.assert_allclose(at(order[i]), together[i], atol=FLOW if kind == "flow" else 0, rtol=0)
            np.testing.assert_array_equal(together[0], together[3])
            for same in (7, 7.0, np.int64(7), np.float32(7)):
                assert at(same).shape == (3, 5)
                np.testing.assert_array_equal(at(same), at(7))
            np.testing.assert_array_equal(at(order.tolist()), together)
            assert at(np.array([])).shape == (0, 3, 5)
            assert at([12]).shape == (1, 3, 5)

    def test_start(self, kind):
        path = solutions()[kind]
        for quantity in ("weights", "student", "teacher"):
            np.testing.assert_array_equal(getattr(path, quantity)(0), path.problem.initial_weights)
        for quantity in ("gap", "force", "impulse"):
            assert np.all(getattr(path, quantity)(0) == 0)
        assert np.linalg.norm(path.weights(12) - path.weights(0)) > 0.1

    def test_what_is_returned_can_be_changed(self, kind):
        path = solutions()[kind]
        for quantity in self.QUANTITIES:
            at = getattr(path, quantity)
            before = at([3, 12]).copy()
            at([3, 12])[:] = 0
            np.testing.assert_array_equal(at([3, 12]), before)

    @pytest.mark.parametrize("times", [-1, 13, np.nan, np.inf, [3, 12.5], [[1, 2]]], ids=str)
    def test_out_of_the_run(self, kind, times):
        for quantity in self.QUANTITIES:
            with pytest.raises(UserError, match=r"^(steps|times) must "):
                getattr(solutions()[kind], quantity)(times)


@pytest.mark.parametrize("kind", ["modes", "matrices"])
def test_fractions_of_steps_are_refused(kind):
    with pytest.raises(UserError, match="whole"):
        solutions()[kind].weights(0.5)
    assert solutions()["flow"].weights(0.5).shape == (3, 5)


class TestVanishingGap:
    """An EMA's gap keeps its digits, where student and teacher have long been equal to the last bit."""

    def compare(self, found, expected, subtracted):
        large = np.abs(expected) > 1e-300
        nulls = {"by subtraction": subtracted[large], "teacher = student": 0 * subtracted[large]}
        assert_agrees(found[large], expected[large], VANISHING_GAP, nulls=nulls, relative=True)
        assert np.abs(expected[large]).min() < 1e-200

    @pytest.mark.parametrize("metric", ["data", "parameter"])
    @pytest.mark.parametrize("momentum", [0.3, 0.9])
    def test_in_modes(self, metric, momentum):
        problem = diagonal_problem([1.0, 0.4, 0.02, 1e-4, 1e-7])
        teacher_curvatures = 0.9 * (problem.eigenvalues if metric == "data" else np.ones(5))
        path = gradient_descent(problem, Distillation(0.9, Exponential(momentum), metric), learning_rate=0.5, steps=10_000)
        times = np.unique(np.geomspace(1, 10_000, 60).astype(int))
        start = problem.initial_weights - problem.cross_covariance / problem.eigenvalues
        expected = start * ema.gap(problem.eigenvalues, teacher_curvatures, 0.5, momentum, times[:, None])[:, None, :]
        self.compare(path.gap(times), expected, path.weights(times) - path.teacher(times))
        force = 0.9 * expected * (problem.eigenvalues if metric == "data" else 1.0)
        large = np.abs(force) > 1e-300
        np.testing.assert_allclose(path.force(times)[large], force[large], rtol=VANISHING_GAP)

    @pytest.mark.parametrize("momentum", [0.5, 0.9])
    def test_in_matrices(self, momentum):
        """Where the data's spectrum is flat, any metric decouples in its own eigenbasis, and descent does not know."""
        flat = Problem(np.eye(5), *np.random.default_rng(0).standard_normal((2, 3, 5)))
        metric = random_moment(1, 5)
        values, vectors = np.linalg.eigh(metric)
        path = gradient_descent(flat, Distillation(0.9, Exponential(momentum), Inputs(metric)), learning_rate=0.3, steps=10_000)
        times = np.arange(1, 10_001, 33)
        gaps = ema.gap(1.0, 0.9 * values, 0.3, momentum, times[:, None])
        expected = ((flat.initial_weights - flat.cross_covariance) @ vectors * gaps[:, None, :]) @ vectors.T
        size = np.abs(expected).max(axis=(1, 2))
        found = np.abs(path.gap(times) - expected).max(axis=(1, 2))
        seen = size > 1e-300
        assert np.all(found[seen] <= VANISHING_GAP * size[seen])
        assert size[seen].min() < 1e-150
        subtracted = np.abs(path.weights(times) - path.teacher(times) - expected).max(axis=(1, 2))
        assert np.max(subtracted[seen] / size[seen]) >= POWER * VANISHING_GAP

    def test_vanishes_where_the_data_do_not_reach(self):
        """Round-off of a zero gradient must not hold the gap up."""
        problem = random_problem(4, "rank-deficient", n=6, d=9)
        for metric in ("data", "parameter"):
            path = gradient_descent(problem, Distillation(0.9, Exponential(0.9), metric), learning_rate=0.3, steps=8_000)
            assert np.linalg.norm(path.gap(8_000)) < 1e-100
            assert np.linalg.norm(path.gap(10)) > 1e-3


class TestDisplacementIdentity:
    """Sum over updates of r / (1 - r) (W - Wbar) is all that the teacher has moved."""

    @pytest.mark.parametrize("metric", [METRICS[0], METRICS[-1]], ids=repr)
    @pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel != Exponential(0.0)], ids=repr)
    @pytest.mark.parametrize("update_every", [1, 4])
    def test_descent(self, kernel, metric, update_every):
        problem, clock = random_problem(5, "rank-deficient"), Clock(50, update_every)
        strategy = Distillation(0.8, kernel, metric)
        path = gradient_descent(
            problem, strategy, learning_rate=0.2, steps=50, update_every=update_every, schedule=cosine(50), heavy_ball=0.3
        )
        updates = np.arange(1, clock.updates + 1)
        rates, gaps = kernel.rates(clock, updates)[:, None, None], path.gap(updates * update_every)
        moved = path.teacher(50) - problem.initial_weights
        nulls = {} if isinstance(kernel, Static) else {"rates": np.sum(rates * gaps, axis=0), "without gaps": 0 * moved}
        assert_agrees(np.sum(rates / (1 - rates) * gaps, axis=0), moved, CLOSED_FORM, nulls=nulls)

    @pytest.mark.parametrize("kernel", FLOWING, ids=repr)
    def test_flow(self, kernel):
        """In the flow r / (1 - r) becomes the hazard, per progress."""
        problem = random_problem(5, "rank-deficient")
        path = gradient_flow(problem, Distillation(0.8, kernel), duration=7.0)
        nodes, weights = over_progress(kernel)
        summed = np.tensordot(weights * hazard(kernel, nodes), path.gap(7 * nodes), 1)
        moved = path.teacher(7.0) - problem.initial_weights
        nulls = (
            {}
            if isinstance(kernel, Static)
            else {"without gaps": 0 * moved, "uniform in progress": np.tensordot(weights, path.gap(7 * nodes), 1)}
        )
        assert_agrees(summed, moved, FLOW, nulls=nulls)


def energy(problem, path, metric, strength, times):
    """L(W) - L(W*) + strength / 2 |W - Wbar|^2 in the metric."""
    away = path.weights(times) - nearest_minimiser(problem)
    held = quadratic(path.gap(times), matrix_of(metric, problem))
    return 0.5 * quadratic(away, problem.curvature_matrix) + strength / 2 * held


class TestEnergyFalls:
    @given(problems(), st.sampled_from(KERNELS), seeds, st.sampled_from(["data", "parameter", "inputs"]), st.floats(0.05, 0.95))
    def test_descent(self, problem, kernel, seed, metric, share):
        metric = Inputs(random_moment(seed, len(problem.eigenvalues))) if metric == "inputs" else metric
        stiffest = np.linalg.eigvalsh(problem.curvature_matrix + 0.8 * matrix_of(metric, problem))[-1]
        path = gradient_descent(
            problem, Distillation(0.8, kernel, metric), learning_rate=2 * share / stiffest, steps=60, allow_unstable=True
        )
        left = energy(problem, path, metric, 0.8, np.arange(61))
        assert np.all(np.diff(left) <= RECURSION * left[0])
        assert left[60] < left[0] * (1 - POWER * RECURSION)

    def test_descent_with_larger_steps_need_not(self):
        problem = random_problem(6)
        strategy = Distillation(0.8, PowerLaw(0.5))
        path = gradient_descent(
            problem, strategy, learning_rate=1.1 * max_learning_rate(problem, strategy), steps=60, allow_unstable=True
        )
        assert np.max(np.diff(energy(problem, path, "data", 0.8, np.arange(61)))) > POWER * RECURSION

    @pytest.mark.parametrize("kernel", FLOWING, ids=repr)
    @pytest.mark.parametrize("metric", ["data", "parameter"])
    def test_flow(self, kernel, metric):
        problem = random_problem(7, "decades", weight_decay=0.05)
        path = gradient_flow(problem, Distillation(0.8, kernel, metric), duration=20.0)
        left = energy(problem, path, metric, 0.8, np.linspace(0, 20, 200))
        assert np.all(np.diff(left) <= FLOW * left[0])
        assert left[-1] < left[0] / 2

    @given(seeds, st.sampled_from(KERNELS), st.floats(0.1, 3), st.floats(0.05, 1))
    def test_so_errors_and_gaps_stay_bounded(self, seed, kernel, strength, share):
        """|u_t| <= |u_0| and |g_t| <= sqrt(sigma / l) |u_0| in every mode."""
        problem = diagonal_problem([2.0, 0.5, 0.01], seed)
        path = gradient_descent(
            problem, Distillation(strength, kernel), learning_rate=share / (1 + strength), steps=80, allow_unstable=True
        )
        before = np.abs(problem.initial_weights - problem.cross_covariance / problem.eigenvalues)
        times = np.arange(81)
        after = np.abs(path.weights(times) - problem.cross_covariance / problem.eigenvalues)
        assert np.all(after <= before * (1 + RECURSION) + RECURSION)
        assert np.all(np.abs(path.gap(times)) <= np.sqrt(1 / strength) * before * (1 + RECURSION))

    def test_static_teachers_reach_that_bound_only_in_part(self):
        """With sigma = l the gap of a static teacher ends at u_0 / 2: the bound is of the right size."""
        problem = diagonal_problem([1.0])
        path = gradient_descent(problem, L2SP(1.0), learning_rate=0.5, steps=200)
        before = problem.initial_weights - problem.cross_covariance
        np.testing.assert_allclose(path.gap(200), -before / 2, rtol=CLOSED_FORM)


def test_stepping_gives_the_rates_of_as_many_steps_as_asked_for():
    stepping = Stepping(0.5, Clock(4, 2), Uniform(), cosine(4))
    for steps in range(5):
        np.testing.assert_allclose(stepping.learning_rates(steps), [0.25 * (1 + np.cos(np.pi * t / 4)) for t in range(steps)])
        assert stepping.rates(steps).tolist() == [0, 1 / 2, 0, 1 / 3][:steps]
    assert stepping.peak == 0.5
