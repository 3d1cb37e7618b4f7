"""Intervals over seeds, against scipy's own t interval and a hand-made clustering."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tracer.evaluation.intervals import interval


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_is_the_t_interval_of_a_mean(values):
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    if np.std(values) > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert found.half_width == pytest.approx((high - low) / 2)


def test_runs_of_a_cluster_count_once():
    clustered = interval([0.1, 0.3, 0.5, 0.7], ["a", "a", "b", "b"])
    assert clustered == interval([0.2, 0.6])
    assert clustered.half_width > 2 * interval([0.1, 0.3, 0.5, 0.7]).half_width


def test_one_cluster_has_no_interval():
    assert math.isnan(interval([0.1, 0.3], ["a", "a"]).half_width)
