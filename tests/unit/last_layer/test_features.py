"""Features in the place of images: what they are of, and that a second look takes them from the disk."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tolerances import FLOAT32, POWER
from tests.unit.data.test_shards import write
from tests.unit.last_layer.conftest import run_of
from tracer.config import loading
from tracer.config.replay import CaptionBank, NoisePool, ReplaySection
from tracer.data.datasets import CaptionedImages
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.evaluation.report import evaluate
from tracer.last_layer import features
from tracer.last_layer.features import Listed
from tracer.last_layer.prediction import measured_paces
from tracer.models.blueprint import Blueprint
from tracer.models.last_maps import pooled_features
from tracer.runs.build import load_encoder
from tracer.runs.sources import suite_of
from tracer.toy import world


def test_the_model_of_features_is_judged_as_the_model(frozen):
    suite = world.suite("validation")
    whole, maps = evaluate(load_encoder(frozen.run), suite), evaluate(frozen.encoder, frozen.suites["validation"])
    for name, row in whole["sets"].items():
        assert abs(row["nll"] - maps["sets"][name]["nll"]) <= 10 * FLOAT32
        assert row["accuracy"] == maps["sets"][name]["accuracy"]
    assert abs(whole["sets"]["id"]["nll"] - maps["sets"]["letters"]["nll"]) >= POWER * 10 * FLOAT32


def test_every_pair_has_its_features(frozen):
    pairs = world.task("train").captioned()
    assert frozen.data.pairs.captions == pairs.captions
    row = load_encoder(frozen.run).preprocess([pairs.images[7]])
    with torch.no_grad():
        embedded = frozen.model.model.encode_image(row)[0]
    mapped = frozen.maps.encode_image(torch.from_numpy(frozen.data.pairs.images[7:9]))
    assert (mapped[0] - embedded).abs().max() <= 10 * FLOAT32
    assert (mapped[1] - embedded).abs().max() >= POWER * 10 * FLOAT32


def test_a_second_look_passes_no_image(frozen, monkeypatch):
    monkeypatch.setattr(features, "pooled_features", lambda *arguments: pytest.fail("an image passed the model again"))
    seen = []
    listed = Listed.of(frozen.run, {"validation": suite_of(frozen.run)}, most_pairs=10**6)
    again = listed.gather(seen.append)
    np.testing.assert_array_equal(again.data.pairs.images, frozen.data.pairs.images)
    assert seen[-1] == listed.count
    assert [*again.bank] == [*frozen.bank]


def test_other_weights_have_other_features(folder, frozen):
    other = frozen.run.model_copy(update={"model": frozen.run.model.model_copy(update={"pretrained": "1"})})
    found = Listed.of(other, {}, most_pairs=50).gather()
    assert len(found.data.pairs) == 50
    assert not np.isin(found.data.pairs.images[0], frozen.data.pairs.images).all()


def test_another_activation_has_other_features(folder, frozen, monkeypatch):
    """No tensor speaks for it, so that the weights are the same."""
    passed, model = [], load_encoder(frozen.run)
    model.model.blueprint = Blueprint("glyphs", {**model.model.blueprint.configuration, "quick_gelu": True})
    monkeypatch.setattr(features, "load_encoder", lambda run: model)
    monkeypatch.setattr(features, "pooled_features", lambda *arguments: passed.append(1) or pooled_features(*arguments))
    Listed.of(frozen.run, {"validation": suite_of(frozen.run)}, most_pairs=10**6).gather()
    assert passed


def test_pairs_are_drawn_by_the_seed(folder):
    chosen = [Listed.of(run_of(folder, seed=seed), {}, most_pairs=40) for seed in (0, 0, 1)]
    drawn = [list(listed.pairs.captions) for listed in chosen]
    assert drawn[0] == drawn[1] != drawn[2]
    np.testing.assert_array_equal(chosen[0].labelled.labels, chosen[1].labelled.labels)


def test_captions_to_replay_are_the_runs_own(folder):
    replay = ReplaySection(images=NoisePool(), texts=CaptionBank(kind="captions", words=0.0))
    bank = Listed.of(run_of(folder).model_copy(update={"replay": replay}), {}, most_pairs=40).gather().bank
    task = world.task("train")
    assert set(bank) == {template.format(name) for name in task.class_names for template in task.templates}


class Damaged:
    """Images of which one cannot be read."""

    def __init__(self, images, broken):
        self.images, self.broken = images, broken

    def __len__(self):
        return len(self.images)

    def __getitem__(self, position):
        if position == self.broken:
            raise CorruptSample("photo.png", "it is empty")
        return self.images[position]


def test_a_corrupt_pair_is_left_out(folder):
    listed = Listed.of(run_of(folder), {}, most_pairs=10**6)
    damaged = Damaged(listed.pairs.images, 3)
    found = dataclasses.replace(listed, pairs=CaptionedImages(damaged, listed.pairs.captions)).gather()
    assert len(found.data.pairs) == len(listed.pairs) - 1
    assert found.data.pairs.captions == listed.pairs.captions[:3] + listed.pairs.captions[4:]
    np.testing.assert_array_equal(found.data.labelled.labels, np.delete(listed.labelled.labels, 3))


def test_too_many_corrupt_pairs_are_refused(folder):
    listed = Listed.of(run_of(folder), {}, most_pairs=40)
    broken = dataclasses.replace(listed, pairs=CaptionedImages(Damaged(listed.pairs.images, 3), listed.pairs.captions))
    with pytest.raises(UserError, match="1 of the 40 training pairs met so far is corrupt"):
        broken.gather()


def test_corrupt_pairs_are_counted_over_all_batches_against_the_runs_own_share(folder, monkeypatch):
    monkeypatch.setattr(features, "AT_ONCE", 10)
    listed = Listed.of(run_of(folder), {}, most_pairs=40)
    broken = Damaged(Damaged(listed.pairs.images, 3), 23)
    damaged = dataclasses.replace(listed, pairs=CaptionedImages(broken, listed.pairs.captions))
    monkeypatch.setattr(features, "corrupt_share", lambda source: 0.03)
    with pytest.raises(UserError, match=r"2 of the 40 training pairs .* are corrupt, more than data\.max_corrupt_share = 0\.03"):
        damaged.gather()
    monkeypatch.setattr(features, "corrupt_share", lambda source: 0.05)
    found = damaged.gather()
    assert len(found.data.pairs) == 38


@pytest.fixture
def shard(tmp_path):
    """Settings that read a shard of 12 pairs, of which the caption of the first one that is drawn is none."""
    first = np.random.default_rng([0, 0, 0]).permutation(12)[0]
    members, task = [], world.task("train")
    for number in range(12):
        file = io.BytesIO()
        Image.fromarray(task.images[number]).save(file, "png")
        caption = b"\xff" if number == first else f"the digit {task.class_names[number % 3]}".encode()
        members += [(f"{number:02}.png", file.getvalue()), (f"{number:02}.txt", caption)]
    write(tmp_path / "pairs.tar", members)
    return {
        "output": str(tmp_path / "run"),
        "model": {"architecture": "glyphs"},
        "data": {"kind": "webdataset", "path": str(tmp_path / "pairs.tar"), "max_corrupt_share": 0.1},
        "replay": {"images": None, "texts": {"kind": "captions", "words": 0.0}, "texts_per_step": 2},
        "optimization": {"total_steps": 2, "batch_size": 8},
    }


def test_a_pair_of_a_corrupt_caption_is_left_out(shard):
    listed = Listed.of(loading.validate(shard, "the test"), {}, most_pairs=100)
    found = listed.gather()
    assert len(listed.pairs) == 12
    assert len(found.data.pairs.images) == len(found.data.pairs.captions) == 11
    assert set(found.bank) == {captions[0] for captions in found.data.pairs.captions}
    assert min(measured_paces(listed, found)) > 0


def test_a_corrupt_caption_counts_against_the_share(shard):
    shard["data"]["max_corrupt_share"] = 0.05
    with pytest.raises(UserError, match=r"1 of the 12 training pairs .* corrupt, more than data\.max_corrupt_share = 0\.05"):
        Listed.of(loading.validate(shard, "the test"), {}, most_pairs=100).gather()


def test_classes_have_their_captions_whatever_the_strategy_learns(folder):
    """A head learns labels, which say nothing to a text tower."""
    runs = [loading.validate({"output": str(folder), "strategy": {"name": name}}, "the test") for name in ("flyp", "ft")]
    contrastive, head = (list(Listed.of(run, {}, most_pairs=10).pairs.captions) for run in runs)
    assert head == contrastive
    assert not any(caption.isdigit() for captions in head for caption in captions)


def test_a_strategy_that_reads_nothing_is_refused(folder):
    run = loading.validate({"output": str(folder), "strategy": {"name": "zero_shot"}}, "the test")
    with pytest.raises(UserError, match="zero_shot reads no training data"):
        Listed.of(run, {}, most_pairs=10)
