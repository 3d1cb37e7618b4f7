import math

import numpy as np
import pytest
import torch

from tests.tolerances import FLOAT64, POWER
from tracer.training import confidence


@pytest.fixture
def logits():
    return 3 * torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def probabilities(logits):
    """Rows' and columns' softmax, written out."""
    powers = np.exp(logits.numpy())
    return powers / powers.sum(axis=1, keepdims=True), powers / powers.sum(axis=0, keepdims=True)


def test_entropy_is_minus_p_log_p_of_both_directions(logits):
    rows, columns = probabilities(logits)
    one_way, other_way = (-(p * np.log(p)).sum() / 5 for p in (rows, columns))
    assert confidence.entropy(logits).item() == pytest.approx((one_way + other_way) / 2, rel=FLOAT64)
    assert confidence.entropy(logits).item() != pytest.approx(one_way, rel=POWER * FLOAT64)  # one direction alone


def test_confidence_is_the_largest_probability_of_both_directions(logits):
    rows, columns = probabilities(logits)
    one_way, other_way = rows.max(axis=1).mean(), columns.max(axis=0).mean()
    assert confidence.confidence(logits).item() == pytest.approx((one_way + other_way) / 2, rel=FLOAT64)
    assert confidence.confidence(logits).item() != pytest.approx(one_way, rel=POWER * FLOAT64)


def test_the_ends_of_the_scales():
    equal, certain = torch.zeros(8, 8), 1e4 * torch.eye(8)
    assert confidence.entropy(equal).item() == pytest.approx(math.log(8))
    assert confidence.confidence(equal).item() == pytest.approx(1 / 8)
    assert confidence.entropy(certain).item() == 0
    assert confidence.confidence(certain).item() == 1


@pytest.mark.parametrize("measure", [confidence.entropy, confidence.confidence])
def test_no_gradient_is_kept(measure, logits):
    assert not measure(logits.requires_grad_()).requires_grad
