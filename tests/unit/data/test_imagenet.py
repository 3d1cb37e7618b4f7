"""Replicas of the ImageNet family give an encoder that sees what is planted in them the accuracies worked out by hand.

Wrong readings (numeric folders in text order, answers from outside the subset, an uncut frame) give others.
"""

import dataclasses

import numpy as np
import pytest
import torch

from tests import replicas
from tracer.data import imagenet, label_tables
from tracer.errors import UserError
from tracer.evaluation.metrics import scores
from tracer.evaluation.report import evaluate
from tracer.evaluation.zero_shot import logits

TEMPLATES = ("a photo of a {}.", "the {}")
SHIFTED = ("v2", "r", "a", "sketch", "objectnet")
# 0 tench, 1 goldfish, 2 white shark, 5 electric ray, 6 stingray, 388 panda, 423 barber chair, 559 folding chair, 610 jersey,
# 765 rocking chair, 954 banana; -R has neither 0 nor 5, -A has neither 0 nor 2
PLANTED = {
    "id": {"n01440764": [(0, 5)], "n01443537": [(1, 0)], "n02510455": [(388, 0)], "n07753592": [(953, 954)]},
    "v2": {"2": [(2, 0)], "10": [(10, 0)], "100": [(100, 0)], "999": [(998, 999)]},
    "r": {"n01443537": [(1, 0), (0, 1)], "n07753592": [(5, 954), (1, 954)]},
    "a": {"n01498041": [(6, 0), (2, 6)], "n07753592": [(954, 1)]},
    "sketch": {"n02510455": [(388, 1)], "n01443537": [(387, 1)]},
    "objectnet": {
        "chair": [(559, 954), (0, 765), (954, 423)],
        "banana": [(954, 1)],
        "t-shirt": [(0, 610)],
        "squeegee": [(1, 2)],
    },
}
EXPECTED = {"id": 3 / 4, "v2": 3 / 4, "r": 3 / 4, "a": 1, "sketch": 1 / 2, "objectnet": 4 / 5}
COUNTS = {"id": 4, "v2": 4, "r": 4, "a": 3, "sketch": 2, "objectnet": 5}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return replicas.imagenet_family(tmp_path_factory.mktemp("replicas"), PLANTED)


@pytest.fixture(scope="module", autouse=True)
def few_templates():
    """80 of them would only take longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_tables, "openai_templates", lambda: TEMPLATES)
        yield


@pytest.fixture(scope="module")
def encoder():
    return replicas.sighted(label_tables.imagenet_class_names(), TEMPLATES)


@pytest.fixture(scope="module")
def sets(root, few_templates):
    return imagenet.suite(root, SHIFTED, {}).sets()


def accuracy(encoder, images):
    return scores(logits(encoder, images), torch.as_tensor(images.labels)).accuracy


def test_whole_family(root, encoder):
    calls = []

    def tokenize(texts):
        calls.append(len(texts))
        return encoder.tokenize(texts)

    report = evaluate(dataclasses.replace(encoder, tokenize=tokenize), imagenet.suite(root, SHIFTED, {}))
    assert {name: row["accuracy"] for name, row in report["sets"].items()} == EXPECTED
    assert {name: row["count"] for name, row in report["sets"].items()} == COUNTS
    assert report["ood"]["accuracy"] == pytest.approx(sum(EXPECTED[name] for name in SHIFTED) / 5)
    assert sum(report["reliability"]["ood"]["counts"]) == sum(COUNTS[name] for name in SHIFTED)
    assert calls == [2000]  # one classifier for all sets


def test_workers_do_not_change_the_answers(sets, encoder):
    alone, helped = (logits(encoder, sets["r"], batch_size=3, workers=workers) for workers in (0, 1))
    assert alone.shape == (4, 200)
    assert (alone == helped).all()


def test_sets_may_be_chosen_and_be_elsewhere(root, tmp_path):
    (root / "imagenet-r").rename(tmp_path / "moved")
    try:
        suite = imagenet.suite(root, ["r"], {"r": tmp_path / "moved"})
        assert {name: len(images) for name, images in suite.sets().items()} == {"id": 4, "r": 4}
    finally:
        (tmp_path / "moved").rename(root / "imagenet-r")


@pytest.mark.parametrize("name", ["id", "r", "objectnet"])
def test_scores_are_those_of_the_restricted_distribution(sets, encoder, name):
    """From what was planted, with numpy."""
    accepted = {
        "id": [(position,) for position in range(1000)],
        "r": list(label_tables.imagenet_subset("r").values()),
        "objectnet": [(423, 559, 765), (610,), (954,)],
    }[name]
    nll, brier, confidences, right = [], [], [], []
    folders = {"chair": 423, "t-shirt": 610, "banana": 954}
    for folder, images in PLANTED[name].items():
        if folder == "squeegee":
            continue
        truth = folders.get(folder) or label_tables.imagenet_synsets().index(folder)
        label = next(i for i, classes in enumerate(accepted) if truth in classes)
        for first, second in images:
            strengths = np.zeros(1000)
            strengths[first] += replicas.FIRST
            strengths[second] += replicas.SECOND
            of_labels = 3 * np.array([strengths[list(classes)].max() for classes in accepted]) / np.linalg.norm(strengths)
            probabilities = np.exp(of_labels) / np.exp(of_labels).sum()
            nll.append(-np.log(probabilities[label]))
            brier.append(((probabilities - np.eye(len(accepted))[label]) ** 2).sum())
            confidences.append(probabilities.max())
            right.append(probabilities.argmax() == label)
    result = scores(logits(encoder, sets[name]), torch.as_tensor(sets[name].labels))
    assert result.nll == pytest.approx(np.mean(nll), rel=1e-5)
    assert result.brier == pytest.approx(np.mean(brier), rel=1e-5)
    bins = np.ceil(np.array(confidences) * 15).astype(int)
    gaps = [abs(sum(np.array(right)[bins == b]) - sum(np.array(confidences)[bins == b])) for b in set(bins)]
    assert result.ece == pytest.approx(sum(gaps) / len(right), rel=1e-5)


class TestWrongReadingsDiffer:
    """Each of these would go unnoticed if the accuracies above did not tell it apart."""

    def test_text_order_of_numeric_folders(self, root, encoder):
        in_text_order = {folder: (position,) for position, folder in enumerate(sorted(map(str, range(1000))))}
        images = imagenet.labelled_folders(root / imagenet.FOLDERS["v2"], in_text_order)
        assert accuracy(encoder, images) == 0

    @pytest.mark.parametrize(("name", "unrestricted"), [("r", 1 / 4), ("a", 2 / 3), ("objectnet", 2 / 5)])
    def test_answers_from_outside_the_subset(self, sets, encoder, name, unrestricted):
        images = sets[name]
        taken = {position for classes in images.accepted for position in classes}
        others = tuple((position,) for position in range(1000) if position not in taken)
        assert accuracy(encoder, dataclasses.replace(images, accepted=images.accepted + others)) == pytest.approx(unrestricted)

    def test_first_of_several_classes_alone(self, sets, encoder):
        images = sets["objectnet"]
        assert accuracy(encoder, dataclasses.replace(images, accepted=tuple(c[:1] for c in images.accepted))) < 4 / 5

    def test_uncut_frame(self, root, encoder):
        meanings = label_tables.objectnet(root / "objectnet-1.0" / "mappings")
        assert accuracy(encoder, imagenet.labelled_folders(root / "objectnet-1.0" / "images", meanings)) < 4 / 5


class TestFlatValidation:
    IMAGES = ((0, (0, 5)), (954, (954, 5)), (388, (388, 5)), (1, (0, 1)))

    def test_devkit_labels_the_images(self, tmp_path, encoder):
        images = imagenet.validation(replicas.flat_validation(tmp_path, list(self.IMAGES)))
        assert images.labels.tolist() == [0, 954, 388, 1]  # not 999, 45, ..., the devkit's own numbers
        assert accuracy(encoder, images) == 3 / 4

    def test_missing_devkit_is_told(self, tmp_path):
        path = replicas.flat_validation(tmp_path, list(self.IMAGES))
        (tmp_path / "ILSVRC2012_devkit_t12").rename(tmp_path / "devkit")
        with pytest.raises(UserError, match=r"no class folders, and .*ground_truth\.txt cannot be read"):
            imagenet.validation(path)

    def test_missing_images_are_told(self, tmp_path):
        path = replicas.flat_validation(tmp_path, list(self.IMAGES))
        (path / "ILSVRC2012_val_00000002.JPEG").unlink()
        with pytest.raises(UserError, match=r"has 3 images, but .* labels 4"):
            imagenet.validation(path)

    def test_other_tables_are_told(self, tmp_path):
        path = replicas.flat_validation(tmp_path, list(self.IMAGES))
        (tmp_path / imagenet.DEVKIT / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3\n1001\n")
        with pytest.raises(UserError, match="is not ImageNet's devkit as published"):
            imagenet.validation(path)


class TestWrongFolders:
    MEANINGS = label_tables.imagenet_subset("a")

    def folders(self, path, names, planted):
        return replicas.class_folders(path, names, planted)

    def test_another_data_set(self, root):
        with pytest.raises(UserError, match=r"not a folder of the 200 classes expected there \(\d+ unknown, first 'n0"):
            imagenet.labelled_folders(root / "sketch", self.MEANINGS)

    def test_missing_class(self, tmp_path):
        names = sorted(self.MEANINGS)
        path = self.folders(tmp_path / "a", names[1:], {})
        with pytest.raises(UserError, match=rf"1 missing, first '{names[0]}'"):
            imagenet.labelled_folders(path, self.MEANINGS)

    def test_no_images(self, tmp_path):
        with pytest.raises(UserError, match="holds no images"):
            imagenet.labelled_folders(self.folders(tmp_path / "a", self.MEANINGS, {}), self.MEANINGS)

    @pytest.mark.parametrize("name", ["id", *SHIFTED])
    def test_no_folder(self, root, tmp_path, name):
        with pytest.raises(UserError, match="nowhere"):
            imagenet.suite(root, SHIFTED, {name: tmp_path / "nowhere"})
