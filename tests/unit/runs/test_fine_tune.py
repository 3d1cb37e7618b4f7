import copy
import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.tolerances import BATCHED_LOGITS, FLOAT32
from tracer.config import loading
from tracer.models import clip
from tracer.models.merging import model_stock
from tracer.runs import build, judging
from tracer.runs import fine_tune as running
from tracer.strategies import PRESETS, PUBLISHED_DISTILLATION
from tracer.tensor_files import load_tensors


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
        return loading.validate(
            {
                "output": str(tmp_path / "output"),
                "model": {"architecture": "glyphs", "pretrained": str(weights)},
                "evaluation": None,
                "strategy": changes.pop("strategy_section", {"name": strategy}),
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


@pytest.mark.parametrize("name", PRESETS)
def test_every_strategy_writes_its_files(configured, name):
    run = configured(name)
    result = running.fine_tune(run)
    distilled = PRESETS[name].kernel is not None
    saved = load_tensors(run.output / "student.safetensors")
    for key, value in result.student.model.clip.state_dict().items():
        assert torch.equal(saved[key], value)
    assert (run.output / "teacher.safetensors").exists() == distilled == ("teacher" in result.others)
    assert_close_weights(result.student.model, result.anchor, equal=name in ("zero_shot", "linear_probe"))
    assert (run.output / "head.safetensors").exists() == PRESETS[name].has_head == (result.student.head is not None)
    assert loading.load(run.output / "config.yaml") == run
    if PRESETS[name].trained:
        metrics = (run.output / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in metrics] == [1, 2, 3]


def test_static_teacher_stays_the_anchor(configured):
    result = running.fine_tune(configured("static_distillation"))
    assert all(
        torch.equal(a, b) for a, b in zip(result.others["teacher"].model.parameters(), result.anchor.parameters(), strict=True)
    )


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


ONE_STAGE = ("linear_probe", "ft", "carot", "tracer_without_crd", "replay_distillation", "zscl", "lipsum_ft")
STOPS = {**dict.fromkeys(ONE_STAGE, (2,)), "lp_ft": (2, 5), "model_stock": (5,)}


@pytest.mark.parametrize("name", STOPS)
def test_strategies_of_one_and_several_stages_go_on(configured, name):
    """Stopped after the second step of a stage, which has a checkpoint, they go on there and end like uninterrupted ones."""
    whole = configured(name, output=str(configured().output / "whole"), checkpoint_every_steps=2)
    running.fine_tune(whole)
    run, seen = configured(name, checkpoint_every_steps=2), []

    def stop(step):
        seen.append(step)
        if step in STOPS[name]:
            raise KeyboardInterrupt

    for _ in STOPS[name]:
        with pytest.raises(KeyboardInterrupt):
            running.fine_tune(run, stop)
    running.fine_tune(run, stop)
    assert seen == list(range(1, run.all_steps + 1))
    assert len(seen) == (6 if name in ("lp_ft", "model_stock") else 3)
    for path in whole.output.rglob("*.safetensors"):
        theirs = load_tensors(run.output / path.relative_to(whole.output))
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in load_tensors(path).items()), path


def test_lp_ft_starts_from_its_probe(configured):
    """Its first stage is the linear probe of the same configuration, and its head moves on from there."""
    probe = running.fine_tune(configured("linear_probe", output=str(configured().output / "probe")))
    run = configured("lp_ft")
    tuned, seen = running.fine_tune(run), []
    first = load_tensors(run.output / "first" / "head.safetensors")["weight"]
    assert torch.equal(first, probe.student.head.weight)
    assert not torch.equal(tuned.student.head.weight, first)
    other = {"name": "lp_ft", "probe_steps": 1, "probe_learning_rate": 0.5}
    running.fine_tune(configured(output=str(run.output / "other"), strategy_section=other), seen.append)
    assert seen == [1, 2, 3, 4]


def test_probe_trains_the_head_alone_and_ft_the_image_tower_too(configured):
    for name in ("linear_probe", "ft"):
        result = running.fine_tune(configured(name, output=str(configured().output / name)))
        student, anchor = result.student.model.clip.state_dict(), result.anchor.clip.state_dict()
        moved = {key.split(".")[0] for key in student if not torch.equal(student[key], anchor[key])}
        assert moved == (set() if name == "linear_probe" else {"visual"})


def test_model_stock_merges_flyp_runs_of_other_seeds(configured):
    run = configured("model_stock", seed=3)
    merged = running.fine_tune(run)
    alone = running.fine_tune(configured("flyp", seed=7, output=str(run.output / "alone"))).student.model
    parts = [run.output / f"seed-{seed}" / "student.safetensors" for seed in (6, 7)]
    students = [clip.create("glyphs", None, weights=path).model for path in parts]
    assert all(torch.equal(a, b) for a, b in zip(students[1].parameters(), alone.parameters(), strict=True))
    assert_close_weights(merged.student.model, model_stock(merged.anchor, students))
    assert_close_weights(merged.student.model, students[0], equal=False)


@pytest.mark.parametrize("term", PUBLISHED_DISTILLATION)
def test_ablations_are_tracer_without_a_term(configured, term):
    named, written_out = configured(f"tracer_without_{term}"), configured(strategy_section={"terms": {term: 0.0}})
    weights = named.strategy.objective_weights()
    assert weights == {k: w for k, w in written_out.strategy.objective_weights().items() if k != term}
    assert weights != configured().strategy.objective_weights()


def test_carot_distils_logits_and_keeps_the_projection_orthogonal(configured):
    run = configured("carot")
    weights = {"contrastive": 1, "crd": 0.9, "cross_projection_norm": 0.05, "orthogonality": 0.2}
    assert {k: w for k, w in run.strategy.objective_weights().items() if w} == weights
    running.fine_tune(run)
    assert "terms.orthogonality" in json.loads((run.output / "metrics.jsonl").read_text().splitlines()[0])
    without = {"name": "carot", "orthogonality": 0, "cross_projection_norm": 0}
    assert {k: w for k, w in configured(strategy_section=without).strategy.objective_weights().items() if w} == {
        "contrastive": 1,
        "crd": 0.9,
    }


def test_task_is_judged_by_the_head_and_knowledge_by_the_texts(configured, folders, tmp_path):
    shutil.copytree(folders, tmp_path / "others")
    (tmp_path / "others" / "one").rename(tmp_path / "others" / "three")
    templates = ["the digit {}"]
    suite = {"kind": "folder", "id": str(folders), "knowledge": {"others": str(tmp_path / "others")}, "templates": templates}
    data = {"kind": "folder", "path": str(folders), "templates": templates}
    run = configured("linear_probe", evaluation=suite, data=data, optimization={"learning_rate": 1.0})
    result = running.fine_tune(run)
    texts = judging.judge(dataclasses.replace(result.student, head=None), result.suite, tmp_path / "texts")
    assert result.report["sets"]["id"] != texts["sets"]["id"]
    assert result.report["sets"]["others"] == texts["sets"]["others"]
    encoder = build.load_encoder(run, run.output / "student.safetensors", run.output / "head.safetensors")
    again = judging.judge(encoder, result.suite, tmp_path / "again")
    assert again["id"] == pytest.approx(result.report["id"], rel=BATCHED_LOGITS)


def test_finished_run_is_not_trained_again(configured):
    run, seen = configured(), []
    first = copy.deepcopy(running.fine_tune(run).student.model)
    second = running.fine_tune(run, seen.append).student.model
    assert seen == []
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("strategy", ["tracer", "ft", "replay_distillation"])
def test_micro_batches_give_the_same_gradients(configured, strategy):
    """Of the first step, before Adam's division blows round-off up."""
    norms = []
    for size in (None, 3):
        run = configured(strategy, optimization={"micro_batch_size": size}, output=str(configured().output / str(size)))
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
@pytest.mark.parametrize("strategy", ["tracer", "lp_ft", "replay_distillation"])
def test_other_precisions_run(configured, precision, strategy):
    result = running.fine_tune(configured(strategy, optimization={"precision": precision}))
    assert all(parameter.isfinite().all() for parameter in result.student.model.parameters())


def test_the_toy_need_not_be_named_where_it_fits(tmp_path):
    """Images of 32 x 32 pixels and words that it knows; photographs are refused (tests/bad_input)."""
    for name in ("one", "two"):
        (tmp_path / "digits" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32), (80 * number, 0, 0)).save(tmp_path / "digits" / name / f"{number}.png")
    values = {
        "output": str(tmp_path / "run"),
        "data": {"kind": "folder", "path": str(tmp_path / "digits"), "templates": ["the digit {}"]},
        "optimization": {"total_steps": 1, "batch_size": 2},
    }
    run = loading.validate(values, "here")
    assert "model.architecture is left out: the embedded toy gets data of your own" in loading.remarks(run)
    running.fine_tune(run)
    assert (tmp_path / "run" / "student.safetensors").is_file()
