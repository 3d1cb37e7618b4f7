import numpy as np
import pytest

from tracer.errors import UserError
from tracer.evaluation.decay import exponential, power_law

STEPS = np.arange(10, 300, 10)
SHAPES = {"exponential": 0.7 * np.exp(-0.02 * STEPS), "power_law": 3.0 * STEPS**-0.45}


def test_a_shape_is_found_again():
    fit = exponential(STEPS, SHAPES["exponential"])
    assert fit.rate == pytest.approx(0.02)
    assert fit.scale == pytest.approx(0.7)
    assert fit.deviation < 1e-12
    fit = power_law(STEPS, SHAPES["power_law"])
    assert fit.rate == pytest.approx(0.45)
    assert fit.scale == pytest.approx(3.0)
    assert fit.deviation < 1e-12


def test_the_wrong_shape_deviates():
    assert power_law(STEPS, SHAPES["exponential"]).deviation > 0.3
    assert exponential(STEPS, SHAPES["power_law"]).deviation > 0.1


def test_deviation_is_the_spread_of_logarithms():
    noise = np.where(np.arange(len(STEPS)) % 2, 0.1, -0.1)
    assert exponential(STEPS, SHAPES["exponential"] * np.exp(noise)).deviation == pytest.approx(0.1, rel=0.02)


def test_what_cannot_be_fitted_is_refused():
    for fit in (exponential, power_law):
        with pytest.raises(UserError, match="at least three gaps, all positive"):
            fit([1, 2, 3], [1.0, 0.5, 0.0])
        with pytest.raises(UserError, match="at least three gaps"):
            fit([1, 2], [1.0, 0.5])
    with pytest.raises(UserError, match="after step 0"):
        power_law([0, 1, 2], [1.0, 0.5, 0.2])
