"""Settings matched mode by mode: put back into the closed forms, they leave what was asked for."""

import numpy as np
import pytest

from tracer.errors import UserError
from tracer.theory.closed_forms import ema, wma
from tracer.theory.matching import exponent_that_leaves, momentum_that_leaves

SPECTRUM = np.logspace(0, -2, 5)
RATE, STEPS, SHARE = 0.5, 2000, 0.3
TEACHER_CURVATURES = {"data": 0.9 * SPECTRUM, "parameter": np.full(5, 0.1)}
MATCHED = {"ema": (momentum_that_leaves, ema.student), "wma": (exponent_that_leaves, wma.student)}


@pytest.mark.parametrize("metric", TEACHER_CURVATURES)
@pytest.mark.parametrize("teacher", MATCHED)
def test_the_share_is_left_in_every_mode(teacher, metric):
    match, student = MATCHED[teacher]
    found = match(SHARE, SPECTRUM, TEACHER_CURVATURES[metric], RATE, STEPS)
    static = ema.student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, 1.0, STEPS)
    np.testing.assert_allclose(student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, found, STEPS), SHARE * static, rtol=1e-6)
    beside = student(SPECTRUM, TEACHER_CURVATURES[metric], RATE, 0.9 * found, STEPS)
    assert np.abs(beside / static / SHARE - 1).min() > 0.05


def test_one_momentum_serves_all_learned_modes_of_the_data_metric_alone():
    """About e^(-q (1 - m) T) is left: q is 1 / 1.9 in every mode of the data metric, and sigma / (sigma + 0.1) in the other's."""
    memory = {
        metric: (1 - momentum_that_leaves(SHARE, SPECTRUM, TEACHER_CURVATURES[metric], RATE, STEPS)) * STEPS
        for metric in TEACHER_CURVATURES
    }
    np.testing.assert_allclose(memory["data"][:4], -np.log(SHARE) * 1.9, rtol=0.06)
    assert memory["parameter"][-1] > 5 * memory["parameter"][0]


def test_what_no_setting_leaves_is_nan():
    unlearned = 1e-6  # fine-tuning alone leaves nearly all of this mode
    assert np.isnan(momentum_that_leaves(SHARE, [unlearned], [unlearned], RATE, STEPS)).all()
    assert np.isnan(exponent_that_leaves(SHARE, [unlearned], [unlearned], RATE, STEPS)).all()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_outside_its_range_is_refused(share):
    with pytest.raises(UserError, match="share must lie between 0 and 1"):
        momentum_that_leaves(share, SPECTRUM, TEACHER_CURVATURES["data"], RATE, STEPS)
