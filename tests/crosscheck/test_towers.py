"""`theory.gradient_descent` of both towers' maps against the trainer, each tower held on a replay pool of its own."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerances import POWER, THEORY_AGAINST_TRAINER
from tracer import theory
from tracer.averaging import Beta, Exponential, Kernel, PowerLaw, Static
from tracer.crosscheck.history import WeightHistory, deviation
from tracer.crosscheck.towers import train_towers
from tracer.schedules import cosine

KERNELS = {"static": Static(), "ema": Exponential(0.9), "wma": Beta(0.5, 0.5), "power law": PowerLaw(0.4)}
HELD = {"images": (True, False), "texts": (False, True), "both": (True, True)}
WIDTHS = 5, 4
STEPS = np.arange(31)
STATIONARY = 1e-11  # norm of a gradient of some tens of products of numbers of size 1, after steps that no longer change it


class Towers(NamedTuple):
    """Two towers, the pairs that they learn, and the inputs on which each is held, or None."""

    maps: theory.TowerMaps
    pairs: tuple[np.ndarray, np.ndarray]
    pools: tuple[np.ndarray | None, np.ndarray | None]

    def metric(self, scales: tuple[float, float] = (1.0, 1.0)) -> theory.Inputs:
        """Of the pools' second moments, each scaled."""
        moments = (
            None if pool is None else scale * theory.second_moment(pool) for pool, scale in zip(self.pools, scales, strict=True)
        )
        return self.maps.replay(*moments)

    def run(self, kernel: Kernel, **stepping) -> WeightHistory:
        replay, texts = self.pools
        strategy = theory.Distillation(0.9, kernel, self.metric())
        return train_towers(self.maps, self.pairs, strategy, replay=replay, replay_texts=texts, **setting(stepping))

    def path(self, kernel: Kernel, strength: float = 0.9, metric: theory.Metric | None = None, **stepping) -> np.ndarray:
        strategy = theory.Distillation(strength, kernel, metric or self.metric())
        path = theory.gradient_descent(self.maps, strategy, **setting(stepping))
        return np.stack([path.student(STEPS), path.teacher(STEPS)])


def setting(changes):
    return {"learning_rate": 0.1, "steps": int(STEPS[-1]), **changes}


def towers_of(seed: int, held: tuple[bool, bool], rows: tuple[int, int] = (3, 9)) -> Towers:
    """Inputs of the two towers span other directions than their pools, with other strengths: nothing commutes."""
    rng = np.random.default_rng(seed)
    pairs = tuple(rng.standard_normal((12, width)) * np.linspace(1.3, 0.4, width) + 0.3 for width in WIDTHS)
    start = (0.5 * rng.standard_normal((3, width)) for width in WIDTHS)
    maps = theory.TowerMaps(theory.TwoTowers.from_pairs(*pairs, *start, embedding_penalty=0.8))
    pools = (rng.standard_normal((m, width)) for m, width in zip(rows, WIDTHS, strict=True))
    return Towers(maps, pairs, tuple(pool if on else None for pool, on in zip(pools, held, strict=True)))


def far(run: WeightHistory, predicted: np.ndarray) -> float:
    """Largest relative error of students and teachers at any step."""
    return max(deviation(each, trained) for each, trained in zip(predicted, (run.student, run.teacher), strict=True))


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@given(seed=st.integers(0, 2**32 - 1), update_every=st.sampled_from([1, 3]), heavy_ball=st.sampled_from([0.0, 0.5]))
def test_path_is_the_trainers(kernel, held, seed, update_every, heavy_ball):
    towers = towers_of(seed, held)
    stepping = {"update_every": update_every, "heavy_ball": heavy_ball, "schedule": cosine(int(STEPS[-1]))}
    run = towers.run(kernel, **stepping)
    assert far(run, towers.path(kernel, **stepping)) <= THEORY_AGAINST_TRAINER
    start = np.stack([np.stack([towers.maps.initial_weights] * len(STEPS))] * 2)
    assert far(run, start) >= POWER * THEORY_AGAINST_TRAINER


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_wrong_predictions_are_told_apart(kernel, held):
    towers = towers_of(3, held)
    run = towers.run(kernel)
    assert far(run, towers.path(kernel)) <= THEORY_AGAINST_TRAINER
    fewer = {"static": Exponential(0.99), "ema": Exponential(0.905), "wma": Beta(0.505, 0.5), "power law": PowerLaw(0.404)}
    other = next(fewer[name] for name, each in KERNELS.items() if each == kernel)
    spread = [
        None if pool is None else np.trace(theory.second_moment(pool)) / pool.shape[1] * np.eye(pool.shape[1])
        for pool in towers.pools
    ]
    own = [None if pool is None else theory.second_moment(shown) for pool, shown in zip(towers.pools, towers.pairs, strict=True)]
    wrong = {
        "another kernel": towers.path(other),
        "one percent stronger": towers.path(kernel, 0.909),
        "not held": towers.path(kernel, 0.0),
        "all directions alike": towers.path(kernel, metric=towers.maps.replay(*spread)),
        "the task's own inputs": towers.path(kernel, metric=towers.maps.replay(*own)),
        "all weights": towers.path(kernel, metric=theory.Parameter()),
    }
    if all(held):
        wrong |= {
            f"other scale of tower {at}": towers.path(kernel, metric=towers.metric(s))
            for at, s in enumerate([(1.01, 1), (1, 1.01)])
        }
    assert {name: found for name, null in wrong.items() if (found := far(run, null)) < POWER * THEORY_AGAINST_TRAINER} == {}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_pools_do_not_commute_with_the_task(held):
    """And neither does one pool stand in for the other tower's."""
    towers = towers_of(3, held)
    for pool, shown in zip(towers.pools, towers.pairs, strict=True):
        if pool is not None:
            product = theory.second_moment(pool) @ theory.second_moment(shown)
            assert np.abs(product - product.T).max() > 0.1 * np.abs(product).max()


@pytest.mark.parametrize("kernel", [Static(), Exponential(0.5)], ids=["static", "ema"])
def test_a_long_run_of_the_trainer_stands_where_the_objective_is_stationary(kernel):
    """There is no closed limit; the gradient of loss and pull vanishes, or that of the loss alone where the teacher follows."""
    towers = towers_of(6, (True, True), rows=(40, 40))
    end = towers.run(kernel, steps=1000, learning_rate=0.3).student[-1]
    loss = towers.maps.gradient(end)
    whole = loss + 0.9 * (end - towers.maps.initial_weights) @ towers.metric().second_moment
    vanishing, other = (whole, loss) if kernel == Static() else (loss, whole)
    assert np.linalg.norm(vanishing) <= STATIONARY
    assert np.linalg.norm(other) >= POWER * STATIONARY
