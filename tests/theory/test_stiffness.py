"""How a mode divides its stiffness, and its steps between two updates taken in one."""

import numpy as np
import pytest

from tests.theory.tolerances import CLOSED_FORM
from tracer.theory.closed_forms.stiffness import learning_rate_per_update, stiffness

pytestmark = pytest.mark.filterwarnings("error")


def test_a_mode_that_nothing_drives_is_the_teachers():
    found = stiffness([0.0, 0.0, 2.0], [0.0, 3.0, 0.0])
    assert [part.tolist() for part in found] == [[0, 3, 2], [0, 0, 1], [1, 1, 0]]


@pytest.mark.parametrize(
    ("curvature", "teacher_curvature"), [(0.0, 0.0), (1e-9, 0.0), (0.3, 0.2), (4.0, 1.0), (5.0, 5.0), (10.0, 5.0)]
)
@pytest.mark.parametrize("period", [1, 2, 7])
def test_one_step_takes_a_mode_as_far_as_all_steps_between_two_updates(curvature, teacher_curvature, period):
    """Towards p times a resting teacher, one step at a time, from a student at a distance of 1; x = eta c is 0 to 1.5 here."""
    distance = 1.0
    for _ in range(period):
        distance -= 0.1 * (curvature + teacher_curvature) * distance
    found = learning_rate_per_update(curvature, teacher_curvature, 0.1, period)
    if curvature + teacher_curvature == 0:
        assert found == pytest.approx(0.1 * period)
    else:
        assert 1 - found * (curvature + teacher_curvature) == pytest.approx(distance, abs=CLOSED_FORM)
    assert np.ndim(found) == 0


def test_small_steps_add_up_without_cancellation():
    assert learning_rate_per_update(1e-12, 0.0, 0.1, 5) == pytest.approx(0.5, rel=1e-12)
