"""What counts as symmetric and positive semidefinite: up to round-off in the unit of the matrix, whatever that is."""

import re

import numpy as np
import pytest

from tracer.errors import UserError
from tracer.theory.matrix_checks import positive_semidefinite

UNITS = [1e-9, 1.0, 1e9]
LOPSIDED, SADDLE = np.array([[1.0, 0.25], [0.0, 1.0]]), np.diag([1.0, -0.5])


@pytest.mark.parametrize("unit", UNITS)
def test_faults_are_found_in_any_unit(unit):
    for matrix, told in (
        (LOPSIDED, f"symmetric, and differs from its transpose by {0.25 * unit:.2g}"),
        (SADDLE, f"positive semidefinite, and has the eigenvalue {-0.5 * unit:.3g}"),
    ):
        with pytest.raises(UserError, match=f"^m must be {re.escape(told)}"):
            positive_semidefinite("m", unit * matrix)


@pytest.mark.parametrize("unit", UNITS)
def test_round_off_is_forgiven_and_removed_in_any_unit(unit):
    nearly = np.diag([1.0, -0.9e-8]) + np.array([[0, 0.9e-8], [0, 0]])
    found = positive_semidefinite("m", unit * nearly)
    assert (found == found.T).all()
    np.testing.assert_allclose(found, unit * (nearly + nearly.T) / 2)
    for worse in (np.diag([1.0, -1.1e-8]), np.diag([1.0, 0.0]) + np.array([[0, 1.1e-8], [0, 0]])):
        with pytest.raises(UserError, match="must be"):
            positive_semidefinite("m", unit * worse)
