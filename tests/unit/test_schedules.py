import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer import schedules


@given(st.integers(1, 500), st.data())
def test_cosine_follows_its_formula(total, data):
    warmup = data.draw(st.integers(0, total - 1))
    step = data.draw(st.integers(0, total - 1))
    warming = step < warmup
    expected = (step + 1) / warmup if warming else (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
    assert schedules.cosine(total, warmup)(step) == pytest.approx(expected)


def test_cosine_peaks_after_warm_up_and_ends_at_zero():
    multiplier = schedules.cosine(10, 4)
    assert [multiplier(3), multiplier(4)] == [1, 1]
    assert multiplier(0) == 0.25
    assert multiplier(10) == pytest.approx(0, abs=1e-15)


def test_constant_is_one():
    assert {schedules.constant(step) for step in range(5)} == {1.0}


def test_there_is_no_warm_up_unless_asked_for():
    assert [schedules.cosine(4)(step) for step in range(5)] == pytest.approx([1, (1 + 2**-0.5) / 2, 0.5, (1 - 2**-0.5) / 2, 0])
    assert schedules.Cosine(4) == schedules.cosine(4) == schedules.cosine(4, warmup_steps=0)


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_warm_up_must_leave_a_step(warmup):
    with pytest.raises(ValueError, match="warmup_steps"):
        schedules.cosine(10, warmup)


def test_all_but_one_step_may_warm_up():
    assert schedules.cosine(10, 9)(8) == schedules.cosine(10, 9)(9) == 1


@pytest.mark.parametrize("steps", [0, -3, 2.5, math.nan, math.inf, True, "10", None, np.float64(10)], ids=repr)
def test_the_horizon_is_a_whole_number_of_steps(steps):
    with pytest.raises(ValueError, match="total_steps must be"):
        schedules.cosine(steps)


@pytest.mark.parametrize("warmup", [2.5, math.nan, math.inf, True, "1", None], ids=repr)
def test_so_is_the_warm_up(warmup):
    with pytest.raises(ValueError, match="warmup_steps must be"):
        schedules.cosine(10, warmup)


@pytest.mark.parametrize("step", [-1, 0.5, math.nan, True, 11], ids=repr)
def test_steps_outside_the_horizon_have_no_multiplier(step):
    """Past it a cosine would rise again."""
    with pytest.raises(ValueError, match="step"):
        schedules.cosine(10)(step)


def test_numpys_whole_numbers_are_whole_numbers():
    assert schedules.cosine(np.int64(10), np.int32(2))(np.int64(6)) == pytest.approx(0.5)
