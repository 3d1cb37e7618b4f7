"""Two trained towers: the truncated SVD against descent from anywhere, the logistic modes against small steps."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.power import assert_agrees
from tests.tolerances import FLOAT64, POWER
from tracer.averaging import Static
from tracer.errors import UserError
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    TwoTowers,
    WeightDecay,
    WiSEFT,
    ZeroShot,
    gradient_descent,
    gradient_flow,
    limit,
)
from tracer.theory.two_towers import logistic, logistic_integral, truncated

# 4000 steps contract the slowest direction, of curvature 0.5, by (1 - 0.05)^4000: what is left is round-off.
DESCENT = 1e-12

# Steps of 2^-8 and less leave second-order terms of two thousandths in a slope of 1.
ORDER = 5e-3

# Two extrapolations of errors of order eta^1 and eta^2 leave eta^3, (2^-8)^3 = 6e-8, times derivatives of size 10.
EXTRAPOLATED = 1e-6

# Round-off of 1e-17 in modes left out grows by exp(c t) < 3e4 while the others converge.
LEAKAGE = 1e-11

SINGULAR_VALUES = np.array([2.0, 1.2, 0.7, 0.2])
PENALTY = 0.8


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


@pytest.fixture(scope="module")
def towers():
    rng = np.random.default_rng(0)
    left, right = orthonormal(rng, 5, 4), orthonormal(rng, 4, 4)
    return TwoTowers((left * SINGULAR_VALUES) @ right.T, *random_maps(6, 2), PENALTY)


def balanced(towers, sizes):
    return TwoTowers.balanced(towers.cross_covariance, np.array(sizes), towers.embedding_penalty)


def maps_of(towers):
    return towers.image_weights, towers.text_weights


def optimum(towers, rank):
    """Where fine-tuning ends with an embedding of so many dimensions."""
    return limit(towers.starting_from(*random_maps(5, rank)), FineTuning())


def grown(towers, sizes, times):
    return gradient_flow(balanced(towers, sizes), FineTuning(), duration=max(times, default=1.0)).weights(times)


def descend(towers, image_weights, text_weights, learning_rate, steps, target=None, strength=0.0):
    """Gradient descent on both maps, and the maps it ends with; with a static teacher of the product, if there is one."""
    for _ in range(steps):
        by_image, by_text = towers.gradients(image_weights, text_weights)
        if strength:
            off = strength * (image_weights.T @ text_weights - target)
            by_image, by_text = by_image + text_weights @ off.T, by_text + image_weights @ off
        image_weights, text_weights = image_weights - learning_rate * by_image, text_weights - learning_rate * by_text
    return image_weights, text_weights


def product(maps):
    return maps[0].T @ maps[1]


def random_maps(seed, rank):
    rng = np.random.default_rng(seed)
    return 0.5 * rng.standard_normal((rank, 5)), 0.5 * rng.standard_normal((rank, 4))


def distance(a, b):
    return float(np.abs(a - b).max())


@given(st.integers(0, 2**32), st.floats(-5, 5))
def test_cross_covariance_is_that_of_centred_texts(seed, offset):
    rng = np.random.default_rng(seed)
    images, texts = rng.standard_normal((7, 3)) + 1.0, rng.standard_normal((7, 4)) + offset
    made = TwoTowers.from_pairs(images, texts, np.ones((2, 3)), np.ones((2, 4))).cross_covariance
    assert distance(made, images.T @ (texts - texts.mean(0)) / 7) < 100 * FLOAT64
    uncentred = images.T @ texts / 7
    if abs(offset) > 0.1:
        assert distance(made, uncentred) > POWER * 100 * FLOAT64


def test_loss_and_gradients_agree(towers):
    """The loss is a polynomial of degree 4 along a line, whose derivative five points give exactly."""
    maps, directions = random_maps(1, 3), random_maps(2, 3)
    step = 0.1

    def along(x):
        return towers.loss(product((maps[0] + x * directions[0], maps[1] + x * directions[1])))

    slope = (8 * (along(step) - along(-step)) - (along(2 * step) - along(-2 * step))) / (12 * step)
    gradients = towers.gradients(*maps)
    computed = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    assert abs(slope - computed) < 100 * FLOAT64
    other_tower = sum(np.sum(g * d) for g, d in zip(gradients, random_maps(3, 3), strict=True))
    assert abs(slope - other_tower) > POWER * 100 * FLOAT64


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_descent_from_anywhere_ends_at_the_truncated_svd(towers, rank, seed):
    found = product(descend(towers, *random_maps(seed, rank), 0.1, 4000))
    assert distance(found, optimum(towers, rank)) < DESCENT
    for null in (optimum(towers, rank + 1), optimum(towers, rank) * PENALTY, 0 * found):
        assert distance(found, null) > POWER * DESCENT


@given(st.integers(0, 2**32), st.floats(1e-6, 3.0), st.integers(1, 3))
def test_no_product_of_that_rank_is_better(seed, size, rank):
    rng = np.random.default_rng(seed)
    towers = TwoTowers(rng.standard_normal((5, 4)), *random_maps(seed, rank), PENALTY)
    left, values, right = np.linalg.svd(optimum(towers, rank))
    maps = np.sqrt(values[:rank, None]) * left.T[:rank], np.sqrt(values[:rank, None]) * right[:rank]
    there = product((maps[0] + size * rng.standard_normal((rank, 5)), maps[1] + size * rng.standard_normal((rank, 4))))
    assert towers.loss(there) >= towers.loss(optimum(towers, rank)) - 100 * FLOAT64


def test_other_modes_are_worse(towers):
    """The null of the test above: the second and third mode make a product that is beaten."""
    left, values, right = towers.modes
    worse = (left[:, 1:3] * values[1:3]) @ right[:, 1:3].T / PENALTY
    assert towers.loss(worse) - towers.loss(optimum(towers, 2)) > POWER * 100 * FLOAT64


@pytest.mark.parametrize("strength", [0.3, 4.0])
def test_distilled_optimum_is_where_distilled_descent_ends(towers, strength):
    towers = towers.starting_from(*random_maps(7, 2))
    anchor = towers.initial_weights
    found = product(descend(towers, *random_maps(8, 2), 0.05, 8000, anchor, strength))
    predicted = limit(towers, L2SP(strength))
    assert distance(found, predicted) < DESCENT
    mixed = (PENALTY * optimum(towers, 2) + strength * anchor) / (PENALTY + strength)
    for null in (optimum(towers, 2), anchor, mixed):
        assert distance(found, null) > POWER * DESCENT


def test_distillation_without_strength_is_none(towers):
    assert distance(limit(towers, L2SP(0.0)), optimum(towers, 2)) < FLOAT64
    assert distance(towers.initial_weights, optimum(towers, 2)) > POWER * FLOAT64


def exact_logistic(c, s0, rho, t):
    with mpmath.workdps(60):
        c, s0, rho, t = map(mpmath.mpf, (c, s0, rho, t))
        if c == 0:
            return s0 / (1 + 2 * rho * s0 * t)
        return (c / rho) / (1 + (c / (rho * s0) - 1) * mpmath.exp(-2 * c * t))


@given(
    st.just(0.0) | st.floats(1e-12, 5),
    st.floats(-30, 2).map(lambda x: 10.0**x),
    st.floats(0.01, 10),
    st.floats(0, 100),
)
def test_logistic_equals_its_formula_in_high_precision(c, s0, rho, t):
    exact = exact_logistic(c, s0, rho, t)
    assert abs(logistic(c, s0, rho, t) / exact - 1) < FLOAT64


def test_logistic_with_one_rate_instead_of_two_is_told_apart():
    assert abs(logistic(1.3, 0.01, 0.8, 1.0) / exact_logistic(1.3, 0.01, 0.8, 0.5) - 1) > POWER * FLOAT64


def test_logistic_at_its_extremes():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        values = logistic(
            np.array([1.3, 1.3, 0.0, 1.3, 1.3]), np.array([1e-300, 1.0, 2.0, 0.0, 1e-300]), 0.5, np.array([1e9, 1e9, 1e9, 1e9, 0.0])
        )
    assert values == pytest.approx([2.6, 2.6, 2.0 / (1 + 2e9), 0.0, 1e-300], rel=FLOAT64, abs=0)


def test_small_steps_follow_the_logistic_to_first_order(towers):
    sizes, time = np.array([1e-3, 0.02, 2.0]), 2.0
    predicted = grown(towers, sizes, [time])[0]
    rates = 2.0 ** -np.arange(8, 11)
    stepped = [product(descend(towers, *maps_of(balanced(towers, sizes)), rate, round(time / rate))) for rate in rates]

    def order(prediction):
        return np.polyfit(np.log(rates), [np.log(np.linalg.norm(found - prediction)) for found in stepped], 1)[0]

    half_way = grown(towers, sizes, [time / 2])[0]
    assert abs(order(predicted) - 1) < ORDER
    assert abs(order(half_way) - 1) > POWER * ORDER
    once = [2 * finer - coarser for coarser, finer in pairwise(stepped)]
    twice = (4 * once[1] - once[0]) / 3
    assert distance(twice, predicted) < EXTRAPOLATED
    for null in (half_way, optimum(towers, 3), balanced(towers, sizes).initial_weights):
        assert distance(twice, null) > POWER * EXTRAPOLATED


def test_an_aligned_start_stays_on_its_modes_and_balanced(towers):
    left, _, right = towers.modes
    sizes = np.array([0.01, 0.5])
    image_weights, text_weights = descend(towers, *maps_of(balanced(towers, sizes)), 0.02, 500)
    modes = left.T @ image_weights.T @ text_weights @ right
    others = modes - np.diag(np.diag(modes) * [1, 1, 0, 0])
    assert np.abs(others).max() < LEAKAGE
    assert distance(image_weights @ image_weights.T, text_weights @ text_weights.T) < LEAKAGE
    tilted = [maps + 1e-4 * random for maps, random in zip(maps_of(balanced(towers, sizes)), random_maps(9, 2), strict=True)]
    modes = left.T @ product(descend(towers, *tilted, 0.02, 500)) @ right
    assert np.abs(modes - np.diag(np.diag(modes) * [1, 1, 0, 0])).max() > POWER * LEAKAGE


def test_start_is_balanced_with_the_given_sizes_and_grows_from_them_to_the_optimum(towers):
    sizes = np.array([0.01, 0.5])
    image_weights, text_weights = maps_of(balanced(towers, sizes))
    for gram in (image_weights @ image_weights.T, text_weights @ text_weights.T):
        assert distance(gram, np.diag(sizes)) < FLOAT64
    start, end = grown(towers, sizes, [0.0, 1e4])
    assert distance(start, image_weights.T @ text_weights) < FLOAT64
    assert distance(end, optimum(towers, 2)) < 10 * FLOAT64
    assert distance(start, end) > POWER * 10 * FLOAT64


def test_rank_beyond_the_matrix_keeps_it_whole(towers):
    assert distance(optimum(towers, 9), towers.cross_covariance / PENALTY) < FLOAT64


def test_zeros_are_no_tie():
    target = np.diag([1.0, 0.0, 0.0])
    assert distance(truncated(target, 2), target) < FLOAT64


SQUARE = np.ones((2, 2))
MISTAKES = {
    "tied": (lambda towers: limit(TwoTowers(np.diag([2.0, 1.0, 1.0]), *np.ones((2, 2, 3))), FineTuning()), "2 and 3 are tied"),
    "penalty": (lambda towers: TwoTowers(np.eye(2), SQUARE, SQUARE, 0.0), "embedding_penalty must be positive"),
    "product": (lambda towers: towers.loss(np.eye(4)), "weights must have shape"),
    "widths": (lambda towers: towers.gradients(np.zeros((2, 5)), np.zeros((3, 4))), "text_weights must have shape"),
    "start's widths": (lambda towers: towers.starting_from(np.eye(4), np.eye(4)), "image_weights must have shape"),
    "too many sizes": (lambda towers: balanced(towers, np.ones(5)), "only 4 modes"),
    "negative size": (lambda towers: balanced(towers, [-1.0]), "must not be negative"),
    "time": (
        lambda towers: gradient_flow(balanced(towers, [1.0]), FineTuning(), duration=1.0).weights(-1.0),
        "times must lie between 0",
    ),
    "nan": (lambda towers: TwoTowers.from_pairs(np.full((3, 2), np.nan), np.ones((3, 2)), SQUARE, SQUARE), "images holds nan"),
    "pairs": (lambda towers: TwoTowers.from_pairs(np.ones((3, 2)), np.ones((4, 2)), SQUARE, SQUARE), "texts must have shape"),
    "start": (lambda towers: gradient_flow(towers, FineTuning(), duration=1.0), "start them with TwoTowers.balanced"),
    "descent": (lambda towers: gradient_descent(towers, FineTuning(), learning_rate=0.1, steps=5), "use gradient_flow, or limit"),
    "moving teacher": (lambda towers: limit(towers, Distillation(0.5, metric="parameter")), "two towers have closed forms for"),
    "metric": (lambda towers: limit(towers, Distillation(0.5, Static())), "two towers have closed forms for"),
    "interpolation": (lambda towers: limit(towers, WiSEFT(0.5)), "two towers have closed forms for"),
    "weight decay": (lambda towers: limit(towers, WeightDecay(0.5)), "no closed form with weight decay"),
    "probe": (lambda towers: limit(towers, LPFT()), "for a Problem alone"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(towers, mistake):
    call, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        call(towers)


def test_ties_are_judged_by_the_largest_singular_value():
    """A share of 10^-10 of it, however large the tied ones are."""
    values = np.array([1.0, 0.5, 0.5 - 0.8e-10])
    with pytest.raises(UserError, match="singular values 2 and 3 are tied"):
        truncated(np.diag(values), 2)
    apart = np.diag([1.0, 0.5, 0.5 - 1.2e-10])
    np.testing.assert_allclose(truncated(apart, 2), np.diag([1.0, 0.5, 0.0]), atol=1e-15)


def test_every_mode_may_be_started():
    cross_covariance = np.diag([3.0, 2.0])[:, [0, 1, 1]] * [1, 1, 0]
    image, text = maps_of(TwoTowers.balanced(cross_covariance, np.array([0.5, 0.25])))
    np.testing.assert_allclose(np.linalg.svd(image.T @ text)[1], [0.5, 0.25])
    with pytest.raises(UserError, match="only 2 modes"):
        TwoTowers.balanced(cross_covariance, np.ones(3))


def test_a_path_has_all_that_other_paths_have(towers):
    """Static distillation adds strength |G - G_0|^2 / 2: the teacher stays, and what it pushed is an integral over time."""
    start = balanced(towers, [0.01, 0.5])
    path = gradient_flow(start, L2SP(0.3), duration=6.0)
    times = np.array([0.0, 2.0, 6.0])
    product_then = product(descend(start, *maps_of(start), 2.0**-12, 2 * 2**12, start.initial_weights, 0.3))
    assert distance(path.weights(2.0), product_then) < 2.0**-10
    assert distance(path.weights(2.0), gradient_flow(start, FineTuning(), duration=6.0).weights(2.0)) > 20 * 2.0**-10
    np.testing.assert_array_equal(path.teacher(times), np.stack([start.initial_weights] * 3))
    assert distance(path.gap(times), path.weights(times) - path.teacher(times)) < FLOAT64
    assert distance(path.force(times), 0.3 * path.gap(times)) < FLOAT64
    nodes, weights = np.polynomial.legendre.leggauss(80)
    integral = np.tensordot(3 * weights, path.force(3 * (nodes + 1)), 1)
    assert distance(path.impulse(6.0), integral) < FLOAT64
    assert distance(path.impulse(5.99), integral) > POWER * FLOAT64
    assert distance(path.limit(), gradient_flow(start, L2SP(0.3), duration=1e4).weights(1e4)) < 10 * FLOAT64


def test_a_rotated_start_has_the_same_path(towers):
    start, (turn, _) = balanced(towers, [0.01, 0.5]), np.linalg.qr(np.random.default_rng(1).standard_normal((2, 2)))
    turned = start.starting_from(*(turn @ half for half in maps_of(start)))
    paths = [gradient_flow(each, FineTuning(), duration=3.0).weights(3.0) for each in (start, turned)]
    assert distance(*paths) < LEAKAGE
    assert distance(paths[0], start.initial_weights) > POWER * LEAKAGE


def test_modes_that_are_not_started_do_not_grow(towers):
    """Round-off of the maps is no start: it would have grown by exp(4 x 40)."""
    found = gradient_flow(balanced(towers, [0.0, 0.5]), FineTuning(), duration=40.0).weights(40.0)
    left, _, right = towers.modes
    assert abs(left[:, 0] @ found @ right[:, 0]) < LEAKAGE
    assert abs(left[:, 1] @ found @ right[:, 1] - SINGULAR_VALUES[1] / PENALTY) < LEAKAGE
    small = gradient_flow(balanced(towers, [1e-20, 0.5]), FineTuning(), duration=40.0).weights(40.0)
    assert left[:, 0] @ small @ right[:, 0] > 1.0


def test_zero_shot_stays(towers):
    np.testing.assert_array_equal(limit(towers, ZeroShot()), towers.initial_weights)


def integral(c, s0, rho, t):
    with mpmath.workdps(60):
        c, s0, rho, t = map(mpmath.mpf, (c, s0, rho, t))
        grown = 2 * rho * s0 * t if c == 0 else rho * s0 * mpmath.expm1(2 * c * t) / c
        return float(mpmath.log1p(grown) / (2 * rho))


@given(st.just(0.0) | st.floats(1e-6, 5), st.floats(-290, 1).map(lambda x: 10.0**x), st.floats(0.1, 10), st.floats(1e-9, 100))
def test_integral_of_the_logistic(c, s0, rho, t):
    """Relative to itself: it is as small as its start."""
    assert logistic_integral(c, s0, rho, t) == pytest.approx(integral(c, s0, rho, t), rel=FLOAT64)
    assert logistic_integral(c, 0.0, rho, t) == 0


@pytest.mark.parametrize("t", [1e-9, 1.0, 14.99, 15.01, 350.0, 372.0, 372.5, 1e4])
def test_integral_of_the_logistic_at_its_edges(t):
    """Where e^(-2ct) underflows, and for starts that vanish beside 1; nulls are other starts."""
    starts = np.array([1e-300, 1e-150, 1e-15, 1.0])
    expected = np.array([integral(1.0, start, 1.0, t) for start in starts])
    nulls = {"started a little more": logistic_integral(1.0, 1.001 * starts, 1.0, t)} if t < 100 else {}
    assert_agrees(logistic_integral(1.0, starts, 1.0, t), expected, FLOAT64, nulls=nulls, relative=True)
    assert logistic_integral(1.0, 0.0, 1.0, t) == 0


def test_integral_is_none_of_the_starts():
    assert abs(logistic_integral(1.0, 0.1, 0.8, 2.0) - 0.2) > POWER * FLOAT64
