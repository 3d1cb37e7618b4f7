"""Coverage and kappa of a pool, from features: against formulas written out, searches, and what replay does to a map."""

import numpy as np
import pytest
from hypothesis import given
from scipy import linalg

from tests.theory.cases import quadratic, random_moment, random_problem, seeds
from tests.theory.power import assert_agrees
from tests.theory.tolerances import CLOSED_FORM, GEOMETRY, LIMIT, MOMENTS
from tests.tolerances import POWER
from tracer.averaging import Static
from tracer.errors import UserError
from tracer.theory import Distillation, Inputs, Problem, coverage, forgetting, kappa, limit, second_moment

DELTAS = np.array([0.0, 1e-6, 1e-3, 0.01, 0.1, 1.0, 10.0, 1e6])


@given(seeds)
def test_second_moment_is_that_of_all_batches(seed):
    rng = np.random.default_rng(seed)
    features = 1.0 + rng.standard_normal((17, 4))
    written_out = sum(np.outer(row, row) for row in features) / 17
    cuts = np.sort(rng.choice(np.arange(1, 17), 3, replace=False))
    batches = (batch for batch in np.split(features, cuts))
    nulls = {"centred": np.cov(features.T, bias=True), "one batch": second_moment(features[: cuts[0]])}
    assert_agrees(second_moment(batches), written_out, MOMENTS, nulls=nulls)
    assert_agrees(second_moment(features), written_out, MOMENTS, nulls=nulls)


def test_sums_are_float64_whatever_the_features_are():
    """A million ones and a small number, which a sum in float32 would lose."""
    features = np.ones((1000, 1), dtype=np.float32)
    found = second_moment([*[features] * 1000, np.full((1, 1), 1e-3, dtype=np.float32)])
    assert abs(found[0, 0] * 1_000_001 - 1_000_000 - 1e-6) < 1e-9
    assert second_moment(features).dtype == np.float64


@given(seeds)
def test_coverage_is_its_formula(seed):
    pool, keep = random_moment(seed, 5), random_moment(seed + 1, 5)
    mean = np.trace(pool) / 5

    def written_out(delta):
        return np.trace(keep @ pool @ np.linalg.inv(pool + delta * mean * np.eye(5))) / np.trace(keep)

    expected = [written_out(delta) for delta in DELTAS[1:]]
    nulls = {"delta of the sum": [written_out(5 * delta) for delta in DELTAS[1:]], "all": np.ones(len(DELTAS) - 1)}
    assert_agrees(coverage(pool, keep, DELTAS[1:]), np.array(expected), GEOMETRY, nulls={k: np.array(v) for k, v in nulls.items()})


@given(seeds)
def test_coverage_falls_from_the_share_in_the_span_to_nothing(seed):
    rng = np.random.default_rng(seed)
    pool_features, features = rng.standard_normal((3, 6)), rng.standard_normal((9, 6))
    pool, keep = second_moment(pool_features), second_moment(features)
    found = coverage(pool, keep, DELTAS)
    inside = features @ np.linalg.pinv(pool_features) @ pool_features
    assert abs(found[0] - np.sum(inside**2) / np.sum(features**2)) < GEOMETRY
    assert found[0] < 1 - POWER * GEOMETRY
    assert np.all(np.diff(found) < 0)
    assert found[-1] < 1e-5
    within = second_moment(rng.standard_normal((9, 3)) @ pool_features)
    assert abs(coverage(pool, within, 0.0) - 1) < GEOMETRY
    assert coverage(pool, within, 0.1) < 1 - POWER * GEOMETRY


@given(seeds)
def test_neither_depends_on_the_axes_nor_coverage_on_units(seed):
    pool, keep = random_moment(seed, 4), random_moment(seed + 1, 4)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 4)))[0]
    turned = turn @ pool @ turn.T, turn @ keep @ turn.T
    for delta in (0.01, 1.0):
        assert abs(coverage(*turned, delta) - coverage(pool, keep, delta)) < GEOMETRY
        assert abs(coverage(7 * pool, 3 * keep, delta) - coverage(pool, keep, delta)) < GEOMETRY
        assert abs(coverage(pool, turned[1], delta) - coverage(pool, keep, delta)) > POWER * GEOMETRY
    assert abs(kappa(*turned) / kappa(pool, keep) - 1) < LIMIT
    assert abs(kappa(7 * pool, 3 * keep) / kappa(pool, keep) - 3 / 7) < LIMIT


@given(seeds)
def test_kappa_is_the_worst_ratio(seed):
    """The largest of many ratios does not reach it, that of the worst direction does."""
    pool, keep = random_moment(seed, 4), random_moment(seed + 1, 4)
    largest = kappa(pool, keep)
    directions = np.random.default_rng(seed).standard_normal((1000, 1, 4))
    ratios = quadratic(directions, keep) / quadratic(directions, pool)
    assert ratios.max() <= largest * (1 + LIMIT)
    values, vectors = linalg.eigh(keep, pool)
    worst = vectors[None, :, -1]
    assert abs(quadratic(worst, keep) / quadratic(worst, pool) / largest - 1) < LIMIT
    assert abs(values[-2] / largest - 1) > POWER * LIMIT


def test_kappa_is_infinite_where_the_pool_has_nothing():
    rng = np.random.default_rng(0)
    pool_features = rng.standard_normal((3, 6))
    pool = second_moment(pool_features)
    assert kappa(pool, second_moment(rng.standard_normal((9, 6)))) == np.inf
    assert kappa(pool, second_moment(pool_features[:1] + 1e-3 * rng.standard_normal((1, 6)))) == np.inf
    assert kappa(pool, second_moment(rng.standard_normal((9, 3)) @ pool_features)) < np.inf
    assert kappa(pool, pool) == pytest.approx(1, abs=LIMIT)
    assert kappa(np.zeros((6, 6)), pool) == np.inf
    assert kappa(pool, np.zeros((6, 6))) == 0
    np.testing.assert_array_equal(coverage(np.zeros((6, 6)), pool, DELTAS), 0)


@pytest.mark.parametrize("strength", [0.1, 1.0, 20.0])
def test_forgetting_where_replay_ends_is_bounded(strength):
    problem = random_problem(4, "rank-deficient", d=6)
    pool, keep = random_moment(5, 6), random_moment(6, 6)
    ended = limit(problem, Distillation(strength, Static(), Inputs(pool)))
    start = problem.initial_weights
    moved = forgetting(ended, start, keep)
    assert moved <= kappa(pool, keep) * forgetting(ended, start, pool)
    least = problem.loss(limit(problem, Distillation(0.0)))
    assert moved <= kappa(pool, keep) * (problem.loss(start) - least) / (4 * strength)
    assert moved <= kappa(pool, keep) * (problem.loss(start) - problem.loss(ended)) / (2 * strength)


def test_coverage_is_the_share_that_replay_takes_off_a_task_that_pulls_alike_in_all_directions():
    """The gradient is the identity and so is the second moment; delta = 1 / (strength x mean eigenvalue)."""
    pool, keep = random_moment(1, 5), random_moment(2, 5)
    problem = Problem(np.eye(5), np.eye(5), np.zeros((5, 5)))
    free, held = (limit(problem, Distillation(strength, Static(), Inputs(pool))) for strength in (0.0, 0.7))
    share = 1 - np.sum((held @ keep) * free) / np.sum((free @ keep) * free)
    delta = 1 / (0.7 * np.trace(pool) / 5)
    assert abs(coverage(pool, keep, delta) - share) < CLOSED_FORM
    assert abs(coverage(pool, keep, 1.01 * delta) - share) > POWER * CLOSED_FORM
    left = forgetting(held, 0 * held, keep) / forgetting(free, 0 * free, keep)
    assert (1 - share) ** 2 < left < 1 - share


def test_coverage_of_one_delta_is_a_number():
    assert np.ndim(coverage(np.eye(2), np.eye(2))) == 0
    assert coverage(np.eye(2), np.eye(2)) == pytest.approx(1 / 1.01)
    assert coverage(np.eye(2), np.eye(2), [[0.0, 1.0]]).shape == (1, 2)


WIDE, NARROW = np.ones((4, 3)), np.ones((4, 2))
HOLED = np.where(np.arange(12).reshape(4, 3) == 7, np.nan, WIDE)
MISTAKES = {
    "no batch": (lambda: second_moment([], "pool"), "pool has no rows: give it at least one batch"),
    "empty features": (lambda: second_moment(WIDE[:0], "pool"), "pool must be a matrix of shape"),
    "nan": (lambda: second_moment(HOLED, "pool"), "pool holds nan at row 2, column 1: remove"),
    "one sample": (lambda: second_moment(WIDE[0]), "features must be a matrix"),
    "widths of batches": (lambda: second_moment([WIDE, NARROW]), r"features must have shape \(any, 3\) to fit"),
    "widths": (lambda: coverage(np.eye(3), np.eye(2)), r"keep's second moment must have shape \(3, 3\) to fit"),
    "widths of kappa": (lambda: kappa(np.eye(3), np.eye(2)), r"keep's second moment must have shape \(3, 3\) to fit"),
    "features for moments": (lambda: coverage(WIDE, WIDE), "pool's second moment must be square"),
    "negative delta": (lambda: coverage(np.eye(2), np.eye(2), -0.1), "delta must be finite and not negative"),
    "nothing to keep": (lambda: coverage(np.eye(2), np.zeros((2, 2))), "the features to keep are all zero.*: give others"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(mistake):
    call, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        call()
