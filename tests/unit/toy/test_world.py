from itertools import combinations

import numpy as np
import pytest
import torch

from tracer.toy import world
from tracer.toy.renderer import COLORS, SIZE, TEST_FONTS, TRAINING_FONTS, VALIDATION_FONTS
from tracer.toy.small_clip import TOKENIZER, preprocess

SPLITS = ("train", "validation", "test")
COUNTS = {"train": 1000, "validation": 300, "test": 497}


@pytest.fixture(scope="module")
def suites():
    return {split: world.suite(split) for split in ("validation", "test")}


@pytest.fixture(scope="module")
def pairs():
    return world.pretraining_pairs(80, seed=4)


def same_images(one, other):
    return np.array_equal(np.asarray(one.images), np.asarray(other.images))


class TestTask:
    def test_splits_share_no_image(self):
        images = {split: {image.tobytes() for image in world.task(split).images} for split in SPLITS}
        assert {split: len(world.task(split)) for split in SPLITS} == COUNTS
        for one, other in combinations(SPLITS, 2):
            assert not images[one] & images[other]

    @pytest.mark.parametrize("split", SPLITS)
    def test_splits_are_balanced_like_the_whole(self, split):
        counts = np.bincount(world.task(split).labels, minlength=10)
        assert counts.max() - counts.min() <= 0.05 * counts.sum() / 10 + 2


class TestPretrainingPairs:
    def test_same_seed_same_pairs(self, pairs):
        again = world.pretraining_pairs(80, seed=4)
        assert same_images(again, pairs)
        assert again.captions == pairs.captions

    def test_other_seed_other_pairs(self, pairs):
        assert not same_images(world.pretraining_pairs(80, seed=5), pairs)

    def test_every_caption_is_in_the_vocabulary(self, pairs):
        for captions in pairs.captions:
            assert len(captions) == world.CAPTIONS_PER_IMAGE
            assert TOKENIZER(captions).shape == (world.CAPTIONS_PER_IMAGE, world.CONTEXT_LENGTH)

    def test_no_image_is_blank(self, pairs):
        assert pairs.images.shape == (80, SIZE, SIZE, 3)
        assert min(image.std() for image in pairs.images.astype(float)) > 5


def test_every_possible_caption_fits():
    """Longest names of every kind, in every template."""
    for template in world.CAPTION_TEMPLATES:
        for name, kind in zip(world.NAMES, world.KINDS, strict=True):
            captions = [
                template.format(name=name, kind=kind, color=color, style=scene.style)
                for color in COLORS
                for _, scene in world.PRETRAINING
            ]
            assert TOKENIZER(captions).argmax(dim=1).max() < world.CONTEXT_LENGTH


def test_held_out_fonts_are_disjoint_from_those_of_training():
    for one, other in combinations((TRAINING_FONTS, VALIDATION_FONTS, TEST_FONTS), 2):
        assert not set(one) & set(other)
    assert world.FONTS == {"validation": VALIDATION_FONTS, "test": TEST_FONTS}


class TestSuite:
    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_label_spaces(self, suites, split):
        suite = suites[split]
        for shifted in (suite.in_distribution, *suite.ood.values()):
            assert shifted.class_names == world.DIGIT_NAMES
        for other in suite.knowledge.values():
            assert not set(other.class_names) & set(world.DIGIT_NAMES)
            assert set(other.labels) == set(range(len(other.class_names)))

    @pytest.mark.parametrize("split", ["validation", "test"])
    def test_drawn_sets_have_each_class_equally_often(self, suites, split):
        sets = suites[split].sets()
        for name in (*world.OOD_SCENES, "letters", "colors"):
            assert len(set(np.bincount(sets[name].labels))) == 1, name

    def test_handwriting_is_that_of_the_split(self, suites):
        for split, suite in suites.items():
            for name in ("inverted", "colored_handwriting"):
                assert np.array_equal(suite.ood[name].labels, world.task(split).labels)

    def test_same_split_same_suite(self, suites):
        again = world.suite("validation").sets()
        assert all(same_images(images, again[name]) for name, images in suites["validation"].sets().items())

    def test_splits_share_no_image(self, suites):
        validation, test = (suites[split].sets() for split in ("validation", "test"))
        assert validation.keys() == test.keys()
        for name in validation:
            known = {image.tobytes() for image in validation[name].images}
            assert not known & {image.tobytes() for image in test[name].images}, name

    def test_every_question_is_in_the_vocabulary(self, suites):
        for images in suites["test"].sets().values():
            captions = [template.format(name) for template in images.templates for name in images.class_names]
            assert len(TOKENIZER(captions).unique(dim=0)) == len(captions)


def test_pixels_are_scaled_to_two_standard_units():
    black, white = np.zeros((SIZE, SIZE, 3), np.uint8), np.full((SIZE, SIZE, 3), 255, np.uint8)
    assert preprocess([black, white]).shape == (2, 3, SIZE, SIZE)
    assert [image.unique().tolist() for image in preprocess([black, white])] == [[-2], [2]]
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 255
    assert torch.equal(preprocess([red])[0, :, 0, 0], torch.tensor([2.0, -2.0, -2.0]))
