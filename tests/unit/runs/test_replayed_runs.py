"""Runs with further images and texts: what is held, what is written down, and what another pool makes of a checkpoint."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.runs.test_fine_tune import configured, folders, weights  # noqa: F401
from tracer.data.datasets import CaptionedImages
from tracer.data.images import CorruptSample
from tracer.errors import UserError
from tracer.models import clip
from tracer.runs import build, run_identity, training_data
from tracer.runs import fine_tune as running
from tracer.toy import small_clip, world
from tracer.training import run_changes

BOTH = {"images": {"kind": "noise"}, "terms": {"fd": 2000.0, "text_fd": 2000.0, "crd": 0.0}}


@pytest.fixture
def pool(tmp_path):
    rng = np.random.default_rng(4)
    (tmp_path / "pool" / "deeper").mkdir(parents=True)
    for number in range(12):
        place = tmp_path / "pool" / ("deeper" if number % 2 else "")
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(place / f"{number}.png")
    return tmp_path / "pool"


def logged(run):
    return [json.loads(line) for line in (run.output / "metrics.jsonl").read_text().splitlines()]


def drift(result):
    """How far further images and texts have moved, mean squared; both are the pretrained model's own words and grey noise."""
    rng = np.random.default_rng(9)
    images = small_clip.preprocess(list(rng.integers(256, size=(40, 32, 32, 3), dtype=np.uint8)))
    tokens = small_clip.TOKENIZER(list(world.WORDS))
    with torch.no_grad():
        mine, theirs = (model.eval()(images, tokens) for model in (result.student.model, result.anchor))
    return [((a - b) ** 2).mean().item() for a, b in ((mine.image, theirs.image), (mine.text, theirs.text))]


@pytest.mark.parametrize("strategy", ["flyp", "tracer", "l2_sp", "wise_ft"])
def test_any_strategy_that_moves_towers_can_be_held(configured, strategy):  # noqa: F811
    """Both towers move less far on what is replayed."""
    optimization = {"total_steps": 12, "learning_rate": 3e-3}
    moved = []
    for name, replay in (("free", None), ("held", BOTH)):
        run = configured(strategy, optimization=optimization, replay=replay, output=str(configured().output / name))
        moved.append(drift(running.fine_tune(run)))
    assert moved[1][0] < 0.5 * moved[0][0]
    assert moved[1][1] < 0.5 * moved[0][1]


def test_heads_are_held_under_the_head(configured, folders):  # noqa: F811
    run = configured("lp_ft", replay={"images": {"kind": "noise"}})
    assert run.replay.texts is None
    assert run.earlier()[0].replay is None
    running.fine_tune(run)
    assert all("terms.replay_fd" in line and "terms.replay_text_fd" not in line for line in logged(run))


def test_own_teacher_may_hold(configured):  # noqa: F811
    """At the first step the teacher is the student, the pretrained model too; later only the latter is where it was."""
    terms = []
    for teacher in ("strategy", "pretrained"):
        kernel = {"name": "ema_distillation", "kernel": {"kind": "exponential", "momentum": 0.0}}
        replay = {"images": {"kind": "noise"}, "teacher": teacher}
        run = configured(strategy_section=kernel, replay=replay, output=str(configured().output / teacher))
        running.fine_tune(run)
        terms.append([line["terms.replay_fd"] for line in logged(run)])
    assert max(*terms[0], terms[1][0]) < 1e-12 < min(terms[1][1:])


def test_corrupt_images_are_passed_over_and_written_down(configured, pool):  # noqa: F811
    for number in (1, 2):
        next(pool.rglob(f"{number}.png")).write_bytes(b"")
    replay = {"images": {"kind": "images", "path": str(pool), "max_corrupt_share": 0.5}}
    run = configured("flyp", replay=replay, optimization={"total_steps": 6})
    result = running.fine_tune(run)
    assert {each.sample for each in result.skipped} == {str(next(pool.rglob(f"{number}.png"))) for number in (1, 2)}
    assert logged(run)[-1]["data.skipped"] == 2
    assert all(json.loads(line)["replayed"] for line in (run.output / "skipped.jsonl").read_text().splitlines())


def test_a_large_pool_lets_no_more_pairs_pass(configured, pool):  # noqa: F811
    replay = {"images": {"kind": "images", "path": str(pool), "max_corrupt_share": 0.5}}
    run = configured("flyp", data={"kind": "webdataset", "path": "pairs.tar", "max_corrupt_share": 0.1}, replay=replay)
    run.output.mkdir()
    data = training_data.TrainingData(CaptionedImages([None] * 10, [("one",)] * 10), None, [None] * 1000)
    counted = build.corrupt_samples(run, data, 0)
    counted.add([CorruptSample("a.png", "it is empty")], 1)
    counted.add([CorruptSample(f"{number}.png", "it is empty") for number in range(500)], 1, replayed=True)
    with pytest.raises(
        UserError, match=r"2 of the 10 training pairs met so far are corrupt, more than data.max_corrupt_share = 0.1"
    ):
        counted.add([CorruptSample("b.png", "it is empty")], 1)


class TestIdentity:
    def of(self, configured, pool, **changes):  # noqa: F811
        run = configured("flyp", replay={"images": {"kind": "images", "path": str(pool)}, **changes})
        return run_identity.of_run(run, None, training_data.pool(run))

    def changed(self, then, now):
        return run_changes.changes(then, json.loads(json.dumps(now)), "step 50 was saved")

    def test_moved_pools_are_the_same(self, configured, pool, tmp_path):  # noqa: F811
        then = self.of(configured, pool)
        assert then["content"]["images"]["images"] == 12
        pool.rename(tmp_path / "elsewhere")
        assert self.changed(then, self.of(configured, tmp_path / "elsewhere")) == ""
        assert str(tmp_path) not in json.dumps(then["replay"])

    def test_other_images_are_told(self, configured, pool):  # noqa: F811
        then = self.of(configured, pool)
        (pool / "0.png").unlink()
        assert self.changed(then, self.of(configured, pool)) == (
            "replay.images.path has other images than when step 50 was saved: 12 images then and 11 now"
        )

    def test_other_texts_are_told(self, configured, pool, tmp_path):  # noqa: F811
        written = []
        for text in ("the digit\nthe letter", "the letter\nthe digit"):
            (tmp_path / "texts.txt").write_text(text)
            texts = {"kind": "file", "path": str(tmp_path / "texts.txt")}
            written.append(self.of(configured, pool, texts=texts))
        told = self.changed(*written)
        assert told == "replay.texts.path has other texts than when step 50 was saved: other wording"

    def test_runs_without_replay_say_nothing_of_it(self, configured):  # noqa: F811
        assert "replay" not in run_identity.of_run(configured("flyp"), None)

    def test_another_pool_does_not_go_on_from_a_checkpoint(self, configured, pool):  # noqa: F811
        run = configured("flyp", replay={"images": {"kind": "images", "path": str(pool)}})
        running.fine_tune(run)
        (pool / "0.png").unlink()
        with pytest.raises(UserError, match=r"replay\.images\.path has other images"):
            running.fine_tune(run)


@pytest.mark.parametrize("texts", [{"kind": "names"}, {"kind": "words", "longest": 9}, {"kind": "captions"}])
def test_open_clips_models_are_held_too(configured, architectures, tmp_path, texts):  # noqa: F811
    """With random crops of the training images, micro-batches of three, and captions cut to the longest text of a step."""
    torch.manual_seed(0)
    clip.save(clip.create("tiny-vit", None).model, tmp_path / "tiny.safetensors")
    model = {"architecture": "tiny-vit", "pretrained": str(tmp_path / "tiny.safetensors")}
    optimization = {"precision": "bf16", "micro_batch_size": 3, "learning_rate": 1e-3, "warmup_steps": 0}
    moved = []
    for name, replay in (("free", None), ("held", {"texts": texts, "images_per_step": 5, "texts_per_step": 20})):
        output = str(configured().output / name)
        result = running.fine_tune(configured("flyp", model=model, optimization=optimization, replay=replay, output=output))
        encoder = result.student
        tokens = encoder.tokenize(["a photo of a tench.", "an orange cat", "the sea"])
        images = encoder.preprocess(list(np.random.default_rng(0).integers(256, size=(4, 40, 40, 3), dtype=np.uint8)))
        with torch.no_grad():
            mine, theirs = (each.eval()(images, tokens) for each in (encoder.model, result.anchor))
        moved.append([(mine.image - theirs.image).norm().item(), (mine.text - theirs.text).norm().item()])
    assert moved[1][0] < moved[0][0]
    assert moved[1][1] < moved[0][1]
