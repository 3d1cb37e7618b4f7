import dataclasses

import numpy as np
import pytest
import torch

from tests.tolerances import FLOAT32, FLOAT64
from tracer.data.datasets import LabelledImages
from tracer.errors import UserError
from tracer.evaluation.forgetting import Shown, changes, compared
from tracer.evaluation.zero_shot import classifier, image_embeddings, logits
from tracer.models import clip
from tracer.toy import small_clip

BEFORE = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]))
AFTER = torch.log(torch.tensor([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]]))


def test_answers_by_hand():
    told = changes(BEFORE, AFTER)
    p, q = BEFORE.double().exp().numpy(), AFTER.double().exp().numpy()
    assert told == {
        "images": 4,
        "agreement": 0.5,
        "kl": pytest.approx(np.mean(np.sum(p * np.log(p / q), axis=1)), abs=FLOAT32),
    }
    assert told["kl"] != pytest.approx(np.mean(np.sum(q * np.log(q / p), axis=1)), abs=100 * FLOAT32)


def test_what_is_forgotten_and_learnt():
    """Right before: images 0, 1 and 3; after: 0, 2 and 3."""
    told = changes(BEFORE, AFTER, torch.tensor([0, 1, 1, 2]))
    counts = {name: told[name] for name in ("right_before", "forgotten", "learnt")}
    assert counts == {"right_before": 3, "forgotten": 1, "learnt": 1}
    assert (told["accuracy_before"], told["accuracy_after"]) == (0.75, 0.75)


def test_a_scale_of_the_logits_counts():
    """The softmax is each model's own: the same answers, given more surely, diverge."""
    assert changes(BEFORE, BEFORE)["kl"] == pytest.approx(0, abs=FLOAT64)
    told = changes(BEFORE, 2 * BEFORE)
    assert told["agreement"] == 1
    assert told["kl"] > 0.01


@pytest.fixture
def models():
    return [clip.create(small_clip.ARCHITECTURE, seed) for seed in small_clip.shipped()[:2]]


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(256, size=(300, 32, 32, 3), dtype=np.uint8)
    labels = np.random.default_rng(1).integers(3, size=300)
    return LabelledImages(pixels, labels, ("zero", "one", "two"), ("the digit {}",))


def told(models, shown):
    classifiers = [classifier(model, shown.words.class_names, shown.words.templates) for model in models]
    return compared("some", models, shown, classifiers)


def test_both_models_answer_the_same_images(models, images):
    found = told(models, Shown(images.images, images, labelled=True))
    expected = changes(*(logits(model, images) for model in models), torch.as_tensor(images.labels))
    one, other = (torch.cat([*image_embeddings(model, images.images)]) for model in models)
    cosine = torch.nn.functional.cosine_similarity(one, other).mean().item()
    assert found == {**expected, "cosine": pytest.approx(cosine, abs=FLOAT32)}
    assert abs(cosine) < 0.9
    unlabelled = told(models, Shown(images.images, images, labelled=False))
    assert unlabelled == {name: found[name] for name in ("images", "agreement", "kl", "cosine")}


def test_a_model_agrees_with_itself(models, images):
    found = told([models[0], models[0]], Shown(images.images, images, labelled=True))
    assert found["agreement"] == 1
    assert (found["forgotten"], found["learnt"]) == (0, 0)
    assert found["kl"] == pytest.approx(0, abs=FLOAT64)
    assert found["cosine"] == pytest.approx(1, abs=FLOAT32)


def test_labels_that_accept_several_classes(models, images):
    several = dataclasses.replace(images, labels=images.labels % 2, accepted=((0, 2), (1,)))
    found = told(models, Shown(several.images, several, labelled=True))
    assert found == {
        **changes(*(logits(model, several) for model in models), torch.as_tensor(several.labels)),
        "cosine": found["cosine"],
    }
    assert found["agreement"] != told(models, Shown(images.images, images, labelled=False))["agreement"]


def test_answers_that_are_not_finite_are_refused(models, images):
    with torch.no_grad():
        models[1].model.image_tower().attnpool.c_proj.weight.fill_(1e38)
    with pytest.raises(UserError, match="of 300 images of the set some are not finite"):
        told(models, Shown(images.images, images, labelled=False))
