"""The linearised problem: moments, target matrix, ranks, batches and derivatives, each by its definition."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import KINDS, images_of, problems, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import LOSS, MOMENTS
from tracer.averaging import Static
from tracer.errors import UserError
from tracer.theory import Distillation, Moments, Problem, gradient_descent, optimum

ARRAYS = ("second_moment", "cross_covariance", "initial_weights")


def pairs(seed, n=14, d=4, k=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, k)) + 1, rng.standard_normal((k, d))


def in_chunks(images, texts, cuts):
    cuts = [0, *sorted(cuts), len(images)]
    return [(images[a:b], texts[a:b]) for a, b in pairwise(cuts) if b > a]


def centred_cross_covariance(images, texts):
    """C = Z H X^T / n with the centring matrix H itself."""
    n = len(images)
    return texts.T @ (np.eye(n) - np.ones((n, n)) / n) @ images / n


class TestSources:
    @given(seeds, st.lists(st.integers(1, 13), max_size=5))
    def test_pairs_moments_and_chunks_make_one_problem(self, seed, cuts):
        images, texts, start = pairs(seed)
        cross = centred_cross_covariance(images, texts)
        chunks = in_chunks(images, texts, cuts)
        moments = Moments.of(iter(chunks))
        for problem in (
            Problem.from_pairs(images, texts, start, embedding_penalty=0.7, weight_decay=0.2),
            Problem.from_chunks((chunk for chunk in chunks), start, embedding_penalty=0.7, weight_decay=0.2),
            Problem(moments.second_moment, moments.cross_covariance, start, 0.7, 0.2, moments.samples),
        ):
            assert (problem.samples, problem.embedding_penalty, problem.weight_decay) == (14, 0.7, 0.2)
            np.testing.assert_array_equal(problem.initial_weights, start)
            nulls = {"centred": np.cov(images.T, bias=True)}
            assert_agrees(problem.second_moment, images.T @ images / 14, MOMENTS, nulls=nulls)
            nulls = {"uncentred": texts.T @ images / 14, "n - 1": cross * 14 / 13}
            assert_agrees(problem.cross_covariance, cross, MOMENTS, nulls=nulls)

    @pytest.mark.parametrize(("seed", "cuts"), [(0, []), (1, [1, 2, 9]), (2, [13]), (3, range(1, 14))])
    def test_a_common_offset_of_the_texts_does_not_matter(self, seed, cuts):
        """Texts in multiples of 2^-20, so that adding 2^30 loses none of their digits."""
        images, texts, start = pairs(seed)
        texts = np.round(texts * 2.0**20) / 2.0**20
        far = texts + 2.0**30
        plain = Problem.from_pairs(images, texts, start)
        naive = far.T @ images / 14 - np.outer(far.mean(axis=0), images.mean(axis=0))
        nulls = {"uncentred": far.T @ images / 14, "moments subtracted": naive}
        for problem in (Problem.from_pairs(images, far, start), Problem.from_chunks(in_chunks(images, far, cuts), start)):
            assert_agrees(problem.cross_covariance, plain.cross_covariance, MOMENTS, nulls=nulls)
        target = Problem.from_pairs(images, far, start).target_matrix
        assert_agrees(target, plain.target_matrix, MOMENTS, nulls={"one pass": far - far.mean(axis=0)})

    def test_sums_are_in_double_precision_whatever_the_chunks_are(self):
        images, texts, _ = (part.astype(np.float32) for part in pairs(0, n=5000))
        moments = Moments.of([(images, texts)])
        exact = Moments.of([(images.astype(float), texts.astype(float))])
        nulls = {"float32": images.T @ images / 5000}
        assert_agrees(moments.second_moment, exact.second_moment, MOMENTS, nulls=nulls)
        np.testing.assert_array_equal(moments.cross_covariance, exact.cross_covariance)

    def test_later_changes_of_the_arrays_do_not_reach_it(self):
        images, texts, start = pairs(0)
        problem = Problem.from_pairs(images, texts, start)
        before = problem.initial_weights.copy(), problem.second_moment.copy()
        start += 1
        images += 1
        np.testing.assert_array_equal(problem.initial_weights, before[0])
        np.testing.assert_array_equal(problem.second_moment, before[1])


class TestTargetMatrix:
    @given(problems(), seeds)
    def test_makes_the_loss_least_squares(self, problem, seed):
        """L = rho/(2n) |W X - M|^2 + mu/2 |W|^2 - |Z H|^2 / (2 n rho), and the last term is that of M."""
        images, rho = problem.pairs[0], problem.embedding_penalty
        weights = np.random.default_rng(seed).standard_normal(problem.initial_weights.shape)

        def least_squares(target, constant=True):
            misfit = rho / (2 * len(images)) * (np.sum((images @ weights.T - target) ** 2) - constant * np.sum(target**2))
            return misfit + problem.weight_decay / 2 * np.sum(weights**2)

        target = problem.target_matrix
        size = 1 + abs(problem.loss(weights)) + np.sum(weights**2)
        nulls = {"not scaled": least_squares(1.1 * target), "constant kept": least_squares(target, constant=False)}
        told_apart = {name: wrong / size for name, wrong in nulls.items()} if np.abs(target).max() > 1e-2 else {}
        assert_agrees(np.array(problem.loss(weights) / size), np.array(least_squares(target) / size), LOSS, nulls=told_apart)

    def test_is_the_centred_texts_over_the_penalty(self):
        images, texts, start = pairs(1)
        problem = Problem.from_pairs(images, texts, start, embedding_penalty=0.4)
        centring = np.eye(14) - np.ones((14, 14)) / 14
        assert_agrees(problem.target_matrix, centring @ texts / 0.4, MOMENTS, nulls={"uncentred": texts / 0.4})

    def test_its_regression_is_the_optimum(self):
        problem = random_problem(2, embedding_penalty=0.3)
        regressed = (np.linalg.pinv(problem.pairs[0]) @ problem.target_matrix).T
        assert_agrees(optimum(problem), regressed, LOSS, nulls={"start": problem.initial_weights, "penalty 1": 0.3 * regressed})


class TestDerivatives:
    @given(problems(), seeds)
    def test_gradient_is_the_losses_slope(self, problem, seed):
        """Central differences of a quadratic are exact at any distance."""
        rng = np.random.default_rng(seed)
        weights, way = rng.standard_normal((2, *problem.initial_weights.shape))
        slope = (problem.loss(weights + way) - problem.loss(weights - way)) / 2
        curvature = problem.loss(weights + way) + problem.loss(weights - way) - 2 * problem.loss(weights)
        size = 1 + np.sum(weights**2) + np.sum(way**2)
        by_gradient = np.sum(problem.gradient(weights) * way)
        other = np.sum(problem.gradient(weights + way) * way)
        assert abs(by_gradient - slope) <= LOSS * size
        assert abs(np.sum((way @ problem.curvature_matrix) * way) - curvature) <= LOSS * size
        assert abs(other - slope - curvature) <= LOSS * size

    def test_gradient_has_power(self):
        problem = random_problem(3, weight_decay=0.3)
        way = np.ones_like(problem.initial_weights)
        slope = (problem.loss(way) - problem.loss(-way)) / 2
        at_zero = problem.gradient(0 * way)
        assert_agrees(np.sum(at_zero * way), slope, LOSS, nulls={"at W_0": np.sum(problem.gradient(problem.initial_weights) * way)})

    @given(problems())
    def test_curvatures_are_the_eigenvalues_of_the_curvature_matrix(self, problem):
        turned = problem.eigenvectors.T @ problem.curvature_matrix @ problem.eigenvectors
        nulls = {"of the second moment": np.diag(problem.eigenvalues)} if problem.embedding_penalty != 1 else {}
        assert_agrees(np.diag(problem.curvatures), turned, LOSS, nulls=nulls)
        assert np.all(np.diff(problem.eigenvalues) <= 0)
        assert np.all(problem.eigenvalues >= 0)

    @given(problems())
    def test_initial_modes_are_the_gradient_in_the_eigenbasis(self, problem):
        gradient = problem.gradient(problem.initial_weights)
        error = np.linalg.norm(problem.initial_modes @ problem.eigenvectors.T - gradient)
        assert error <= LOSS * (1 + np.linalg.norm(gradient))
        if problem.weight_decay == 0 and np.linalg.norm(gradient) > 1e-3:
            assert np.all(problem.initial_modes[:, problem.rank :] == 0)


class TestRank:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("n", "d"), [(12, 5), (4, 9), (1, 3)])
    def test_is_that_of_the_images(self, kind, n, d):
        images = images_of(kind, np.random.default_rng(0), n, d)
        problem = Problem.from_pairs(images, np.ones((n, 2)), np.zeros((2, d)))
        assert problem.rank == np.linalg.matrix_rank(images) == problem.task_subspace.rank
        assert problem.rank == {"rank-deficient": max(1, min(n, d) // 2)}.get(kind, min(n, d))

    @pytest.mark.parametrize("scale", [1e-200, 1e-20, 1.0, 1e20, 1e200])
    def test_counts_eigenvalues_above_a_share_of_the_largest(self, scale):
        moment = scale * np.diag([1.0, 1e-3, 1.1e-12, 0.9e-12, 1e-20, 0.0])
        assert Problem(moment, np.zeros((1, 6)), np.ones((1, 6))).rank == 3

    def test_of_nothing_is_zero(self):
        problem = Problem(np.zeros((3, 3)), np.zeros((2, 3)), np.ones((2, 3)))
        assert (problem.rank, problem.effective_rank(0.9)) == (0, 0)
        np.testing.assert_array_equal(optimum(problem), problem.initial_weights)

    def test_energy_counts_the_fewest_that_hold_it(self):
        problem = Problem(np.diag([4.0, 3.0, 2.0, 1.0, 1e-14]), np.zeros((1, 5)), np.zeros((1, 5)))
        found = {energy: problem.effective_rank(energy) for energy in (1e-9, 0.4, 0.4001, 0.7, 0.9, 0.9001, 1.0)}
        assert found == {1e-9: 1, 0.4: 1, 0.4001: 2, 0.7: 2, 0.9: 3, 0.9001: 4, 1.0: 4}
        assert problem.effective_task_subspace(0.7).rank == 2
        np.testing.assert_array_equal(np.abs(problem.effective_task_subspace(0.7).basis), np.eye(5)[:, :2])

    @given(problems(), st.floats(1e-6, 1))
    def test_energy_by_counting(self, problem, energy):
        held, count = 0.0, 0
        while held < energy * (1 - 1e-12) * np.sum(problem.eigenvalues[: problem.rank]):
            held, count = held + problem.eigenvalues[count], count + 1
        assert problem.effective_rank(energy) == max(1, count)
        assert problem.effective_rank(1.0) == problem.rank


class TestBatches:
    N = 5

    @pytest.mark.parametrize("replacement", [False, True])
    @pytest.mark.parametrize("size", [2, 3, 4])
    def test_factor_is_the_mean_over_all_batches(self, size, replacement):
        images, texts, start = pairs(4, n=self.N)
        draws = product(range(self.N), repeat=size) if replacement else combinations(range(self.N), size)
        chosen = [list(draw) for draw in draws]
        problem = Problem.from_pairs(images, texts, start)
        expected = problem.in_batches(size, replacement=replacement)
        mean = np.mean([centred_cross_covariance(images[c], texts[c]) for c in chosen], axis=0)
        nulls = {"the other way": problem.in_batches(size, replacement=not replacement).cross_covariance}
        if replacement or size < self.N:
            nulls["none"] = problem.cross_covariance
        assert_agrees(expected.cross_covariance, mean, MOMENTS, nulls=nulls)
        second_moments = [images[c].T @ images[c] / size for c in chosen]
        assert_agrees(expected.second_moment, np.mean(second_moments, axis=0), MOMENTS, nulls={"one batch": second_moments[0]})

    def test_expected_trajectory_by_enumeration(self):
        """Three steps with a static teacher, over every sequence of independent batches of 2 of 3 pairs."""
        images, texts, start = pairs(5, n=3)
        batches = [[0, 1], [0, 2], [1, 2]]
        ends = []
        for draws in product(batches, repeat=3):
            weights = start
            for chosen in draws:
                moment = images[chosen].T @ images[chosen] / 2
                slope = (
                    weights @ moment - centred_cross_covariance(images[chosen], texts[chosen]) + 0.5 * (weights - start) @ moment
                )
                weights = weights - 0.1 * slope
            ends.append(weights)
        problem = Problem.from_pairs(images, texts, start)

        def end(problem):
            return gradient_descent(problem, Distillation(0.5, Static()), learning_rate=0.1, steps=3).weights(3)

        nulls = {"full batch": end(problem), "with replacement": end(problem.in_batches(2, replacement=True))}
        assert_agrees(end(problem.in_batches(2)), np.mean(ends, axis=0), MOMENTS, nulls=nulls)

    def test_of_a_population_are_drawn_with_replacement(self):
        finite = random_problem(6)
        population = Problem(finite.second_moment, finite.cross_covariance, finite.initial_weights)
        assert_agrees(
            population.in_batches(4).cross_covariance,
            0.75 * finite.cross_covariance,
            MOMENTS,
            nulls={"without": finite.in_batches(4).cross_covariance},
        )
        np.testing.assert_array_equal(population.in_batches(10**6).second_moment, finite.second_moment)


class TestChanges:
    def test_starting_from_changes_the_start_alone(self):
        problem = random_problem(7, weight_decay=0.2)
        assert problem.eigenvalues[0] > 0  # computed before the change
        elsewhere = problem.initial_weights + 1
        moved = problem.starting_from(elsewhere)
        np.testing.assert_array_equal(moved.initial_weights, elsewhere)
        assert_agrees(
            moved.initial_modes @ moved.eigenvectors.T, problem.gradient(elsewhere), LOSS, nulls={"stale": problem.initial_modes}
        )
        for name in ("second_moment", "cross_covariance", "target_matrix"):
            np.testing.assert_array_equal(getattr(moved, name), getattr(problem, name))
        assert (moved.samples, moved.weight_decay) == (problem.samples, problem.weight_decay)

    def test_weight_decay_changes_the_curvatures_alone(self):
        problem = random_problem(8)
        decayed = problem.with_weight_decay(0.5)
        np.testing.assert_array_equal(decayed.curvatures, problem.curvatures + 0.5)
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(decayed, name), getattr(problem, name))

    def test_weight_decay_allows_what_the_data_do_not_reach(self):
        """C outside the range of Sigma has no minimum without decay, and one with it."""
        problem = Problem(np.diag([1.0, 0.0]), np.array([[1.0, 2.0]]), np.zeros((1, 2)), 1.0, 0.5)
        np.testing.assert_allclose(optimum(problem), [[1 / 1.5, 2 / 0.5]], rtol=LOSS)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_texts_may_correlate_with_unseen_directions_by_round_off_alone(size):
    """A hundred-thousandth of the cross-covariance, or of the images' scale where that is larger, is taken for it."""
    moment, weights = np.diag([4.0, 1.0, 0.0]), np.zeros((1, 3))
    allowed = 1e-5 * max(size, 2.0)
    Problem(moment, np.array([[size, 0.0, 0.98 * allowed]]), weights)
    with pytest.raises(UserError, match="outside the range"):
        Problem(moment, np.array([[size, 0.0, 1.02 * allowed]]), weights)


@pytest.mark.parametrize(("images_unit", "texts_unit"), [(1e-7, 1.0), (1e7, 1.0), (1.0, 1e-7), (1.0, 1e7)])
def test_what_is_unseen_does_not_depend_on_units(images_unit, texts_unit):
    """With weights in the units' ratio, gradients are in their product, and nothing pushes where the images do not reach."""
    rng = np.random.default_rng(8)
    images, texts, start = rng.standard_normal((6, 3)) @ rng.standard_normal((3, 5)), rng.standard_normal((6, 2)), np.ones((2, 5))
    plain = Problem.from_pairs(images, texts, start)
    other = Problem.from_pairs(images_unit * images, texts_unit * texts, texts_unit / images_unit * start)
    assert plain.rank == other.rank == 3
    assert (plain.initial_modes[:, 3:] == 0).all()
    assert (other.initial_modes[:, 3:] == 0).all()
    pushed = np.abs(other.initial_modes[:, :3] / (images_unit * texts_unit))
    np.testing.assert_allclose(pushed, np.abs(plain.initial_modes[:, :3]), rtol=1e-8)
    assert (plain.gradient(start) @ plain.eigenvectors[:, 3:] != 0).any()
