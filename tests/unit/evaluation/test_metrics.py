import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from tests.tolerances import FLOAT64
from tracer.evaluation.metrics import BINS, reliability, scores


def logits_of(probabilities):
    return torch.log(torch.tensor(probabilities, dtype=torch.float64))


def drawn(seed, n, classes, sharpness):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(sharpness * rng.standard_normal((n, classes))), torch.from_numpy(rng.integers(classes, size=n))


def calibration_error(confidence, right, bins):
    """By definition: over bins, the share of images in it times |accuracy - mean confidence|."""
    total = 0.0
    for i in range(bins):
        inside = [j for j, c in enumerate(confidence) if i / bins <= c < (i + 1) / bins or (i == bins - 1 and c == 1)]
        if inside:
            total += abs(sum(right[j] - confidence[j] for j in inside)) / len(confidence)
    return total


def calibrated(n, seed=0):
    """Two-class logits whose confidences are true: each label is drawn from the probabilities given."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.05, 0.95, n)
    labels = (rng.uniform(size=n) > first).astype(np.int64)
    return logits_of(np.stack([first, 1 - first], axis=1)), torch.from_numpy(labels)


datasets = st.builds(drawn, st.integers(0, 10**6), st.integers(1, 60), st.integers(2, 6), st.floats(0.1, 8))


@given(datasets)
def test_scores_equal_sklearn_and_the_definition(data):
    logits, labels = data
    probabilities = logits.softmax(dim=-1).numpy()
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes, result = list(range(logits.shape[1])), scores(logits, labels)
    right = (probabilities.argmax(axis=1) == labels.numpy()).astype(float)
    assert result.count == len(labels)
    assert result.accuracy == pytest.approx(accuracy_score(labels, probabilities.argmax(axis=1)))
    assert result.nll == pytest.approx(log_loss(labels, probabilities, labels=classes), abs=1e-9)
    one_hot = np.eye(len(classes))[labels]
    assert result.brier == pytest.approx(((probabilities - one_hot) ** 2).sum(axis=1).mean(), abs=FLOAT64)
    confidence = probabilities.max(axis=1).tolist()
    assert result.ece == pytest.approx(calibration_error(confidence, right, BINS), abs=1e-9)


def test_brier_is_sklearns_for_two_classes():
    """Summed over both classes it is twice sklearn's score of one."""
    logits, labels = drawn(1, 50, 2, 2.0)
    expected = 2 * brier_score_loss(labels, logits.softmax(dim=-1)[:, 1])
    assert scores(logits, labels).brier == pytest.approx(expected)


def test_calibration_error_by_hand():
    """Four at 0.9, three of them right; two at 0.5, both right: (4 |0.75 - 0.9| + 2 |1 - 0.5|) / 6."""
    logits = logits_of([[0.9, 0.06, 0.04]] * 4 + [[0.5, 0.3, 0.2]] * 2)
    labels = torch.tensor([0, 0, 0, 1, 0, 0])
    assert scores(logits, labels).ece == pytest.approx((4 * 0.15 + 2 * 0.5) / 6)
    assert scores(logits, labels).accuracy == pytest.approx(5 / 6)


def test_certain_answers_are_in_the_last_bin():
    """Half at confidence 1, half of them right; half at 0.95, all right: one bin, |0.75 - 0.975|."""
    logits = torch.tensor([[100.0, 0.0]] * 20 + [[np.log(19), 0.0]] * 20, dtype=torch.float64)
    labels = torch.tensor([0, 1] * 10 + [0] * 20)
    assert reliability(logits, labels).counts[-1] == 40
    assert scores(logits, labels).ece == pytest.approx(0.975 - 0.75)


def test_mean_of_batches_is_biased_upwards():
    """A calibrated model: over the whole set the error is near zero, its mean over batches of 32 is not."""
    logits, labels = calibrated(8192)
    whole = scores(logits, labels).ece
    batches = [scores(*part).ece for part in zip(logits.split(32), labels.split(32), strict=True)]
    assert whole < 0.02
    assert np.mean(batches) > 5 * whole


@given(datasets)
def test_diagram_agrees_with_the_scores(data):
    logits, labels = data
    diagram, result = reliability(logits, labels), scores(logits, labels)
    counts, confidence, accuracy = (np.array(part) for part in (diagram.counts, diagram.confidence, diagram.accuracy))
    assert len(counts) == len(confidence) == len(accuracy) == BINS
    assert counts.sum() == len(labels)
    assert (counts * accuracy).sum() == pytest.approx(result.accuracy * len(labels))
    assert (counts * np.abs(accuracy - confidence)).sum() / len(labels) == pytest.approx(result.ece, abs=1e-9)
    occupied = np.flatnonzero(counts)
    assert ((confidence[occupied] * BINS).astype(int).clip(max=BINS - 1) == occupied).all()
    assert (confidence[counts == 0] == 0).all()


def test_single_precision_logits_are_scored_in_double():
    logits, labels = drawn(2, 40, 3, 3.0)
    assert scores(logits.float(), labels).nll == pytest.approx(scores(logits.float().double(), labels).nll, abs=FLOAT64)
