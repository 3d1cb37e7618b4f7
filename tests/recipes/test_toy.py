"""The toy experiment's pieces are what its README says, and its smallest run gives every measure."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.experiments import imported

TOY = Path(__file__).parents[2] / "experiments" / "toy"
TEACHERLESS = {"none", "FT", "L2"}


@pytest.fixture(scope="module")
def toy():
    """The experiment's script."""
    with imported("toy", "run") as modules:
        yield modules["run"]


@pytest.fixture(scope="module")
def world(toy):
    return toy.World(0)


def redness(images):
    """+1 for red digits, -1 for blue ones, 0 for grey ones."""
    red, _, blue = np.moveaxis(np.asarray(images.images).astype(int).sum(axis=(1, 2)), -1, 0)
    return np.sign(red - blue)


def test_splits_share_no_image_and_hold_all(world):
    splits = {split: {image.tobytes() for image in world.images("grey", split).images} for split in ("train", "validation", "test")}
    assert {split: len(images) for split, images in splits.items()} == {"train": 1000, "validation": 300, "test": 497}
    for one, other in combinations(splits.values(), 2):
        assert not one & other


def test_colour_follows_the_digit_in_95_percent(toy):
    faithful = []
    for seed in range(20):
        images = toy.World(seed).images("coloured", "train")
        faithful.append(redness(images) == np.where(images.labels < 5, 1, -1))
    share = np.mean(faithful)
    assert abs(share - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 20_000)
    assert len({row.tobytes() for row in faithful}) == 20  # each seed draws its own


def test_reversed_colours_are_the_other_groups(world):
    images = world.images("reversed", "test")
    assert np.array_equal(redness(images), np.where(images.labels < 5, -1, 1))


def test_looks_differ_in_colour_alone(world):
    grey, coloured = (np.asarray(world.images(look, "test").images).astype(float) for look in ("grey", "coloured"))
    assert np.array_equal(redness(world.images("grey", "test")), np.zeros(497))
    assert np.abs(coloured.max(axis=-1) - 0.8 * grey.max(axis=-1)).max() < 1  # both are rounded to whole levels


def test_a_batch_has_every_digit_once_and_an_epoch_every_image(toy, world):
    batches, seen = world.batches("grey"), []
    digits = {toy.encoder(None).tokenize([digit])[0, 1].item() for digit in "0123456789"}
    for step in range(toy.TRAINING):
        batch = batches[step]
        assert [digits & set(row.tolist()) for row in batch.tokens] == [{digit} for digit in sorted(digits)]
        seen += [image.numpy().tobytes() for image in batch.images]
    assert len(set(seen)) == len(seen) == 1000
    assert set(seen) == {image.numpy().tobytes() for image in batches.images.flatten(0, 1)}


def test_only_the_image_tower_is_fine_tuned(toy, world, monkeypatch):
    monkeypatch.setattr(toy, "EPOCHS", 1)
    pretrained = toy.Towers()
    student, _ = toy.fine_tune(world, pretrained, "L2", strength=0.1)
    moved = {
        name.split(".")[0]
        for (name, new), old in zip(student.named_parameters(), pretrained.parameters(), strict=True)
        if not torch.equal(new, old)
    }
    assert moved == {"image"}


def test_the_smallest_run_has_every_measure(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(toy, "pretrain", lambda world: toy.Towers())
    monkeypatch.setattr(toy, "EPOCHS", 1)
    settings = [("none", 0.0), ("WMA", 1.0)]
    rows = toy.over_seeds("test", [0], settings, "test", tmp_path)
    assert toy.over_seeds("test", [0], settings, "test", tmp_path) == rows  # read from the file
    untrained, trained = rows
    assert set(trained) - set(untrained) == {"gap"}
    assert 0 < trained["gap"] < 1
    assert trained["coloured"] > untrained["coloured"] + 10
    assert [row["method"] for row in toy.summary(rows, dict(settings))] == ["none", "WMA"]


def test_strengths_are_chosen_among_those_that_learn_the_task(toy):
    scored = {0.0: (60, 95), 10.0: (70, 95), 30.0: (80, 94), 100.0: (90, 93.9)}  # grey, coloured: 94 is a point below FT's
    rows = []
    for name, method in toy.METHODS.items():
        for strength in method.strengths:
            grey, coloured = scored.get(strength, (50, 50))
            rows.append({"method": name, "strength": strength, "grey": grey, "coloured": coloured, "reversed": 0})
    chosen = toy.choose(rows)
    assert {name: chosen[name] for name in ("static", "WMA", "EMA 0.9")} == {"static": 30, "WMA": 30, "EMA 0.9": 100}


def test_readme_has_the_tables_of_the_results(toy):
    results = json.loads((TOY / "results.json").read_text(encoding="utf-8"))
    readme = (TOY / "README.md").read_text(encoding="utf-8")
    for table in toy.tables(results).split("\n\n"):
        assert table in readme
    for row in results["tuning"]:
        assert row["seed"] >= results["seeds"]
