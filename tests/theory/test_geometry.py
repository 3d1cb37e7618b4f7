"""Subspaces, displacements, adaptation, retention, forgetting and risks on other distributions, each by its formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import diagonal_problem, nearest_minimiser, problems, quadratic, random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, GEOMETRY
from tests.tolerances import POWER
from tracer.theory import FineTuning, Geometry, Problem, WiSEFT, describe, forgetting, limit, ood_risk, optimum


def weights_for(problem, seed):
    return np.random.default_rng(seed).standard_normal(problem.initial_weights.shape)


class TestSubspace:
    @given(problems(), seeds)
    def test_projectors(self, problem, seed):
        space, weights = problem.task_subspace, weights_for(problem, seed)
        inside, outside = space.projector, space.orthogonal_projector
        images, d = problem.pairs[0], len(problem.eigenvalues)
        for projector, trace in ((inside, problem.rank), (outside, d - problem.rank)):
            assert np.abs(projector - projector.T).max() <= CLOSED_FORM
            assert np.abs(projector @ projector - projector).max() <= CLOSED_FORM
            assert abs(np.trace(projector) - trace) <= CLOSED_FORM
        assert np.abs(inside + outside - np.eye(d)).max() <= CLOSED_FORM
        assert np.abs(images @ inside - images).max() <= GEOMETRY
        assert np.abs(problem.cross_covariance @ outside).max() <= GEOMETRY
        np.testing.assert_allclose(space.task(weights), weights @ inside, atol=CLOSED_FORM)
        np.testing.assert_allclose(space.orthogonal(weights), weights @ outside, atol=CLOSED_FORM)

    def test_splits_stacks_of_weights(self):
        space = random_problem(0, "rank-deficient").task_subspace
        stack = np.random.default_rng(0).standard_normal((4, 3, 5))
        np.testing.assert_allclose(space.task(stack)[2], space.task(stack[2]), atol=CLOSED_FORM)
        np.testing.assert_allclose(space.orthogonal(stack), stack @ space.orthogonal_projector, atol=CLOSED_FORM)
        assert np.linalg.norm(space.orthogonal(stack)) > POWER * CLOSED_FORM


class TestDescribe:
    @given(problems(), seeds)
    def test_by_direct_formulas(self, problem, seed):
        weights, start = weights_for(problem, seed), problem.initial_weights
        inside = np.linalg.pinv(problem.pairs[0], rcond=1e-7) @ problem.pairs[0]
        outside, target, images = np.eye(len(inside)) - inside, nearest_minimiser(problem), problem.pairs[0]

        def error(at):
            return np.mean(np.sum(((at - target) @ inside @ images.T) ** 2, axis=0))

        kept = start @ outside
        expected = Geometry(
            task_displacement=np.linalg.norm((weights - start) @ inside),
            orthogonal_displacement=np.linalg.norm((weights - start) @ outside),
            bias=np.linalg.norm((weights - target) @ inside),
            adaptation=1 - error(weights) / error(start),
            retention=np.sum((weights @ outside) * kept) / np.sum(kept**2) if problem.rank < len(inside) else 1.0,
            forgetting=0.5 * np.mean(np.sum(((weights - start) @ images.T) ** 2, axis=0)),
        )
        found = describe(problem, weights)
        assert_agrees(
            np.array(found) / (1 + np.abs(expected)),
            np.array(expected) / (1 + np.abs(expected)),
            GEOMETRY,
            nulls={"nothing moved": np.array(describe(problem, start)) / (1 + np.abs(expected))},
        )
        whole = np.sum((weights - start) ** 2)
        assert abs(found.task_displacement**2 + found.orthogonal_displacement**2 - whole) <= CLOSED_FORM * whole

    @given(problems())
    def test_at_the_start_and_at_the_optimum(self, problem):
        start, end = describe(problem, problem.initial_weights), describe(problem, optimum(problem))
        assert start[:2] == (0, 0)
        assert (start.adaptation, start.forgetting) == (0, 0)
        assert (start.retention, end.adaptation) == (pytest.approx(1, abs=CLOSED_FORM), 1)
        assert end.bias <= GEOMETRY
        assert end.retention == pytest.approx(1 if problem.weight_decay == 0 or problem.rank == len(problem.eigenvalues) else 0)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_adaptation_of_an_interpolation(self, share):
        """Errors shrink with 1 - a, their squares with its square; what is orthogonal stays."""
        problem = random_problem(1, "rank-deficient")
        found = describe(problem, limit(problem, WiSEFT(share)))
        assert found.adaptation == pytest.approx(1 - (1 - share) ** 2, abs=CLOSED_FORM)
        assert abs(found.adaptation - share) > POWER * CLOSED_FORM
        assert found.retention == pytest.approx(1, abs=CLOSED_FORM)
        whole = describe(problem, limit(problem, FineTuning()))
        assert found.forgetting == pytest.approx(share**2 * whole.forgetting, rel=CLOSED_FORM)
        assert found.task_displacement == pytest.approx(share * whole.task_displacement, rel=CLOSED_FORM)

    def test_nothing_to_adapt_counts_as_adapted(self):
        problem = random_problem(2, "rank-deficient")
        settled = problem.starting_from(optimum(problem))
        assert describe(settled, settled.initial_weights).adaptation == 1
        assert describe(settled, optimum(problem.starting_from(0 * problem.initial_weights))).adaptation == 1
        assert describe(settled, settled.initial_weights + 1).adaptation == -np.inf

    def test_nothing_to_retain_counts_as_retained(self):
        full = random_problem(3)
        assert describe(full, full.initial_weights + 1).retention == 1
        flat = random_problem(3, "rank-deficient")
        empty = flat.starting_from(flat.task_subspace.task(flat.initial_weights))
        assert describe(empty, flat.initial_weights).retention == 1
        nothing = flat.starting_from(0 * flat.initial_weights)
        assert describe(nothing, flat.initial_weights).retention == 1

    @pytest.mark.parametrize("unit", [1e-9, 1e9])
    def test_shares_do_not_depend_on_the_unit(self, unit):
        """What counts as round-off is so in the unit of the weights: texts in other units only scale all of them."""
        rng = np.random.default_rng(7)
        images, texts, start = rng.standard_normal((3, 5)), rng.standard_normal((3, 2)), rng.standard_normal((2, 5))
        problem, other = (Problem.from_pairs(images, size * texts, size * start) for size in (1.0, unit))
        moved = start + rng.standard_normal((2, 5))
        one, another = describe(problem, moved), describe(other, unit * moved)
        assert another.adaptation == pytest.approx(one.adaptation, rel=GEOMETRY)
        assert another.retention == pytest.approx(one.retention, rel=GEOMETRY)
        settled = other.starting_from(optimum(other))
        assert describe(settled, settled.initial_weights).adaptation == 1

    def test_retention_is_signed_and_linear(self):
        problem = random_problem(4, "rank-deficient")
        kept = problem.task_subspace.orthogonal(problem.initial_weights)
        for factor in (-2.0, 0.0, 0.3, 1.7):
            weights = problem.initial_weights + (factor - 1) * kept
            assert describe(problem, weights).retention == pytest.approx(factor, abs=CLOSED_FORM)

    def test_effective_subspace(self):
        problem = diagonal_problem([4.0, 1.0, 0.01, 0.0001])
        weights = problem.initial_weights + np.array([1.0, 2.0, 3.0, 4.0])
        found = describe(problem, weights, problem.effective_task_subspace(0.99))
        assert found.task_displacement == pytest.approx(np.sqrt(3 * 5))
        assert found.orthogonal_displacement == pytest.approx(np.sqrt(3 * 25))
        assert describe(problem, weights).orthogonal_displacement == 0


class TestForgetting:
    @given(seeds, st.integers(1, 6), st.integers(1, 4))
    def test_on_other_inputs(self, seed, d, k):
        rng = np.random.default_rng(seed)
        weights, start, inputs = rng.standard_normal((k, d)), rng.standard_normal((k, d)), rng.standard_normal((9, d))
        direct = 0.5 * np.mean(np.sum(((weights - start) @ inputs.T) ** 2, axis=0))
        found = forgetting(weights, start, inputs.T @ inputs / 9)
        assert_agrees(np.array(found), np.array(direct), CLOSED_FORM, nulls={"no half": 2 * direct}, relative=True)


class TestRisk:
    @given(problems(kinds=("rank-deficient",)), seeds)
    def test_parts_sum_to_it(self, problem, seed):
        d = len(problem.eigenvalues)
        weights, ideal, moment = weights_for(problem, seed), weights_for(problem, seed + 1), random_moment(seed, d)
        risk = ood_risk(weights, ideal, moment, problem.task_subspace)
        inside, outside = problem.task_subspace.projector, problem.task_subspace.orthogonal_projector
        error = weights - ideal
        parts = [0.5 * np.trace(error @ a @ moment @ b @ error.T) for a, b in ((inside, inside), (outside, outside))]
        crossed = np.trace(error @ inside @ moment @ outside @ error.T)
        total = 0.5 * quadratic(error, moment)
        nulls = {"halved cross": np.array([total, *parts, crossed / 2])} if abs(crossed) > 1e-6 * total else {}
        assert_agrees(
            np.array(risk) / total,
            np.array([total, *parts, crossed]) / total,
            CLOSED_FORM,
            nulls={n: v / total for n, v in nulls.items()},
        )
        assert abs(risk.task + risk.orthogonal + risk.cross - risk.total) <= CLOSED_FORM * total

    @given(problems(kinds=("rank-deficient",)), seeds)
    def test_cross_part_is_zero_where_the_moment_does_not_mix(self, problem, seed):
        d = len(problem.eigenvalues)
        space, moment = problem.task_subspace, random_moment(seed, d)
        apart = space.projector @ moment @ space.projector + space.orthogonal_projector @ moment @ space.orthogonal_projector
        weights, ideal = weights_for(problem, seed), weights_for(problem, seed + 1)
        assert abs(ood_risk(weights, ideal, apart, space).cross) <= CLOSED_FORM * (
            1 + np.sum((weights - ideal) ** 2) * np.trace(moment)
        )

    def test_cross_part_is_there_where_it_does(self):
        problem = random_problem(6, "rank-deficient")
        weights, ideal = weights_for(problem, 0), weights_for(problem, 1)
        assert abs(ood_risk(weights, ideal, random_moment(0, 5), problem.task_subspace).cross) > 0.1

    def test_of_the_ideal_is_zero(self):
        problem = random_problem(5, "rank-deficient")
        assert ood_risk(problem.initial_weights, problem.initial_weights, np.eye(5), problem.task_subspace) == (0, 0, 0, 0)
