"""Descent of both maps of two towers, held on replay pools: against the recursion written out, and where it ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.cases import quadratic, seeds
from tests.theory.tolerances import LONG_RUN, RECURSION
from tests.tolerances import FLOAT64, POWER
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.errors import UserError
from tracer.schedules import cosine
from tracer.theory import (
    L2SP,
    LPFT,
    Distillation,
    FineTuning,
    Inputs,
    TowerMaps,
    TwoTowers,
    WeightDecay,
    WiSEFT,
    ZeroShot,
    gradient_descent,
    gradient_flow,
    limit,
    max_learning_rate,
    second_moment,
)

KERNELS = {"static": Static(), "ema": Exponential(0.9), "power law": PowerLaw(0.5), "beta": Beta(0.5, 0.5)}
HELD = {"images": (True, False), "texts": (False, True), "both": (True, True)}
STEPS = 60


def random_maps(seed, pairs=12, images=5, texts=4, embedding=3):
    rng = np.random.default_rng(seed)
    start = 0.5 * rng.standard_normal((embedding, images)), 0.5 * rng.standard_normal((embedding, texts))
    shown = rng.standard_normal((pairs, images)), 1.0 + rng.standard_normal((pairs, texts))
    return TowerMaps(TwoTowers.from_pairs(*shown, *start, embedding_penalty=0.8))


def pools(seed, held, rows=7):
    """Second moments (d, d) of replayed images and texts, or None, that commute with nothing."""
    rng = np.random.default_rng([seed, 1])
    return [second_moment(rng.standard_normal((rows, width))) if on else None for on, width in zip(held, (5, 4), strict=True)]


def written_out(maps, pool, strength, kernel, learning_rate, clock):
    """Students and teachers [W_I, W_T] after 0 ... T steps, each map stepped on its own."""
    cross, penalty = maps.towers.cross_covariance, maps.towers.embedding_penalty
    student = [maps.towers.image_weights, maps.towers.text_weights]
    teacher, path = list(student), []
    metrics = [np.zeros((width, width)) if moment is None else moment for moment, width in zip(pool, (5, 4), strict=True)]
    for step in range(clock.total_steps + 1):
        path.append([np.hstack(student), np.hstack(teacher)])
        image, text = student
        slopes = text @ (penalty * text.T @ image - cross.T), image @ (penalty * image.T @ text - cross)
        student = [
            own - learning_rate * (slope + strength * (own - average) @ metric)
            for own, slope, average, metric in zip(student, slopes, teacher, metrics, strict=True)
        ]
        update, rest = divmod(step + 1, clock.update_every)
        rate = 0.0 if rest or update > clock.updates else kernel.rate(clock, update)
        teacher = [(1 - rate) * average + rate * own for own, average in zip(student, teacher, strict=True)]
    return np.array(path).transpose(1, 0, 2, 3)


def distance(a, b):
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@given(seed=seeds, update_every=st.sampled_from([1, 4]))
def test_path_is_the_recursion_of_each_map(kernel, held, seed, update_every):
    maps, pool = random_maps(seed), pools(seed, held)
    clock = Clock(STEPS, update_every)
    path = gradient_descent(
        maps, Distillation(0.7, kernel, maps.replay(*pool)), learning_rate=0.05, steps=STEPS, update_every=update_every
    )
    student, teacher = written_out(maps, pool, 0.7, kernel, 0.05, clock)
    steps = np.arange(STEPS + 1)
    assert distance(path.weights(steps), student) < RECURSION
    assert distance(path.teacher(steps), teacher) < RECURSION
    assert distance(path.gap(steps), student - teacher) < RECURSION
    other = PowerLaw(0.505) if kernel == PowerLaw(0.5) else PowerLaw(0.5)
    for null in (
        written_out(maps, pool, 0.7, other, 0.05, clock),
        written_out(maps, pool, 0.707, kernel, 0.05, clock),
        written_out(maps, pools(seed + 1, held), 0.7, kernel, 0.05, clock),
        written_out(maps, (None, None), 0.7, kernel, 0.05, clock),
    ):
        assert distance(path.weights(steps), null[0]) > POWER * RECURSION


def test_forces_and_impulses_are_those_of_the_gaps():
    maps, pool = random_maps(2), pools(2, (True, True))
    metric = maps.replay(*pool)
    path = gradient_descent(maps, Distillation(0.7, Exponential(0.9), metric), learning_rate=0.05, steps=STEPS)
    image, text = maps.split(path.gap(20))
    assert distance(path.force(20), 0.7 * np.hstack([image @ pool[0], text @ pool[1]])) < FLOAT64
    forces = path.force(np.arange(STEPS))
    assert distance(path.impulse(STEPS), 0.05 * forces.sum(axis=0)) < RECURSION
    assert distance(path.impulse(STEPS - 1), 0.05 * forces.sum(axis=0)) > POWER * RECURSION


def test_schedules_and_heavy_ball_act_on_both_maps():
    """The first two steps, by hand."""
    maps, pool = random_maps(3), pools(3, (True, True))
    metric, start, schedule = maps.replay(*pool), maps.initial_weights, cosine(10)
    stepping = {"learning_rate": 0.05, "steps": 10, "schedule": schedule, "heavy_ball": 0.6}
    path = gradient_descent(maps, Distillation(0.7, Static(), metric), **stepping)
    velocity = maps.gradient(start)
    first = start - 0.05 * schedule(0) * velocity
    velocity = 0.6 * velocity + maps.gradient(first) + 0.7 * (first - start) @ metric.second_moment
    second = first - 0.05 * schedule(1) * velocity
    assert distance(path.weights(2), second) < FLOAT64
    assert distance(path.weights(2), path.weights(1)) > POWER * FLOAT64


def test_loss_and_gradient_are_those_of_the_product():
    """The loss is of degree 4 along a line, whose derivative five points give exactly."""
    maps, rng = random_maps(4), np.random.default_rng(4)
    at, direction = rng.standard_normal((2, *maps.initial_weights.shape))
    losses = {x: maps.loss(at + x * direction) for x in (-0.2, -0.1, 0.1, 0.2)}
    slope = (8 * (losses[0.1] - losses[-0.1]) - (losses[0.2] - losses[-0.2])) / 1.2
    assert abs(slope - np.sum(maps.gradient(at) * direction)) < 1e3 * FLOAT64
    assert abs(slope - np.sum(maps.gradient(at) * rng.standard_normal(direction.shape))) > POWER * 1e3 * FLOAT64
    assert maps.loss(at) == maps.towers.loss(maps.product(at))
    many = np.stack([at, direction])
    np.testing.assert_allclose(maps.product(many)[1], maps.product(direction), atol=FLOAT64)
    np.testing.assert_array_equal(np.concatenate(maps.split(many), axis=-1), many)


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_static_teacher_ends_where_the_gradient_of_the_objective_vanishes(held):
    """And not where that of the loss does, nor of the objective with other pools."""
    maps, pool = random_maps(5), pools(5, held, rows=40)
    metric = maps.replay(*pool)
    end = gradient_descent(maps, Distillation(1.0, Static(), metric), learning_rate=0.1, steps=8000).weights(8000)
    moved = end - maps.initial_weights
    assert np.linalg.norm(maps.gradient(end) + moved @ metric.second_moment) < LONG_RUN
    for wrong in (0.0 * metric.second_moment, maps.replay(*pools(6, held)).second_moment, 1.01 * metric.second_moment):
        assert np.linalg.norm(maps.gradient(end) + moved @ wrong) > POWER * LONG_RUN


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_moving_teacher_ends_at_an_optimum_of_the_loss_itself(held):
    maps = random_maps(7)
    strategy = Distillation(1.0, Exponential(0.5), maps.replay(*pools(7, held)))
    end = gradient_descent(maps, strategy, learning_rate=0.1, steps=12000).weights(12000)
    assert np.linalg.norm(maps.gradient(end)) < LONG_RUN
    assert distance(maps.product(end), limit(maps.towers, FineTuning())) < 100 * LONG_RUN
    static = gradient_descent(maps, Distillation(1.0, Static(), strategy.metric), learning_rate=0.1, steps=12000).weights(12000)
    assert distance(maps.product(static), limit(maps.towers, FineTuning())) > POWER * 100 * LONG_RUN


def test_a_wma_is_still_on_its_way_when_an_ema_has_arrived():
    maps = random_maps(7)
    metric = maps.replay(*pools(7, (True, True)))
    slopes = [
        np.linalg.norm(
            maps.gradient(gradient_descent(maps, Distillation(1.0, k, metric), learning_rate=0.1, steps=2000).weights(2000))
        )
        for k in (Exponential(0.5), Beta(0.5, 0.5))
    ]
    assert slopes[0] < 1e-3 * slopes[1]


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_strong_replay_keeps_embeddings_of_what_is_replayed(held):
    """Of the tower that is held; the other one moves."""
    maps, pool = random_maps(8), pools(8, held)
    weak, strong = (
        maps.split(
            gradient_descent(
                maps, Distillation(strength, Static(), maps.replay(*pool)), learning_rate=0.2 / (1 + 4 * strength), steps=4000
            ).weights(4000)
            - maps.initial_weights
        )
        for strength in (0.0, 30.0)
    )
    for free, kept, moment in zip(weak, strong, pool, strict=True):
        if moment is None:
            assert np.linalg.norm(kept) > 0.1 * np.linalg.norm(free)
        else:
            assert quadratic(kept, moment) < 0.01 * quadratic(free, moment)


def test_all_weights_may_be_held_alike():
    maps = random_maps(9)
    setting = {"learning_rate": 0.05, "steps": 40}
    held = gradient_descent(maps, L2SP(0.4), **setting).weights(40)
    spelt_out = Distillation(0.4, Static(), maps.replay(np.eye(5), np.eye(4)))
    assert distance(held, gradient_descent(maps, spelt_out, **setting).weights(40)) < RECURSION
    assert distance(held, gradient_descent(maps, FineTuning(), **setting).weights(40)) > POWER * RECURSION


def test_strategies_without_a_teacher():
    maps = random_maps(9)
    setting = {"learning_rate": 0.05, "steps": 40}
    tuned = gradient_descent(maps, FineTuning(), **setting).weights(40)
    between = maps.initial_weights + 0.3 * (tuned - maps.initial_weights)
    assert distance(gradient_descent(maps, WiSEFT(0.3), **setting).weights(40), between) < FLOAT64
    np.testing.assert_array_equal(gradient_descent(maps, ZeroShot(), **setting).weights(40), maps.initial_weights)
    assert distance(tuned, maps.initial_weights) > POWER * FLOAT64


RUN = {"learning_rate": 0.05, "steps": 5}
MISTAKES = {
    "no inputs": (lambda maps: maps.replay(), "replay holds no tower without inputs: give it"),
    "images of texts": (lambda maps: maps.replay(np.eye(4)), r"the images' second moment must have shape \(5, 5\)"),
    "texts of images": (lambda maps: maps.replay(texts=np.eye(5)), r"the texts' second moment must have shape \(4, 4\)"),
    "features": (lambda maps: maps.replay(texts=-np.eye(4)), "the texts' second moment must be positive semidefinite"),
    "one tower's metric": (
        lambda maps: gradient_descent(maps, Distillation(1.0, metric=Inputs(np.eye(5))), **RUN),
        r"must have shape \(9, 9\)",
    ),
    "data's metric": (lambda maps: gradient_descent(maps, Distillation(1.0), **RUN), "which TowerMaps has not"),
    "weights of one map": (lambda maps: maps.gradient(np.ones((3, 5))), r"weights must have shape \(3, 9\)"),
    "loss of one map": (lambda maps: maps.loss(np.ones((3, 5))), r"weights must have shape \(3, 9\)"),
    "large steps": (
        lambda maps: gradient_descent(maps, FineTuning(), learning_rate=9.0, steps=500).weights(500),
        "diverges at this step size: lower learning_rate",
    ),
    "flow": (lambda maps: gradient_flow(maps, FineTuning(), duration=1.0), "run gradient_descent"),
    "stability": (lambda maps: max_learning_rate(maps, FineTuning()), "nor largest step size: run gradient_descent"),
    "limit": (lambda maps: limit(maps, FineTuning()), "TowerMaps has no closed limit: run gradient_descent"),
    "weight decay": (lambda maps: gradient_descent(maps, WeightDecay(0.1), **RUN), "no closed form with weight decay"),
    "probe": (lambda maps: gradient_descent(maps, LPFT(), **RUN), "for a Problem alone"),
    "step beyond the run": (lambda maps: gradient_descent(maps, FineTuning(), **RUN).weights(6), "steps must be whole numbers"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(mistake):
    call, sentence = MISTAKES[mistake]
    with pytest.raises(UserError, match=sentence):
        call(random_maps(0))
