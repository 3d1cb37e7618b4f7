import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.tolerances import BATCHED_LOGITS
from tracer.data.datasets import LabelledImages, Suite
from tracer.evaluation.report import evaluate
from tracer.evaluation.zero_shot import classifier, logits
from tracer.models.dual_encoder import Encoder, Features

VECTORS = {
    "a cat": [3.0, 0.0, 0.0],
    "cat": [0.0, 0.5, 0.0],
    "a dog": [0.0, 0.0, 2.0],
    "dog": [0.0, 0.0, 1.0],
    "a cow": [0.0, -1.0, 0.0],
    "cow": [0.0, -1.0, 0.0],
}
NAMES, TEMPLATES, SCALE = ("cat", "dog", "cow"), ("a {}", "{}"), 7.0


class Lookup(nn.Module):
    """Captions have given vectors, and an image's embedding is its first pixel."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.tensor(list(VECTORS.values())))
        self.dropout = nn.Dropout(0.5)

    @property
    def logit_scale(self):
        return torch.tensor(SCALE)

    def encode_text(self, tokens):
        return self.table[tokens[:, 0]]

    def encode_image(self, images):
        return self.dropout(images)

    def forward(self, images, tokens):
        return Features(self.encode_image(images), self.encode_text(tokens), self.logit_scale)


@pytest.fixture
def encoder():
    order = list(VECTORS)

    def preprocess(images):
        return torch.from_numpy(np.stack([image[0, 0] for image in images]).astype(np.float32)) - 100

    return Encoder(Lookup(), preprocess, preprocess, lambda texts: torch.tensor([[order.index(text)] for text in texts]))


def images_of(pixels, labels):
    return LabelledImages(np.array(pixels, dtype=np.uint8)[:, None, None, :], np.array(labels), NAMES, TEMPLATES)


def test_class_embedding_is_the_mean_of_unit_template_embeddings(encoder):
    weights = classifier(encoder, NAMES, TEMPLATES)
    cat = functional.normalize(torch.tensor([1.0, 1.0, 0.0]), dim=0)  # each template counts once, however long its vector
    torch.testing.assert_close(weights, torch.stack([cat, torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.0, -1.0, 0.0])]))


def test_logits_are_scaled_cosines(encoder):
    answers = logits(encoder, images_of([[102, 102, 100], [100, 100, 105]], [0, 1]))
    half = 2**-0.5
    torch.testing.assert_close(answers, SCALE * torch.tensor([[1.0, 0.0, -half], [0.0, 1.0, 0.0]]))
    assert answers.dtype == torch.float32


def test_batches_do_not_change_the_answers(encoder):
    rng = np.random.default_rng(0)
    images = images_of(rng.integers(110, 256, size=(11, 3)), np.zeros(11, dtype=np.int64))
    answers = logits(encoder, images)
    assert answers.shape == (11, 3)
    torch.testing.assert_close(logits(encoder, images, batch_size=4), answers, atol=BATCHED_LOGITS, rtol=0)


def test_dropout_is_off(encoder):
    encoder.model.train()
    images = images_of([[103, 101, 107]] * 50, [0] * 50)
    assert logits(encoder, images).unique(dim=0).shape == (1, 3)


def test_answers_need_no_gradient(encoder):
    assert not logits(encoder, images_of([[103, 101, 107]], [0])).requires_grad


class TestSuiteReport:
    PIXELS = ([102, 102, 100], [100, 100, 105], [100, 50, 100], [100, 100, 105])

    def test_means_are_over_sets_and_kinds_stay_apart(self, encoder):
        task = images_of(self.PIXELS, [0, 1, 2, 1])
        half, quarter = images_of(self.PIXELS, [0, 1, 0, 0]), images_of(self.PIXELS[:1] * 4, [0, 1, 2, 1])
        report = evaluate(encoder, Suite(task, {"half": half, "quarter": quarter}, {"other": half}))
        assert {name: row["accuracy"] for name, row in report["sets"].items()} == {
            "id": 1.0,
            "half": 0.5,
            "quarter": 0.25,
            "other": 0.5,
        }
        assert report["id"]["accuracy"] == 1
        assert report["ood"]["accuracy"] == pytest.approx(0.375)
        assert report["knowledge"]["accuracy"] == 0.5
        for score in ("ece", "nll", "brier"):
            mean = (report["sets"]["half"][score] + report["sets"]["quarter"][score]) / 2
            assert report["ood"][score] == pytest.approx(mean)

    def test_diagrams_pool_all_shifted_images(self, encoder):
        task, shifted = images_of(self.PIXELS, [0, 1, 2, 1]), images_of(self.PIXELS[:3], [0, 1, 2])
        report = evaluate(encoder, Suite(task, {"one": shifted, "two": task}, {}))
        assert sum(report["reliability"]["id"]["counts"]) == 4
        assert sum(report["reliability"]["ood"]["counts"]) == 7
        assert report["knowledge"] == {}

    def test_task_alone(self, encoder):
        report = evaluate(encoder, Suite(images_of(self.PIXELS, [0, 1, 2, 1])))
        assert set(report["reliability"]) == {"id"}
        assert report["ood"] == {}
