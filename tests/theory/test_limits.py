"""Where each strategy ends: against minimisation by other routes, long runs, and the trade-off that the penalties claim."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize

from tests.theory.cases import (
    KINDS,
    commuting,
    diagonal_problem,
    nearest_minimiser,
    problems,
    quadratic,
    random_moment,
    random_problem,
    seeds,
)
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, LIMIT, LONG_RUN, MINIMISER, SLOWED
from tests.tolerances import POWER
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.theory import (
    L2SP,
    LPFT,
    STRATEGIES,
    Distillation,
    FineTuning,
    Inputs,
    Parameter,
    Spectral,
    WeightDecay,
    WiSEFT,
    ZeroShot,
    anchor_bias,
    forgetting,
    gradient_descent,
    limit,
    optimum,
)
from tracer.theory.update_indexed import UpdateIndexed

STRENGTHS = st.sampled_from([1e-3, 0.1, 1.0, 30.0])
KEEPING = [FineTuning(), Distillation(0.7, Static()), Distillation(0.7), L2SP(0.7), Distillation(0.7, metric="parameter")]
MOVING = [Exponential(0.9), Exponential(0.99, initial_momentum=0.1, warmup_progress=0.2), Uniform(), PowerLaw(0.3), Beta(0.5, 0.5)]


def spectral_power(problem, alpha):
    """Sigma^(1 - alpha) on its range, by the singular values of the images."""
    _, singular, right = np.linalg.svd(problem.pairs[0] / np.sqrt(problem.samples), full_matrices=False)
    kept = singular > 1e-6 * singular[0]
    return (right[kept].T * singular[kept] ** (2 - 2 * alpha)) @ right[kept]


def static(metric):
    """Distillation from the pretrained weights in a metric, by its strength."""
    return partial(Distillation, kernel=Static(), metric=metric)


def error_of(found, expected):
    """Relative to the expected weights, and to the pretrained ones, of size 1, from which they are computed."""
    return np.linalg.norm(found - expected) / (1 + np.linalg.norm(expected))


def assert_ends_at(expected, problem, family, strength):
    """The limit is the expected one; and where the teacher makes a difference, one stronger by a tenth has another."""
    assert error_of(limit(problem, family(strength)), expected) <= LIMIT
    if min(np.linalg.norm(end - expected) for end in (nearest_minimiser(problem), problem.initial_weights)) > 1e-2:
        assert error_of(limit(problem, family(1.1 * strength)), expected) >= POWER * LIMIT


class TestMinimisers:
    """Static teachers and penalties end at the minimum nearest to the start."""

    @given(problems())
    def test_fine_tuning(self, problem):
        expected = nearest_minimiser(problem)
        for strategy in (FineTuning(), WeightDecay(0.0), Distillation(0.0), L2SP(0.0), WiSEFT(1.0)):
            assert error_of(limit(problem, strategy), expected) <= LIMIT
        assert error_of(problem.initial_weights, expected) >= POWER * LIMIT

    @given(problems(), STRENGTHS)
    def test_weight_decay(self, problem, decay):
        expected = nearest_minimiser(problem.with_weight_decay(problem.weight_decay + decay))
        assert_ends_at(expected, problem, WeightDecay, decay)
        assert np.linalg.norm(problem.task_subspace.orthogonal(limit(problem, WeightDecay(decay)))) <= LIMIT

    @given(problems(), STRENGTHS)
    def test_l2_sp(self, problem, strength):
        expected = nearest_minimiser(problem, strength, np.eye(len(problem.eigenvalues)))
        assert_ends_at(expected, problem, L2SP, strength)
        assert_ends_at(expected, problem, static(Parameter()), strength)

    @given(problems(), STRENGTHS)
    def test_static_distillation(self, problem, strength):
        expected = nearest_minimiser(problem, strength, problem.second_moment)
        for metric in ("data", Spectral(0.0), Inputs(problem.second_moment)):
            assert_ends_at(expected, problem, static(metric), strength)

    @given(problems(), STRENGTHS, st.sampled_from([-0.5, 0.3, 0.5, 1.0, 1.7]))
    def test_spectrum_weighted(self, problem, strength, alpha):
        expected = nearest_minimiser(problem, strength, spectral_power(problem, alpha))
        assert_ends_at(expected, problem, static(Spectral(alpha)), strength)

    @given(problems(), STRENGTHS, seeds, st.integers(1, 9))
    def test_inputs_that_do_not_commute(self, problem, strength, seed, rank):
        metric = random_moment(seed, len(problem.eigenvalues), rank)
        curvatures = np.linalg.eigvalsh(problem.curvature_matrix + strength * metric) / strength
        assume(not np.any((curvatures > 1e-10 * curvatures[-1]) & (curvatures < 1e-5 * curvatures[-1])))
        expected = nearest_minimiser(problem, strength, metric)
        assert error_of(limit(problem, Distillation(strength, Static(), Inputs(metric))), expected) <= LIMIT

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("strength", [1e12, 1e15, 1e30, 1e200])
    def test_inputs_that_hold_without_bound_leave_free_what_they_do_not_see(self, kind, strength):
        """What a metric of two directions does not see goes to the least loss that the rest allows, however strong the hold."""
        problem, metric = random_problem(3, kind), random_moment(2, 5, rank=2)
        free = np.linalg.svd(metric)[2][2:].T
        slope, curvature = problem.gradient(problem.initial_weights) @ free, free.T @ problem.curvature_matrix @ free
        expected = problem.initial_weights - slope @ np.linalg.pinv(curvature, rcond=1e-9) @ free.T
        found = limit(problem, Distillation(strength, Static(), Inputs(metric)))
        assert_agrees(found, expected, LIMIT, nulls={"frozen": problem.initial_weights, "not held": optimum(problem)})

    @given(problems(), STRENGTHS, seeds)
    def test_inputs_that_see_everything(self, problem, strength, seed):
        metric = random_moment(seed, len(problem.eigenvalues))
        assert_ends_at(nearest_minimiser(problem, strength, metric), problem, static(Inputs(metric)), strength)

    @given(problems(), STRENGTHS, seeds)
    def test_inputs_that_commute(self, problem, strength, seed):
        spectrum = 10 ** np.random.default_rng(seed).uniform(-3, 0, len(problem.eigenvalues))
        metric = commuting(spectrum * (spectrum > 0.01), problem)
        expected = nearest_minimiser(problem, strength, metric.second_moment)
        assert_ends_at(expected, problem, static(metric), strength)

    @pytest.mark.parametrize("alpha", [3.0, 4.0])
    def test_large_powers_of_many_decades(self, alpha):
        """Curvatures of a teacher that span 24 decades and more: the smallest is still weighed against its own curvature."""
        eigenvalues = np.array([1.0, 1e-3, 1e-8])
        problem, strength = diagonal_problem(eigenvalues), 0.5
        teacher_curvatures = strength * eigenvalues ** (1 - alpha)
        expected = (problem.cross_covariance + teacher_curvatures * problem.initial_weights) / (eigenvalues + teacher_curvatures)
        strategy = Distillation(strength, Static(), Spectral(alpha))
        nulls = {"no teacher in the first": np.where(teacher_curvatures > 1, expected, problem.cross_covariance)}
        assert_agrees(limit(problem, strategy), expected, LIMIT, nulls=nulls)
        np.testing.assert_allclose(
            anchor_bias(problem, strategy), teacher_curvatures / (eigenvalues + teacher_curvatures), rtol=CLOSED_FORM
        )

    @pytest.mark.parametrize("metric", ["none", "parameter", "data", "inputs"])
    def test_descent_on_the_loss_finds_the_same(self, metric):
        """By scipy, from W_0, on the pairs: a quasi-Newton method stays where gradients point."""
        problem, strength = random_problem(1, "rank-deficient", embedding_penalty=0.7), 0.6
        weight = {"none": 0 * np.eye(5), "parameter": np.eye(5), "data": problem.second_moment, "inputs": random_moment(2, 5)}[
            metric
        ]
        images, start = problem.pairs[0], problem.initial_weights

        def objective(flat):
            weights = flat.reshape(start.shape)
            misfit, moved = images @ weights.T - problem.target_matrix, weights - start
            loss = 0.7 / 24 * np.sum(misfit**2) + strength / 2 * quadratic(moved, weight)
            return loss, (0.7 / 12 * misfit.T @ images + strength * moved @ weight).ravel()

        found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"ftol": 0, "gtol": 1e-12, "maxiter": 2000})
        strategy = FineTuning() if metric == "none" else Distillation(strength, Static(), Inputs(weight))
        nulls = {"start": start} | ({"no teacher": optimum(problem)} if metric != "none" else {})
        assert_agrees(limit(problem, strategy), found.x.reshape(start.shape), MINIMISER, nulls=nulls)


class TestWhatStays:
    """Null directions: nothing but a penalty on everything moves the orthogonal part."""

    @pytest.mark.parametrize("strategy", KEEPING, ids=repr)
    @pytest.mark.parametrize("strength", [1.0, 1e-12])
    def test_orthogonal_part_is_kept(self, strategy, strength):
        problem = random_problem(3, "rank-deficient", n=6, d=9)
        if isinstance(strategy, L2SP):
            strategy = L2SP(strength)
        space, end = problem.task_subspace, limit(problem, strategy)
        moved = space.orthogonal(end - problem.initial_weights)
        assert np.linalg.norm(moved) <= CLOSED_FORM
        assert np.linalg.norm(space.task(end - problem.initial_weights)) > POWER * CLOSED_FORM

    @given(problems(kinds=("rank-deficient",), weight_decays=(0.0,)), STRENGTHS, seeds)
    def test_displacement_is_the_least_that_minimises(self, problem, strength, seed):
        """Adding any common null direction of curvature and metric changes neither gradient, but lengthens the way.

        Two ranges that all but touch are left out: their common null directions are known only as far as the ranges are apart.
        """
        d = len(problem.eigenvalues)
        metric = random_moment(seed, d, rank=max(1, (d - problem.rank) // 2))
        moved = limit(problem, Distillation(strength, Static(), Inputs(metric))) - problem.initial_weights
        curvature = problem.curvature_matrix
        values, vectors = np.linalg.eigh(curvature / np.trace(curvature) + metric / np.trace(metric))
        null = values <= 1e-10
        assume(values[~null].min() > 1e-4)
        assert np.linalg.norm(moved @ vectors[:, null]) <= LIMIT * np.linalg.norm(moved)

    def test_weight_decay_forgets_what_l2_sp_keeps_a_share_of(self):
        problem = random_problem(4, "rank-deficient", weight_decay=0.2)
        before = problem.task_subspace.orthogonal(problem.initial_weights)
        nulls = {"kept": before}
        for strategy, share in (
            (FineTuning(), 0.0),
            (L2SP(0.6), 0.75),
            (Distillation(0.6, Static()), 0.0),
            (Distillation(0.6), 0.0),
        ):
            after = problem.task_subspace.orthogonal(limit(problem, strategy))
            assert_agrees(after, share * before, LIMIT, nulls=nulls)


class TestMovingTeachers:
    @pytest.mark.parametrize("kernel", MOVING, ids=repr)
    @pytest.mark.parametrize("metric", ["data", "parameter", Spectral(0.5)], ids=repr)
    @given(problem=problems())
    def test_leave_no_bias(self, kernel, metric, problem):
        expected = nearest_minimiser(problem)
        assert error_of(limit(problem, Distillation(3.0, kernel, metric)), expected) <= LIMIT
        if np.linalg.norm(expected - problem.initial_weights) > 1e-3:
            assert error_of(limit(problem, Distillation(3.0, Static(), metric)), expected) >= POWER * LIMIT

    @pytest.mark.parametrize("kernel", MOVING, ids=repr)
    def test_need_no_step_size_where_the_metric_does_not_mix(self, kernel):
        """It does not commute with the second moment; but where the data see everything, or it keeps to one side, nothing mixes."""
        full, flat = random_problem(5), random_problem(5, "rank-deficient")
        inside = flat.task_subspace.projector @ random_moment(1, 5) @ flat.task_subspace.projector
        for problem, metric in ((full, random_moment(1, 5)), (flat, inside)):
            assert Inputs(metric).spectrum(problem) is None
            found = limit(problem, Distillation(0.9, kernel, Inputs(metric)))
            static = limit(problem, Distillation(0.9, Static(), Inputs(metric)))
            assert_agrees(found, nearest_minimiser(problem), LIMIT, nulls={"static": static})

    @pytest.mark.parametrize(("problem", "metric"), [(random_problem(5), random_moment(1, 5))], ids=["full rank"])
    def test_a_long_run_in_a_metric_that_does_not_commute(self, problem, metric):
        strategy = Distillation(0.9, Exponential(0.8), Inputs(metric))
        path = gradient_descent(problem, strategy, learning_rate=0.3, steps=6000)
        assert_agrees(
            path.weights(6000), path.limit(), LONG_RUN, nulls={"start": problem.initial_weights, "early": path.weights(30)}
        )

    def test_with_weight_decay_any_metric_leads_to_the_optimum(self):
        problem = random_problem(6, "rank-deficient", weight_decay=0.1)
        strategy = Distillation(0.9, Exponential(0.8), Inputs(random_moment(1, 5)))
        path = gradient_descent(problem, strategy, learning_rate=0.3, steps=6000)
        nulls = {"no decay": limit(problem.with_weight_decay(0.0), strategy, 0.3)}
        assert_agrees(path.weights(6000), limit(problem, strategy), LONG_RUN, nulls=nulls)


class TestTeachersThatSlowDown:
    """An EMA whose memory is a share of the run, against descent of 4000, 8000 and 16,000 steps, extrapolated to endless runs."""

    METRICS = ("data", "parameter", Spectral(0.5), Inputs(random_moment(1, 5)), Inputs(random_moment(1, 5, rank=4)))

    @pytest.mark.parametrize("metric", METRICS, ids=repr)
    @pytest.mark.parametrize("weight_decay", [0.0, 0.1])
    def test_end_where_ever_longer_runs_tend_to(self, metric, weight_decay):
        problem = random_problem(5, "rank-deficient", weight_decay=weight_decay)
        strategy = Distillation(0.8, Exponential(time_constant_progress=0.4), metric)
        ends = [
            gradient_descent(problem, strategy, learning_rate=0.3, steps=steps).weights(steps) for steps in (4000, 8000, 16_000)
        ]
        twice = [2 * longer - shorter for shorter, longer in pairwise(ends)]
        nulls = {
            "no bias": optimum(problem),
            "static": limit(problem, Distillation(0.8, Static(), metric)),
            "another tau": limit(problem, Distillation(0.8, Exponential(time_constant_progress=0.6), metric)),
        }
        assert_agrees(limit(problem, strategy), (4 * twice[1] - twice[0]) / 3, SLOWED, nulls=nulls)

    @pytest.mark.parametrize("metric", ["data", "parameter"])
    def test_leave_the_share_of_the_bias_that_they_have(self, metric):
        problem = random_problem(10, "decades", embedding_penalty=0.4)
        strategy = Distillation(0.7, Exponential(time_constant_progress=0.4), metric)
        pull = 0.7 * problem.eigenvalues if metric == "data" else 0.7
        held = pull / (0.4 * problem.eigenvalues + pull)
        expected = held * np.exp(-(1 - held) / 0.4)
        nulls = {"none": 0 * expected, "static": held, "no p": expected / held}
        assert_agrees(anchor_bias(problem, strategy), expected, CLOSED_FORM, nulls=nulls)
        target = nearest_minimiser(problem)
        before = (problem.initial_weights - target) @ problem.eigenvectors
        left = (limit(problem, strategy) - target) @ problem.eigenvectors / before
        assert_agrees(left, expected + 0 * left, LIMIT, nulls={name: null + 0 * left for name, null in nulls.items()})

    def test_static_weights_by_another_name_end_where_the_static_teacher_does(self):
        problem = random_problem(5)
        expected = limit(problem, Distillation(0.9, Static()))
        nulls = {"optimum": optimum(problem)}
        assert_agrees(limit(problem, Distillation(0.9, UpdateIndexed(Static()))), expected, CLOSED_FORM, nulls=nulls)


class TestMixingMetrics:
    """Replay inputs that mix the subspaces move the orthogonal part, by amounts of their own."""

    STRENGTH, RATE, STEPS = 0.8, 0.25, 8000

    @pytest.fixture
    def problem(self):
        return random_problem(7, "rank-deficient", n=8, d=5)

    @pytest.fixture
    def metric(self):
        return Inputs(random_moment(3, 5))

    def strategy(self, momentum, metric):
        return Distillation(self.STRENGTH, Exponential(momentum), metric)

    @pytest.mark.parametrize("momentum", [0.3, 0.9])
    @pytest.mark.parametrize("heavy_ball", [0.0, 0.6])
    def test_ema_ends_where_a_long_run_does(self, problem, metric, momentum, heavy_ball):
        strategy = self.strategy(momentum, metric)
        path = gradient_descent(problem, strategy, learning_rate=self.RATE, steps=self.STEPS, heavy_ball=heavy_ball)
        nulls = {
            "optimum": optimum(problem),
            "step size": limit(problem, strategy, 1.01 * self.RATE, heavy_ball),
            "heavy ball": limit(problem, strategy, self.RATE, heavy_ball + 0.01),
            "momentum": limit(problem, self.strategy(momentum + 0.01, metric), self.RATE, heavy_ball),
        }
        assert_agrees(path.weights(self.STEPS), path.limit(), LONG_RUN, nulls=nulls)
        assert_agrees(path.teacher(self.STEPS), path.limit(), LONG_RUN, nulls=nulls)
        np.testing.assert_array_equal(path.limit(), limit(problem, strategy, self.RATE, heavy_ball))

    @pytest.mark.parametrize("momentum", [0.3, 0.9])
    def test_ema_spends_its_budget(self, problem, metric, momentum):
        """sum of eta force = eta strength m / (1 - m) (W_end - W_0) D, and what of it acts off the task moves W there."""
        path = gradient_descent(problem, self.strategy(momentum, metric), learning_rate=self.RATE, steps=self.STEPS)
        end = path.limit() - problem.initial_weights
        budget = self.RATE * self.STRENGTH * momentum / (1 - momentum) * end @ metric.second_moment
        nulls = {"1 / (1 - m)": budget / momentum, "no orthogonal part": problem.task_subspace.task(budget)}
        assert_agrees(path.impulse(self.STEPS), budget, LONG_RUN, nulls=nulls)
        moved = problem.task_subspace.orthogonal(end)
        assert_agrees(-problem.task_subspace.orthogonal(budget), moved, LONG_RUN, nulls={"stays": 0 * moved})

    def test_ema_by_the_block_formula(self, problem, metric):
        """Delta Q = -kappa' (W* - W_0) P D_PQ (I + kappa' D_QQ)^-1, written in bases of the two subspaces."""
        inside, outside = problem.eigenvectors[:, : problem.rank], problem.eigenvectors[:, problem.rank :]
        force = self.RATE * self.STRENGTH * 0.9 / 0.1
        d_pq, d_qq = inside.T @ metric.second_moment @ outside, outside.T @ metric.second_moment @ outside
        moved = (nearest_minimiser(problem) - problem.initial_weights) @ inside
        shift = -force * moved @ d_pq @ np.linalg.inv(np.eye(len(d_qq)) + force * d_qq)
        expected = problem.initial_weights + moved @ inside.T + shift @ outside.T
        nulls = {"stays": problem.initial_weights + moved @ inside.T}
        assert_agrees(limit(problem, self.strategy(0.9, metric), self.RATE), expected, LIMIT, nulls=nulls)

    def test_static_by_the_schur_complement(self, problem, metric):
        """The task part sees D_PP - D_PQ D_QQ^+ D_QP, the rest follows as -Delta_P D_PQ D_QQ^+, however small the strength."""
        inside, outside = problem.eigenvectors[:, : problem.rank], problem.eigenvectors[:, problem.rank :]
        full = metric.second_moment
        d_pp, d_pq, d_qq = inside.T @ full @ inside, inside.T @ full @ outside, outside.T @ full @ outside
        follow = -d_pq @ np.linalg.pinv(d_qq)
        curvature = np.diag(problem.eigenvalues[: problem.rank])
        pushed = (problem.cross_covariance - problem.initial_weights @ problem.second_moment) @ inside
        for strength in (1e-4, 0.8, 50.0):
            moved = pushed @ np.linalg.inv(curvature + strength * (d_pp + follow @ d_pq.T))
            expected = problem.initial_weights + moved @ inside.T + moved @ follow @ outside.T
            nulls = {
                "no complement": problem.initial_weights + pushed @ np.linalg.inv(curvature + strength * d_pp) @ inside.T,
                "stays": problem.initial_weights + moved @ inside.T,
            }
            assert_agrees(limit(problem, Distillation(strength, Static(), metric)), expected, LIMIT, nulls=nulls)

    def test_where_there_is_no_closed_limit(self, problem, metric):
        for kernel in [Uniform(), PowerLaw(0.5), Beta(0.5, 0.5), MOVING[1]]:
            with pytest.raises(UserError, match="no closed limit"):
                limit(problem, Distillation(0.8, kernel, metric), self.RATE)
        with pytest.raises(UserError, match="learning_rate"):
            limit(problem, self.strategy(0.9, metric))

    @pytest.mark.parametrize(
        "change", [{"update_every": 2}, {"schedule": lambda step: 0.5 + 0.5 * (step < 99)}], ids=["period", "rates"]
    )
    def test_paths_on_which_the_formula_does_not_hold_say_so(self, problem, metric, change):
        """With a period or varying rates the run ends elsewhere: no limit is better than a wrong one."""
        path = gradient_descent(problem, self.strategy(0.9, metric), learning_rate=self.RATE, steps=self.STEPS, **change)
        assert error_of(path.weights(self.STEPS), limit(problem, self.strategy(0.9, metric), self.RATE)) >= POWER * LONG_RUN
        with pytest.raises(UserError, match="learning_rate"):
            path.limit()
        np.testing.assert_array_equal(
            gradient_descent(problem, FineTuning(), learning_rate=0.1, steps=9, **change).limit(), optimum(problem)
        )


class TestAnchorBias:
    """Measured from limits, as the share of (W_0 - W*) v_j that is left."""

    STRENGTH = 0.7

    def measured(self, problem, strategy):
        target, basis = nearest_minimiser(problem), problem.eigenvectors[:, : problem.rank]
        before = (problem.initial_weights - target) @ basis
        return np.sum((limit(problem, strategy) - target) @ basis * before, axis=0) / np.sum(before**2, axis=0)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, 1.5])
    def test_spectrum_weighted(self, kind, alpha):
        problem = random_problem(8, kind, embedding_penalty=0.4)
        seen = problem.eigenvalues[: problem.rank]
        teacher_curvature = self.STRENGTH * seen ** (1 - alpha)
        strategy, expected = (
            Distillation(self.STRENGTH, Static(), Spectral(alpha)),
            teacher_curvature / (0.4 * seen + teacher_curvature),
        )
        nulls = {"none": 0 * expected, "no penalty": teacher_curvature / (seen + teacher_curvature)}
        assert_agrees(self.measured(problem, strategy), expected, LIMIT, nulls=nulls)
        assert_agrees(anchor_bias(problem, strategy)[: problem.rank], expected, CLOSED_FORM, nulls=nulls)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("strategy", [L2SP(0.7), Distillation(0.7, Static(), "parameter")], ids=repr)
    def test_l2_sp(self, kind, strategy):
        problem = random_problem(9, kind, embedding_penalty=0.4)
        expected = 0.7 / (0.4 * problem.eigenvalues[: problem.rank] + 0.7)
        nulls = {"none": 0 * expected, "like distillation": 0.7 / 1.1 + 0 * expected} if kind != "repeated" else {}
        assert_agrees(self.measured(problem, strategy), expected, LIMIT, nulls=nulls)
        assert_agrees(anchor_bias(problem, strategy)[: problem.rank], expected, CLOSED_FORM, nulls=nulls)
        assert np.all(anchor_bias(problem, strategy)[problem.rank :] == 1)

    def test_data_metric_leaves_the_same_share_everywhere(self):
        problem = random_problem(10, "decades", embedding_penalty=0.4)
        share = np.full(5, 0.7 / 1.1)
        nulls = {"L2-SP": anchor_bias(problem, L2SP(0.7))}
        assert_agrees(self.measured(problem, Distillation(0.7, Static())), share, LIMIT, nulls=nulls)
        assert_agrees(anchor_bias(problem, Distillation(0.7, Static())), share, CLOSED_FORM, nulls=nulls)

    def test_with_weight_decay(self):
        problem = random_problem(11, "rank-deficient", weight_decay=0.2)
        share = 0.7 / (problem.eigenvalues + 0.2 + 0.7)
        assert_agrees(anchor_bias(problem, L2SP(0.7)), share, CLOSED_FORM, nulls={"no decay": 0.7 / (problem.eigenvalues + 0.7)})
        assert_agrees(self.measured(problem, L2SP(0.7)), share[: problem.rank], LIMIT, nulls={"none": 0 * share[: problem.rank]})

    @pytest.mark.parametrize(
        "strategy", [FineTuning(), Distillation(0.7), Distillation(0.7, Exponential(0.9)), L2SP(0.0)], ids=repr
    )
    def test_is_none_for_what_moves(self, strategy):
        problem = random_problem(12)
        assert np.all(anchor_bias(problem, strategy) == 0)
        assert np.max(np.abs(self.measured(problem, strategy))) <= LIMIT

    @pytest.mark.parametrize(("strategy", "left"), [(WiSEFT(0.3), 0.7), (WiSEFT(1.0), 0.0), (ZeroShot(), 1.0)], ids=repr)
    def test_interpolation_leaves_one_share_for_all(self, strategy, left):
        problem = random_problem(13, "decades")
        assert_agrees(
            anchor_bias(problem, strategy), np.full(5, left), CLOSED_FORM, nulls={"L2-SP": anchor_bias(problem, L2SP(0.7))}
        )
        assert np.max(np.abs(self.measured(problem, strategy) - left)) <= LIMIT

    def test_has_no_values_per_mode_in_other_metrics(self):
        problem = random_problem(14)
        with pytest.raises(UserError, match="use gradient_descent"):
            anchor_bias(problem, Distillation(0.7, Static(), Inputs(random_moment(0, 5))))


class TestInterpolationAndProbing:
    @given(problems(), st.floats(0, 1))
    def test_wise_ft(self, problem, share):
        expected = (1 - share) * problem.initial_weights + share * nearest_minimiser(problem)
        assert error_of(limit(problem, WiSEFT(share)), expected) <= LIMIT
        np.testing.assert_array_equal(limit(problem, ZeroShot()), problem.initial_weights)

    def test_wise_ft_is_one_share_for_all_modes(self):
        """In the data's metric, static distillation is the same share; in the weights' metric no share gives L2-SP."""
        problem = random_problem(15, "decades")
        distilled = limit(problem, Distillation(0.25, Static()))
        nulls = {"L2-SP": limit(problem, L2SP(0.25)), "start": problem.initial_weights}
        assert_agrees(limit(problem, WiSEFT(0.8)), distilled, LIMIT, nulls=nulls)

    @given(problems(kinds=("generic", "repeated", "rank-deficient")))
    def test_lp_ft(self, problem):
        """The probe is the least change of I by which A W_0 regresses; fine-tuning then replaces what the data see of A W_0."""
        embedded = problem.pairs[0] @ problem.initial_weights.T
        rho, mu, n, k = problem.embedding_penalty, problem.weight_decay, problem.samples, len(problem.initial_weights)
        rows = np.concatenate([np.sqrt(rho / n) * embedded, np.sqrt(mu) * np.eye(k)])
        asked = np.concatenate([np.sqrt(rho / n) * (problem.target_matrix - embedded), -np.sqrt(mu) * np.eye(k)])
        probe = np.eye(k) + np.linalg.lstsq(rows, asked, rcond=1e-7)[0].T
        start = probe @ problem.initial_weights
        expected = nearest_minimiser(problem.starting_from(start))
        singular = np.linalg.svd(rows, compute_uv=False)
        if singular[0] < 100 * singular[singular > 1e-7 * singular[0]][-1]:
            assert error_of(limit(problem, LPFT()), expected) <= LIMIT

    def test_lp_ft_moves_the_orthogonal_part_with_the_probe(self):
        problem = random_problem(16, "rank-deficient")
        moved = problem.task_subspace.orthogonal(limit(problem, LPFT()) - problem.initial_weights)
        assert np.linalg.norm(moved) > 0.1
        inside = problem.task_subspace.task(limit(problem, LPFT()))
        assert_agrees(inside, problem.task_subspace.task(optimum(problem)), LIMIT, nulls={"start": problem.initial_weights})

    def test_lp_ft_without_an_image_map(self):
        problem = random_problem(17)
        nothing = problem.starting_from(0 * problem.initial_weights)
        assert error_of(limit(nothing, LPFT()), nearest_minimiser(nothing)) <= LIMIT

    @pytest.mark.parametrize("name", STRATEGIES)
    def test_every_named_strategy_has_a_limit_that_a_path_reports(self, name):
        argument = {"weight_decay": [0.1], "l2_sp": [0.1], "wise_ft": [0.5]}
        needed = argument.get(name, [0.5] if name in ("static_distillation", "ema_distillation", "tracer") else [])
        problem, strategy = random_problem(18), STRATEGIES[name](*needed)
        path = gradient_descent(problem, strategy, learning_rate=0.1, steps=5)
        np.testing.assert_array_equal(path.limit(), limit(problem, strategy))


class TestPareto:
    """Each penalty is the cheapest way to pay for what it measures (no weight decay)."""

    def matched(self, problem, family, measure, level):
        """The member of a family of penalties at which the measure has the given level."""
        strength = np.exp(brentq(lambda log: np.log(measure(limit(problem, family(np.exp(log)))) / level), -30, 30, xtol=1e-14))
        return limit(problem, family(strength))

    def forgotten(self, problem, weights):
        return forgetting(weights, problem.initial_weights, problem.second_moment)

    def distance(self, problem, weights):
        return np.sum((weights - problem.initial_weights) ** 2)

    @pytest.mark.parametrize("kind", ["generic", "decades", "rank-deficient"])
    @pytest.mark.parametrize("strength", [1e-2, 0.3, 10.0])
    @pytest.mark.parametrize("seed", range(3))
    def test_distillation_forgets_least_for_the_same_loss_and_l2_sp_moves_least(self, kind, strength, seed):
        problem = random_problem(seed, kind, n=20, d=6)
        l2_sp, distil = L2SP, partial(Distillation, kernel=Static())
        for family, rival, measure in ((distil, l2_sp, self.forgotten), (l2_sp, distil, self.distance)):
            challenged = limit(problem, rival(strength))
            answer = self.matched(problem, family, partial(measure, problem), measure(problem, challenged))
            gained = problem.loss(challenged) - problem.loss(answer)
            scale = problem.loss(problem.initial_weights) - problem.loss(optimum(problem))
            assert gained >= -LIMIT * scale
            assert gained >= POWER * LIMIT * scale  # strictly: the spectra here are not flat
            reverse = self.matched(problem, rival, partial(measure, problem), measure(problem, limit(problem, family(strength))))
            assert problem.loss(reverse) > problem.loss(limit(problem, family(strength)))

    def test_they_are_one_where_the_spectrum_is_flat(self):
        problem = random_problem(0, "repeated", n=20, d=6)
        assert error_of(limit(problem, L2SP(0.4)), limit(problem, Distillation(0.4, Static()))) <= LIMIT
