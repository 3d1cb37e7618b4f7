"""Means over a Beta distribution against mpmath at 80 digits."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.theory.tolerances import LARGE_MEANS, MEANS
from tests.tolerances import POWER
from tracer.theory.closed_forms.beta_means import beta_mean_exponential, beta_mean_power

SMALLEST = 1e-290  # below it, float64 loses digits


def decades(lowest, highest):
    return st.floats(lowest, highest).map(lambda exponent: 10.0**exponent)


@pytest.fixture(autouse=True)
def many_digits():
    """Enough that b = 1e-40 still has 40 of them beside a = 1."""
    with mpmath.workdps(80):
        yield


small, tiny, large = decades(-8, 0.5), decades(-40, 0.5), decades(-2, 2)


def exact_exponential(a, b, y):
    return mpmath.hyp1f1(a, mpmath.mpf(a) + b, -y)


def exact_power(a, b, x, t):
    """The recursion of a power-law teacher's student: no sum that cancels."""
    a, b, x = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(x)
    student = teacher = mpmath.mpf(1)
    for step in range(1, t + 1):
        student = (1 - x) * student + x * b / (a + b) * teacher
        teacher = (step * teacher + (a + b) * student) / (a + b + step)
    return student


def relative_error(value, exact, scale=None):
    scale = abs(exact) if scale is None else scale
    return 0.0 if scale < SMALLEST else float(abs(mpmath.mpf(float(value)) - exact) / scale)


class TestExponential:
    @given(small, tiny, decades(-3, 6))
    def test_equals_mpmath(self, a, b, y):
        assert relative_error(beta_mean_exponential(a, b, y), exact_exponential(a, b, y)) <= MEANS

    @given(large, large, decades(-3, 6))
    def test_equals_mpmath_for_large_parameters(self, a, b, y):
        assert relative_error(beta_mean_exponential(a, b, y), exact_exponential(a, b, y)) <= LARGE_MEANS

    @given(small, tiny, st.floats(0.9, 1.1))
    def test_has_no_seam_between_sum_and_expansion(self, a, b, share):
        y = share * (50 + 4 * (1 + a) * (1 + b))
        assert relative_error(beta_mean_exponential(a, b, y), exact_exponential(a, b, y)) <= MEANS

    @pytest.mark.parametrize("y", [0.0, 1.0, 49.0, 60.0, 150.0, 600.0, 1e6])
    def test_ends(self, y):
        assert beta_mean_exponential(0.0, 0.5, y) == 1
        assert beta_mean_exponential(0.0, 0.0, y) == 1
        assert beta_mean_exponential(0.5, 0.0, y) == pytest.approx(np.exp(-y), rel=MEANS, abs=0)
        assert beta_mean_exponential(1.0, 1.0, y) == pytest.approx(-np.expm1(-y) / y if y else 1.0, rel=MEANS)


class TestPower:
    @given(small, tiny, decades(-4, 0), st.integers(0, 400))
    def test_equals_the_exact_recursion(self, a, b, x, t):
        assert relative_error(beta_mean_power(a, b, x, t), exact_power(a, b, x, t)) <= MEANS

    @given(large, large, decades(-4, 0), st.integers(0, 400))
    def test_equals_the_exact_recursion_for_large_parameters(self, a, b, x, t):
        assert relative_error(beta_mean_power(a, b, x, t), exact_power(a, b, x, t)) <= LARGE_MEANS

    @given(small, tiny, st.floats(1, 2), st.integers(0, 400))
    def test_overshooting_steps_are_exact_to_the_larger_part(self, a, b, x, t):
        exact = exact_power(a, b, x, t)
        larger = max(abs(exact), exact_power(a, b, 1.0, t))
        assert relative_error(beta_mean_power(a, b, x, t), exact, scale=larger) <= MEANS

    @pytest.mark.parametrize("t", [15_000, 25_020, 100_000])
    @pytest.mark.parametrize(
        ("a", "b", "x"), [(0.5, 0.5, 0.01), (0.1, 1e-6, 0.02), (1.5, 0.3, 0.002), (2.5, 3.0, 0.0003), (0.3, 1.7, 0.9)]
    )
    def test_equals_mpmath_in_long_runs(self, a, b, x, t):
        exact = mpmath.hyp2f1(-t, a, mpmath.mpf(a) + b, x, maxterms=10**6)
        assert relative_error(beta_mean_power(a, b, x, t), exact) <= MEANS

    @pytest.mark.parametrize("t", [0, 1, 107, 10**4, 10**6])
    @pytest.mark.parametrize("x", [0.0, 1e-7, 1e-4, 0.3, 0.999, 1.0])
    def test_ends(self, x, t):
        exact = (1 - mpmath.mpf(x)) ** t
        assert beta_mean_power(0.0, 0.5, x, t) == 1
        assert beta_mean_power(0.0, 0.0, x, t) == 1
        assert relative_error(beta_mean_power(0.7, 0.0, x, t), exact) <= MEANS
        uniform = (1 - exact * (1 - mpmath.mpf(x))) / ((t + 1) * mpmath.mpf(x)) if x else mpmath.mpf(1)
        assert relative_error(beta_mean_power(1.0, 1.0, x, t), uniform) <= MEANS

    @pytest.mark.parametrize("t", [30, 10**3, 10**6])
    def test_a_step_of_one_is_a_ratio_of_gamma_functions(self, t):
        exact = mpmath.rf(0.3, t) / mpmath.rf(mpmath.mpf(0.3) + 1.2, t)
        assert relative_error(beta_mean_power(1.2, 0.3, 1.0, t), exact) <= MEANS

    def test_steps_beyond_two_diverge_without_fault(self):
        assert beta_mean_power(0.5, 0.5, 2.1, 1000) > 1e30
        assert np.isinf(beta_mean_power(0.5, 0.5, 3.0, 10**6))


def test_arguments_broadcast():
    a, x, t = np.array([0.2, 0.7]), np.array([[0.1], [0.8], [1.6]]), np.arange(0, 4000, 400)[:, None, None]
    together = beta_mean_power(a, 0.5, x, t)
    assert together.shape == (10, 3, 2)
    singly = [[[beta_mean_power(i, 0.5, j, k) for i in a] for j in x[:, 0]] for k in t[:, 0, 0]]
    np.testing.assert_allclose(together, singly, rtol=MEANS)


@pytest.mark.parametrize("null", [(1e-9, 0, 0), (0, 1e-9, 0), (0, 0, 1e-9)], ids=["a", "b", "y"])
def test_tolerances_see_a_change_of_one_in_a_billion(null):
    given = np.array([0.7, 0.4, 12.0])
    exact = exact_exponential(*given)
    assert relative_error(beta_mean_exponential(*given * (1 + np.array(null))), exact) >= POWER * MEANS
    exact = exact_power(0.7, 0.4, 0.12, 150)
    a, b, x = np.array([0.7, 0.4, 0.12]) * (1 + np.array(null))
    assert relative_error(beta_mean_power(a, b, x, 150), exact) >= POWER * MEANS
