"""Weights indexed by updates: the kernel's own at every step, the start of its density at long periods."""

import numpy as np
import pytest

from tracer.averaging import Beta, Clock, PowerLaw
from tracer.theory.indexing import IndexedByUpdates

STEPS = 1200
PUBLISHED = Beta(0.5, 0.5, weighting="pdf")


def test_a_teacher_that_moves_at_every_step_is_the_kernels_own():
    clock = Clock(STEPS)
    np.testing.assert_array_equal(IndexedByUpdates(PUBLISHED).weights(clock), PUBLISHED.weights(clock))


@pytest.mark.parametrize("period", [2, 100])
def test_weights_are_the_density_at_the_number_of_updates(period):
    """alpha_j = pdf((j + 1/2) / (T + 1)), where progress would have it at (j k + 1/2) / (T + 1)."""
    clock = Clock(STEPS, period)
    nodes = (np.arange(clock.updates + 1) + 0.5) / (STEPS + 1)
    expected = (nodes * (1 - nodes)) ** -0.5
    found = IndexedByUpdates(PUBLISHED).weights(clock)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)
    assert np.abs(found - PUBLISHED.weights(clock)).max() > 1e-3


def test_long_periods_give_an_older_teacher():
    """Of Beta(1/2, 1/2) only the growing weights of a power law are left, whose mean age is 2/3 of the run and not 1/2."""
    clock = Clock(STEPS, 10)
    assert IndexedByUpdates(PUBLISHED).mean_age(clock) == pytest.approx(2 / 3, abs=0.02)
    assert Beta(0.5, 0.5).mean_age(clock) == pytest.approx(1 / 2, abs=0.01)
    assert PowerLaw(0.5).mean_age(clock) == pytest.approx(2 / 3, abs=0.02)
