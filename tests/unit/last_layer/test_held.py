"""What images and texts hold of what is to be kept: all of themselves, and less of others."""

import dataclasses

import pytest

from tests.tolerances import POWER
from tracer.data.datasets import Suite
from tracer.data.text_banks import filled
from tracer.last_layer import held
from tracer.last_layer.regression import Regression

# A second moment against itself: its smallest eigenvalues that count, 1e-12 of the largest, are known to a few digits only.
ITSELF = 1e-6


@pytest.fixture
def suite(frozen):
    return frozen.suites["validation"]


def test_images_hold_themselves_and_less_of_others(frozen, suite):
    shifted = next(iter(suite.ood.values()))
    changed = dataclasses.replace(frozen, data=dataclasses.replace(frozen.data, pool=shifted.images))
    found = held.by_images(changed, Suite(suite.in_distribution, {"shifted": shifted}), Regression(changed))
    assert abs(found[held.REPLAYED]["kappa"] - 1) <= ITSELF
    assert found[held.OWN]["kappa"] - 1 >= POWER * ITSELF
    assert found[held.OWN]["coverage"] < found[held.REPLAYED]["coverage"] < 1


def test_without_sets_to_keep_nothing_is_told_of_images(frozen, suite):
    assert held.by_images(frozen, Suite(suite.in_distribution), Regression(frozen)) == {}


def test_texts_hold_themselves_and_less_of_others(frozen, suite):
    names = filled(suite.in_distribution.templates, suite.in_distribution.class_names)
    changed = dataclasses.replace(frozen, bank=names)
    found = held.by_texts(changed, suite)[held.REPLAYED]
    assert abs(found[held.TASK]["kappa"] - 1) <= ITSELF
    assert found[held.OTHERS]["kappa"] - 1 >= POWER * ITSELF
    assert found[held.OTHERS]["coverage"] < found[held.TASK]["coverage"] <= 1


def test_captions_hold_the_task_better_than_random_words(frozen, suite):
    """They are the names themselves in other templates, or the same."""
    found = held.by_texts(frozen, suite)
    assert found[held.OWN][held.TASK]["kappa"] < found[held.REPLAYED][held.TASK]["kappa"]


def test_without_replayed_texts_captions_alone_are_told(frozen, suite):
    alone = Suite(suite.in_distribution)
    found = held.by_texts(dataclasses.replace(frozen, bank=[]), alone)
    assert {name: [*each] for name, each in found.items()} == {held.OWN: [held.TASK]}
