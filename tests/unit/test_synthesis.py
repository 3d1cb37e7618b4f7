"""Averages made from kept ones, against direct averages of random walks."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerances import FLOAT64
from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static, Uniform
from tracer.errors import UserError
from tracer.synthesis import ANCHOR, STUDENT, TRACKED, Kept, combine, times

KERNELS = [
    Beta(0.5, 0.5),
    Beta(1.0, 0.5),
    Beta(0.5, 1.0),
    Beta(8.0, 2.0),
    Beta(0.5, 0.5, weighting="pdf"),
    PowerLaw(0.2),
    PowerLaw(2.0),
    Exponential(0.9),
    Exponential(0.99, initial_momentum=0.5, warmup_progress=0.3),
    Exponential(time_constant_progress=0.5),
    Uniform(),
    Static(),
]
EVEN, DRIFTING = 0.0, 0.9  # how alike successive moves are


def kept_averages(clock, count):
    """What a run keeps."""
    averages = [Kept(kernel, update) for kernel in TRACKED.values() for update in times(clock, count)]
    return [ANCHOR, *averages, Kept(STUDENT, clock.updates)]


def walk(clock, rng, momentum):
    """Iterates (N + 1, size) whose moves shrink, with so much of the last in each, and the lengths of the moves."""
    moves = rng.standard_normal((clock.updates, 7))
    for previous, move in pairwise(moves):
        move += momentum * previous
    moves *= np.linspace(1, 0.01, clock.updates)[:, None]
    return 3 + np.concatenate([np.zeros((1, 7)), moves.cumsum(0)]), np.linalg.norm(moves, axis=1)


def stored(kept, clock, iterates):
    """The kept averages themselves, (kept, size)."""
    return np.stack([each.kernel.weights(clock, each.update) @ iterates[: each.update + 1] for each in kept])


settings = given(
    kernel=st.sampled_from(KERNELS),
    updates=st.integers(1, 400),
    period=st.integers(1, 7),
    count=st.integers(1, 8),
    momentum=st.sampled_from([EVEN, DRIFTING]),
    seed=st.integers(0, 2**32 - 1),
)


@settings
def test_no_run_is_further_off_than_the_bound(kernel, updates, period, count, momentum, seed):
    clock = Clock(updates * period, period)
    kept = kept_averages(clock, min(count, updates))
    iterates, lengths = walk(clock, np.random.default_rng(seed), momentum)
    found = combine(kernel, clock, kept, lengths, noise=1e-9)
    direct = kernel.weights(clock) @ iterates
    error = found.coefficients @ stored(kept, clock, iterates) - direct
    size = np.abs(found.coefficients).sum() * np.abs(iterates).max() * FLOAT64
    certificate = found.certificate(lengths, 1e-9)
    assert np.linalg.norm(error) <= certificate.bound + size
    assert error == pytest.approx(-found.deviations @ np.diff(iterates, axis=0), abs=size)
    assert found.weights @ iterates == pytest.approx(direct + error, abs=size)
    assert found.coefficients.sum() == pytest.approx(1, abs=FLOAT64 * np.abs(found.coefficients).sum())
    assert certificate.bound <= np.abs(found.deviations).max() * lengths.sum() * (1 + FLOAT64)
    assert certificate.estimate <= certificate.bound * (1 + FLOAT64)
    assert certificate.most_negative == min(0, found.weights.min())


def test_a_dropped_snapshot_breaks_the_bound():
    """The null: the same coefficients without one of the averages that they belong to."""
    clock, rng = Clock(300), np.random.default_rng(0)
    kept = kept_averages(clock, 8)
    iterates, lengths = walk(clock, rng, DRIFTING)
    for kernel in (Beta(0.5, 0.5), PowerLaw(2.0), Exponential(0.99)):
        found = combine(kernel, clock, kept, lengths)
        averages, direct = stored(kept, clock, iterates), kernel.weights(clock) @ iterates
        largest = int(np.argmax(np.abs(found.coefficients)))
        without = np.delete(found.coefficients, largest) @ np.delete(averages, largest, axis=0)
        assert np.linalg.norm(without - direct) > 100 * found.certificate(lengths).bound


def test_lengths_of_another_run_break_the_bound():
    """The null: the path was a hundred times as long as it is told."""
    clock = Clock(300)
    kept = kept_averages(clock, 4)
    iterates, lengths = walk(clock, np.random.default_rng(1), DRIFTING)
    found = combine(PowerLaw(2.0), clock, kept, lengths)
    error = found.coefficients @ stored(kept, clock, iterates) - PowerLaw(2.0).weights(clock) @ iterates
    assert np.linalg.norm(error) > 10 * found.certificate(lengths / 1000).bound


def test_the_estimate_is_the_root_mean_square_of_uncorrelated_moves():
    clock, rng = Clock(100), np.random.default_rng(2)
    kept = kept_averages(clock, 3)
    lengths = np.linspace(1, 0.1, 100)
    found = combine(Beta(0.5, 0.5), clock, kept, lengths)
    moves = rng.standard_normal((4000, 100, 3))
    moves *= lengths[:, None] / np.linalg.norm(moves, axis=2, keepdims=True)
    errors = np.einsum("j,rjk->rk", found.deviations, moves)
    assert np.sqrt((errors**2).sum(1).mean()) == pytest.approx(found.certificate(lengths).estimate, rel=0.05)
    worst = found.deviations @ (np.sign(found.deviations) * lengths)  # the moves along one line that it does worst on
    assert worst == pytest.approx(found.certificate(lengths).bound, rel=FLOAT64)
    assert worst > 5 * found.certificate(lengths).estimate


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_it_is_the_nearest(kernel):
    """No small change of the coefficients that keeps their sum lowers the estimate."""
    clock, rng = Clock(60), np.random.default_rng(3)
    kept, lengths = kept_averages(clock, 2), np.linspace(1, 0.1, 60)
    found = combine(kernel, clock, kept, lengths)
    of_kept = np.stack([np.pad(k.weights(clock, u), (0, 60 - u)) for k, u in kept])

    def off(coefficients):
        after = np.cumsum((kernel.weights(clock) - coefficients @ of_kept)[::-1])[::-1][1:]
        return np.linalg.norm(after * lengths)

    assert off(found.coefficients) == pytest.approx(found.certificate(lengths).estimate, abs=FLOAT64)
    for _ in range(20):
        change = rng.standard_normal(len(kept)) * 1e-3
        assert off(found.coefficients + change - change.mean()) > found.certificate(lengths).estimate


def test_what_was_kept_is_found_exactly():
    clock, lengths = Clock(200), np.ones(200)
    for kernel in (*TRACKED.values(), Static(), STUDENT):
        assert combine(kernel, clock, kept_averages(clock, 4), lengths).certificate(lengths).bound < 1e-9
    assert combine(PowerLaw(3.0), clock, kept_averages(clock, 4), lengths).certificate(lengths).bound > 1e-4


def test_noise_keeps_the_coefficients_small():
    clock = Clock(300)
    kept, lengths = kept_averages(clock, 8), np.full(300, 0.01)
    found, careful = (combine(PowerLaw(20.0), clock, kept, lengths, noise) for noise in (0.0, 1e-5))

    def total(combination):
        certificate = combination.certificate(lengths, 1e-5)
        return np.hypot(certificate.estimate, certificate.rounding)

    assert total(careful) < total(found)
    assert np.abs(careful.coefficients).sum() < np.abs(found.coefficients).sum()


@given(updates=st.integers(1, 5000), count=st.integers(1, 60))
def test_times_are_distinct_and_end_with_the_run(updates, count):
    count = min(count, updates)
    chosen = times(Clock(updates), count)
    assert len(set(chosen)) == count
    assert chosen == sorted(chosen)
    assert chosen[0] >= 1
    assert chosen[-1] == updates


def test_bad_input():
    clock = Clock(10)
    with pytest.raises(UserError, match="at most the 10 updates of the run, not 11"):
        times(clock, 11)
    with pytest.raises(UserError, match="no average was kept"):
        combine(Uniform(), clock, [], np.ones(10))
    with pytest.raises(ValueError, match="10 lengths"):
        combine(Uniform(), clock, [ANCHOR], np.ones(9))
    with pytest.raises(UserError, match="lengths must"):
        combine(Uniform(), clock, [ANCHOR], -np.ones(10))
    with pytest.raises(UserError, match="noise must"):
        combine(Uniform(), clock, [ANCHOR], np.ones(10), noise=np.nan)
    with pytest.raises(dataclasses.FrozenInstanceError):
        combine(Uniform(), clock, [ANCHOR], np.ones(10)).weights = 0
