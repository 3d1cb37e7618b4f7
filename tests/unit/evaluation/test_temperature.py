"""Temperature scaling: it changes no answer, never worsens what it is fitted on, and finds a temperature that was planted."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.tolerances import POWER
from tracer.errors import UserError
from tracer.evaluation.metrics import scores
from tracer.evaluation.temperature import LARGEST, fit

STATIONARY = 1e-6  # of the slope of the mean NLL by 1 / T, whose curvature is of size 1 and 1 / T known to 1e-7
ROUNDED = 1e-9


def drawn(seed, sharpness=1.0, count=400, classes=5):
    """Logits, and labels drawn from softmax(logits / sharpness): the calibrated temperature is `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((count, classes))
    noise = rng.gumbel(size=(count, classes))
    return torch.from_numpy(logits), torch.from_numpy((logits / sharpness + noise).argmax(axis=1))


def loss(logits, labels):
    return F.cross_entropy(logits, labels).item()


@given(st.integers(0, 10**6), st.floats(0.3, 3.0))
def test_the_loss_is_never_larger_and_no_answer_changes(seed, sharpness):
    logits, labels = drawn(seed, sharpness, count=60)
    temperature = fit(logits, labels)
    assert loss(logits / temperature, labels) <= loss(logits, labels)
    assert torch.equal((logits / temperature).argmax(1), logits.argmax(1))
    assert scores(logits / temperature, labels).accuracy == scores(logits, labels).accuracy


@given(st.integers(0, 10**6), st.floats(0.3, 3.0))
def test_it_is_where_the_slope_vanishes(seed, sharpness):
    """By 1 / T the slope is the mean of the expected less the right logit (Guo et al. 2017); at T = 1 it is far from 0."""
    logits, labels = drawn(seed, sharpness)

    def slope(temperature):
        expected = (torch.softmax(logits / temperature, dim=1) * logits).sum(1)
        return (expected - logits.gather(1, labels[:, None])[:, 0]).mean().item()

    temperature = fit(logits, labels)
    assert abs(slope(temperature)) < STATIONARY
    assert abs(slope(1.3 * temperature)) > POWER * STATIONARY


@pytest.mark.parametrize("planted", [0.4, 1.0, 2.5])
def test_a_planted_temperature_is_found(planted):
    """To a few standard errors, which for 40,000 labels are about half a percent; a temperature of 1 would miss two of three."""
    found = fit(*drawn(0, planted, count=40_000))
    assert found == pytest.approx(planted, rel=0.03)
    assert planted == 1.0 or abs(1 - planted) > 0.3 * planted


def test_scaled_logits_get_the_scale():
    logits, labels = drawn(1)
    assert fit(4 * logits, labels) == pytest.approx(4 * fit(logits, labels), rel=1e-5)


def test_it_mends_a_miscalibrated_model():
    logits, labels = drawn(2, sharpness=2.5, count=20_000)
    held_out, truth = drawn(3, sharpness=2.5, count=20_000)
    temperature = fit(logits, labels)
    assert scores(held_out / temperature, truth).ece < 0.02 < 0.1 < scores(held_out, truth).ece


def test_a_calibrated_model_gains_nothing():
    logits, labels = drawn(2, count=20_000)
    assert loss(logits, labels) - loss(logits / fit(logits, labels), labels) < 1e-4


@pytest.mark.parametrize(("right", "told"), [(True, "10 are right"), (False, "0 are right")])
def test_no_best_temperature_is_told(right, told):
    """All answers right, or all wrong ones the surest: the best temperature is 0, or infinite."""
    labels = torch.arange(10) % 3
    logits = F.one_hot(labels if right else (labels + 1) % 3, 3).double()
    with pytest.raises(UserError, match=f"no temperature from 0.05 to {LARGEST:g} fits the 10 answers best, of which {told}"):
        fit(logits, labels)
