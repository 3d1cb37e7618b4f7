"""Powers of the second moment as metrics, written out."""

import numpy as np
import pytest

from tests.theory.cases import random_problem
from tests.theory.tolerances import CLOSED_FORM
from tracer.theory import Spectral


def test_data_metric_is_the_second_moment_to_the_last_bit():
    problem = random_problem(5, "rank-deficient")
    assert (Spectral(0.0).matrix(problem) == problem.second_moment).all()
    assert (Spectral().spectrum(problem) == problem.eigenvalues).all()


def test_negative_powers_of_the_share_are_higher_powers_of_the_moment():
    problem = random_problem(5, "rank-deficient")
    np.testing.assert_allclose(Spectral(-1.0).matrix(problem), problem.second_moment @ problem.second_moment, atol=CLOSED_FORM)
    squares = problem.eigenvalues**2 * (np.arange(5) < problem.rank)
    np.testing.assert_allclose(Spectral(-1.0).spectrum(problem), squares, atol=CLOSED_FORM)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_other_powers_are_taken_on_the_task_subspace(alpha):
    """Sigma^(1 - alpha) by its inverse: times Sigma^(alpha) it is Sigma's projector times Sigma."""
    problem = random_problem(5, "rank-deficient")
    kept = problem.eigenvectors[:, : problem.rank]
    powered = (kept * problem.eigenvalues[: problem.rank] ** alpha) @ kept.T
    np.testing.assert_allclose(Spectral(alpha).matrix(problem) @ powered, problem.second_moment, atol=1e3 * CLOSED_FORM)
