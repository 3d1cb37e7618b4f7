"""Weights indexed by updates: the kernel's own at every step, the start of its density at long periods."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from tracer.averaging import Beta, Clock, Exponential, PowerLaw, Static
from tracer.errors import UserError
from tracer.theory.update_indexed import UpdateIndexed

STEPS = 1200
PUBLISHED = Beta(0.5, 0.5, weighting="pdf")


def test_a_teacher_that_moves_at_every_step_is_the_kernels_own():
    clock = Clock(STEPS)
    np.testing.assert_array_equal(UpdateIndexed(PUBLISHED).weights(clock), PUBLISHED.weights(clock))


@pytest.mark.parametrize("period", [2, 100])
def test_weights_are_the_density_at_the_number_of_updates(period):
    """alpha_j = pdf((j + 1/2) / (T + 1)), where progress would have it at (j k + 1/2) / (T + 1)."""
    clock = Clock(STEPS, period)
    nodes = (np.arange(clock.updates + 1) + 0.5) / (STEPS + 1)
    expected = (nodes * (1 - nodes)) ** -0.5
    found = UpdateIndexed(PUBLISHED).weights(clock)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)
    assert np.abs(found - PUBLISHED.weights(clock)).max() > 1e-3


def test_long_periods_give_an_older_teacher():
    """Of Beta(1/2, 1/2) only the growing weights of a power law are left, whose mean age is 2/3 of the run and not 1/2."""
    clock = Clock(STEPS, 10)
    assert UpdateIndexed(PUBLISHED).mean_age(clock) == pytest.approx(2 / 3, abs=0.02)
    assert Beta(0.5, 0.5).mean_age(clock) == pytest.approx(1 / 2, abs=0.01)
    assert PowerLaw(0.5).mean_age(clock) == pytest.approx(2 / 3, abs=0.02)


def test_summed_rates_are_the_kernels_where_the_period_does_not_matter():
    assert UpdateIndexed(Static()).summed_rates == 0
    assert UpdateIndexed(PUBLISHED).summed_rates == np.inf
    kernel = UpdateIndexed(Exponential(time_constant_progress=0.5))
    for period in (1, 4):
        clock = Clock(10**6, period)
        summed = kernel.rates(clock, np.arange(1, clock.updates + 1)).sum()
        assert summed == pytest.approx(2 / period, rel=1e-5)
    with pytest.raises(UserError, match="depends on the update period"):
        _ = kernel.summed_rates


# How far the teacher's weights have to be moved, as a share of a run of 25,020 steps, from the published runs' (indexed by updates,
# which follow steps 1, k + 1, 2 k + 1, ... and the last) to those indexed by updates after steps k, 2 k, ...; to a power law's;
# and to those of Beta(1/2, 1/2) by progress, point-sampled and not. experiments/published quotes them.
SHIFTS = {
    1: (0.0000, 0.1667, 0.0000, 0.0004),
    2: (0.0000, 0.0309, 0.1357, 0.1357),
    10: (0.0002, 0.0064, 0.1603, 0.1603),
    100: (0.0022, 0.0054, 0.0891, 0.1617),
    500: (0.0098, 0.0102, 0.1210, 0.1596),
    2500: (0.0339, 0.0282, 0.1849, 0.1593),
}


@pytest.mark.parametrize("period", SHIFTS)
def test_how_far_the_published_teachers_are_from_ours(period):
    steps = 25_020
    clock, theirs = Clock(steps, period), np.unique([0, *range(1, steps + 1, period), steps])
    weights = PUBLISHED.weights(Clock(steps), len(theirs) - 1)
    kernels = UpdateIndexed(PUBLISHED), PowerLaw(0.5), PUBLISHED, Beta(0.5, 0.5)
    ours = period * np.arange(clock.updates + 1)
    found = [wasserstein_distance(theirs, ours, weights, kernel.weights(clock)) / steps for kernel in kernels]
    assert found == pytest.approx(SHIFTS[period], abs=6e-5)
