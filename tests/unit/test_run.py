import copy
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tolerances import FLOAT32
from tracer import config
from tracer import run as running
from tracer.models import clip
from tracer.storage import load_tensors
from tracer.strategies import STRATEGIES


@pytest.fixture
def weights(tmp_path):
    """Pretrained weights: random ones, so that the tests need no shipped checkpoint."""
    torch.manual_seed(0)
    clip.save(clip.create("glyphs", None).model, tmp_path / "pretrained.safetensors")
    return tmp_path / "pretrained.safetensors"


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(5):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return tmp_path / "images"


@pytest.fixture
def configured(tmp_path, weights):
    def make(strategy="tracer", **changes):
        return config.validate(
            {
                "output": str(tmp_path / "output"),
                "model": {"pretrained": str(weights)},
                "evaluation": None,
                "strategy": {"name": strategy},
                "optimization": {"total_steps": 3, "batch_size": 8, **changes.pop("optimization", {})},
                "log_every_steps": 1,
                **changes,
            },
            "here",
        )

    return make


def assert_close_weights(mine, theirs, equal=True):
    gaps = [(a - b).abs().max().item() for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)]
    assert (max(gaps) <= FLOAT32) == equal


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_writes_its_files(configured, name):
    run = configured(name)
    result = running.fine_tune(run)
    distilled = STRATEGIES[name].kernel is not None
    saved = load_tensors(run.output / "student.safetensors")
    for key, value in result.student.model.clip.state_dict().items():
        assert torch.equal(saved[key], value)
    assert (run.output / "teacher.safetensors").exists() == distilled == (result.teacher is not None)
    assert_close_weights(result.student.model, result.anchor, equal=not STRATEGIES[name].trained)
    assert config.load(run.output / "config.yaml") == run
    if STRATEGIES[name].trained:
        metrics = (run.output / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in metrics] == [1, 2, 3]


def test_static_teacher_stays_the_anchor(configured):
    result = running.fine_tune(configured("static_distillation"))
    assert all(torch.equal(a, b) for a, b in zip(result.teacher.parameters(), result.anchor.parameters(), strict=True))


def test_wise_ft_is_flyp_half_way_back(configured):
    tuned = running.fine_tune(configured("flyp", output=str(configured().output / "flyp")))
    mixed = running.fine_tune(configured("wise_ft", output=str(configured().output / "wise")))
    for anchor, end, half in zip(
        tuned.anchor.parameters(), tuned.student.model.parameters(), mixed.student.model.parameters(), strict=True
    ):
        torch.testing.assert_close(half, (anchor + end) / 2, atol=FLOAT32, rtol=0)


def test_same_seed_same_weights(configured):
    students = [
        running.fine_tune(configured(seed=seed, output=str(configured().output / name))).student.model
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert all(torch.equal(a, b) for a, b in zip(students[0].parameters(), students[1].parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(students[0].parameters(), students[2].parameters(), strict=True))


def test_interrupted_run_goes_on(configured):
    """Stopped by an exception after its second step, which has a checkpoint."""

    def stop(step):
        if step == 2:
            raise KeyboardInterrupt

    whole = running.fine_tune(configured(output=str(configured().output / "whole"))).student.model
    run, seen = configured(checkpoint_every_steps=2), []
    with pytest.raises(KeyboardInterrupt):
        running.fine_tune(run, stop)
    resumed = running.fine_tune(run, seen.append).student.model
    assert seen == [3]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_finished_run_is_not_trained_again(configured):
    run, seen = configured(), []
    first = copy.deepcopy(running.fine_tune(run).student.model)
    second = running.fine_tune(run, seen.append).student.model
    assert seen == []
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_micro_batches_give_the_same_gradients(configured):
    """Of the first step, before Adam's division blows round-off up."""
    norms = []
    for size in (None, 3):
        run = configured(optimization={"micro_batch_size": size}, output=str(configured().output / str(size)))
        running.fine_tune(run)
        norms.append(json.loads((run.output / "metrics.jsonl").read_text().splitlines()[0])["gradient_norm"])
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)


def test_report_is_written_and_returned(configured, folders):
    suite = {"kind": "folder", "id": str(folders), "ood": {"same": str(folders)}, "templates": ["the digit {}"]}
    run = configured("zero_shot", evaluation=suite)
    report = running.fine_tune(run).report
    assert json.loads((run.output / "evaluation.json").read_text()) == report
    assert report["sets"]["id"]["count"] == 10
    assert report["sets"]["same"] == report["sets"]["id"]


def test_run_without_a_suite_is_not_judged(configured):
    run = configured("zero_shot")
    assert running.fine_tune(run).report is None
    assert not (run.output / "evaluation.json").exists()


@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions_run(configured, precision):
    result = running.fine_tune(configured(optimization={"precision": precision}))
    assert all(parameter.isfinite().all() for parameter in result.student.model.parameters())
