"""Heads and the classifier that trains them, on the embedded model with random weights."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.tolerances import BFLOAT16, FLOAT32
from tracer.data.datasets import LabelledImages
from tracer.errors import UserError
from tracer.evaluation.zero_shot import classifier, logits
from tracer.models import clip
from tracer.models.classifier import Classifier
from tracer.models.head import Head
from tracer.tensor_files import save_tensors
from tracer.training.objective import Objective, Pairing

NAMES, TEMPLATES = ("one", "two", "three"), ("the digit {}", "a photo of the digit {}")


@pytest.fixture
def encoder():
    encoder = clip.create("glyphs", None)
    encoder.model.eval()
    return encoder


@pytest.fixture
def zero_shot(encoder):
    return Head(NAMES, classifier(encoder, NAMES, TEMPLATES).clone())


@pytest.fixture
def batch(encoder):
    rng = np.random.default_rng(0)
    images = encoder.preprocess(list(rng.integers(256, size=(6, 32, 32, 3), dtype=np.uint8)))
    return images, torch.tensor([2, 0, 1, 1, 0, 2])


def images_of(names):
    rng = np.random.default_rng(1)
    return LabelledImages(rng.integers(256, size=(4, 32, 32, 3), dtype=np.uint8), np.zeros(4, dtype=np.int64), names, TEMPLATES)


class TestHead:
    def test_zero_shot_head_answers_as_the_zero_shot_classifier(self, encoder, zero_shot):
        headed = dataclasses.replace(encoder, head=zero_shot)
        assert torch.equal(logits(headed, images_of(NAMES)), logits(encoder, images_of(NAMES)))

    def test_subset_of_its_classes_in_any_order(self, encoder, zero_shot):
        """As ImageNet-R and -A are subsets of ImageNet."""
        with torch.no_grad():
            zero_shot.weight.mul_(torch.tensor([[1.0], [2.0], [3.0]]))
        headed = dataclasses.replace(encoder, head=zero_shot)
        everything, some = logits(headed, images_of(NAMES)), logits(headed, images_of(("three", "one")))
        torch.testing.assert_close(some, everything[:, [2, 0]])
        assert not torch.allclose(some, logits(encoder, images_of(("three", "one"))))

    def test_other_classes_are_left_to_the_texts(self, encoder, zero_shot):
        headed = dataclasses.replace(encoder, head=Head(NAMES, torch.zeros_like(zero_shot.weight)))
        others = images_of(("one", "four"))
        assert torch.equal(logits(headed, others), logits(encoder, others))
        assert logits(headed, images_of(NAMES)).abs().max() == 0

    def test_classes_called_alike_keep_their_own_embeddings(self):
        """As ImageNet's two missiles."""
        head = Head(("missile", "dog", "missile"), torch.arange(6.0).view(3, 2))
        assert torch.equal(head.embeddings(("missile", "dog", "missile")), head.weight)
        assert head.embeddings(("dog", "missile")).tolist() == [[2, 3], [0, 1]]

    def test_saved_head_is_the_same(self, zero_shot, tmp_path):
        zero_shot.save(tmp_path / "head.safetensors")
        loaded = Head.load(tmp_path / "head.safetensors", zero_shot.weight.shape[1])
        assert loaded.names == NAMES
        assert torch.equal(loaded.weight, zero_shot.weight)

    def test_other_files_are_refused(self, encoder, zero_shot, tmp_path):
        zero_shot.save(tmp_path / "head.safetensors")
        clip.save(encoder.model, tmp_path / "student.safetensors")
        save_tensors(tmp_path / "short.safetensors", {"weight": zero_shot.weight[:2]}, {"classes": NAMES})
        width = zero_shot.weight.shape[1]
        for name, asked in (("head", width + 1), ("student", width), ("short", width)):
            with pytest.raises(UserError, match="holds no head"):
                Head.load(tmp_path / f"{name}.safetensors", asked)


class TestClassifier:
    def loss(self, model, batch):
        objective = Objective({"classification": 1.0})
        return objective.total(objective.of_features(Pairing(model(*batch))))

    def test_loss_is_the_cross_entropy_of_all_classes(self, encoder, zero_shot, batch):
        images, labels = batch
        loss = self.loss(Classifier(encoder.model, zero_shot, True), batch)
        embedded = functional.normalize(encoder.model.encode_image(images), dim=-1)
        scores = (encoder.model.logit_scale * embedded @ zero_shot.weight.T).softmax(dim=-1)
        expected = -sum(scores[i, label].log() for i, label in enumerate(labels)) / len(labels)
        assert loss.item() == pytest.approx(expected.item(), rel=FLOAT32 * 10)
        assert self.loss(Classifier(encoder.model, zero_shot, True), (images, labels.flip(0) * 0)).item() != loss.item()

    @pytest.mark.parametrize("trains_tower", [False, True])
    def test_nothing_else_gets_a_gradient(self, encoder, zero_shot, batch, trains_tower):
        model = Classifier(encoder.model, zero_shot, trains_tower)
        self.loss(model, batch).backward()
        moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
        tower = {f"encoder.clip.visual.{name}" for name, _ in encoder.model.clip.visual.named_parameters()}
        assert moved == {"head.weight", *(tower if trains_tower else ())}
        assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    @pytest.mark.parametrize("trains_tower", [False, True])
    def test_frozen_tower_keeps_its_statistics(self, zero_shot, batch, trains_tower):
        encoder = clip.create("glyphs", None, batch_norm="tracked")
        before = copy.deepcopy(dict(encoder.model.named_buffers()))
        Classifier(encoder.model, zero_shot, trains_tower).train()(*batch)
        same = all(torch.equal(buffer, before[name]) for name, buffer in encoder.model.named_buffers())
        assert same == (not trains_tower)

    def test_logits_are_not_rounded_under_autocast(self, encoder, zero_shot, batch):
        model = Classifier(encoder.model, zero_shot, True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            products = model(*batch).image
        assert products.dtype == torch.float32
        assert not torch.equal(products, products.bfloat16().float())
        torch.testing.assert_close(products, model(*batch).image, atol=BFLOAT16, rtol=0)
