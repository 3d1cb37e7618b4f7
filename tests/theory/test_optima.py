"""What counts as zero in a spectrum does not depend on its units."""

import numpy as np
import pytest

from tracer.theory import optima


@pytest.mark.parametrize("unit", [1e-40, 1.0, 1e40])
def test_zeros_are_relative_to_the_largest(unit):
    spectrum = np.array([3.0, 1e-3, 1e-30, 0.0, -1e-30]) * unit
    np.testing.assert_array_equal(optima.without_round_off(spectrum), np.array([3.0, 1e-3, 0, 0, 0]) * unit)


def test_a_spectrum_without_positive_values_is_zero():
    np.testing.assert_array_equal(optima.without_round_off(np.array([-1e-20, 0.0])), [0.0, 0.0])
    assert optima.without_round_off(np.array([])).shape == (0,)
