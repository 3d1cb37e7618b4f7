import math

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


@pytest.mark.parametrize("warmup", [-1, 10, 11])
def test_warm_up_must_leave_a_step(warmup):
    with pytest.raises(ValueError, match="warmup_steps"):
        schedules.cosine(10, warmup)
