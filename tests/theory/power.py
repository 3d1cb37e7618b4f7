"""A comparison that also shows its own power: wrong predictions must fail it by a wide margin."""

import numpy as np

from tests.tolerances import POWER


def assert_agrees(predicted, measured, tolerance, *, nulls, relative=False):
    """Predicted and measured arrays differ by at most the tolerance, and each null prediction does so by POWER times that.

    Args:
        nulls: name -> a prediction that is known to be wrong somewhere in the arrays.
        relative: whether differences are relative to what was measured.
    """
    scale = np.abs(measured) if relative else np.ones(np.shape(measured))

    def error(prediction):
        return np.max(np.abs(prediction - measured) / scale)

    assert np.shape(predicted) == np.shape(measured)
    assert error(predicted) <= tolerance
    for name, null in nulls.items():
        assert error(null) >= POWER * tolerance, f"the test could not tell the prediction from this one: {name}"
