"""The pretrained model is judged once a folder, and again when the weights or the images are others."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from tests.tolerances import BATCHED_LOGITS
from tracer.config import loading
from tracer.data import image_files
from tracer.data.datasets import Suite
from tracer.evaluation import report_cache
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.blueprint import Blueprint
from tracer.runs import build, judging
from tracer.runs import fine_tune as running


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return clip.create("glyphs", None)


@pytest.fixture
def suite(tmp_path):
    for name in ("one", "two"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    return lambda: Suite(image_files.class_folders(tmp_path / "images", ["the digit {}"]))


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def evaluated(*arguments):
        calls.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(report_cache, "evaluate", evaluated)
    return calls


def test_the_same_is_judged_once(encoder, suite, counted, tmp_path):
    reports = [report_cache.kept_report(encoder, suite(), tmp_path / "deep" / "kept.json") for _ in range(3)]
    assert len(counted) == 1
    assert reports[0] == reports[1] == reports[2] == evaluate(encoder, suite())


@pytest.mark.parametrize("change", ["weights", "activation", "preprocessing", "image", "words", "file"])
def test_what_is_not_the_same_is_judged_again(encoder, suite, counted, tmp_path, change):
    path, judged = tmp_path / "kept.json", suite()
    report_cache.kept_report(encoder, judged, path)
    if change == "weights":
        with torch.no_grad():
            next(encoder.model.parameters()).add_(1e-3)
    elif change == "activation":
        encoder.model.blueprint = Blueprint("glyphs", {**encoder.model.blueprint.configuration, "quick_gelu": True})
    elif change == "preprocessing":
        open_clip.set_model_preprocess_cfg(
            encoder.model.clip, clip.preprocessing(encoder.model).model_dump() | {"mean": (0.5,) * 3}
        )
    elif change == "image":
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / "one" / "0.png")
    elif change == "words":
        judged = Suite(image_files.class_folders(tmp_path / "images", ["digit {}"]))
    else:
        path.write_text(path.read_text()[:-40])
    report = report_cache.kept_report(encoder, judged, path)
    assert len(counted) == 2
    assert report == evaluate(encoder, judged)
    assert json.loads(path.read_text())["report"] == report


def test_verdict_writes_the_three_models_and_the_change(suite, counted, tmp_path):
    templates = ["the digit {}"]
    pretrained = tmp_path / "pretrained.safetensors"
    torch.manual_seed(1)
    clip.save(clip.create("glyphs", None).model, pretrained)
    suite()
    folder = {"kind": "folder", "templates": templates}
    values = {
        "output": str(tmp_path / "run"),
        "model": {"architecture": "glyphs", "pretrained": str(pretrained)},
        "data": folder | {"path": str(tmp_path / "images")},
        "evaluation": folder | {"id": str(tmp_path / "images")},
        "optimization": {"total_steps": 2, "batch_size": 6},
    }
    run, stages = loading.validate(values, "here"), []
    for _ in range(2):
        result = running.fine_tune(run)
        report = judging.verdict(run, result, stages.append)
    assert len(counted) == 1, "the pretrained model is judged once for both"
    assert stages == ["judging the pretrained model", "judging the teacher"] * 2
    assert json.loads((run.output / "evaluation.json").read_text()) == report
    assert {key: report[key] for key in result.report} == result.report
    teacher = evaluate(build.load_encoder(run, run.output / "teacher.safetensors"), suite())
    assert report["teacher"]["id"] == pytest.approx(teacher["id"], rel=BATCHED_LOGITS)
    before = evaluate(build.load_encoder(run), suite())
    assert report["pretrained"]["id"] == pytest.approx(before["id"], rel=BATCHED_LOGITS)
    assert report["change"]["id"]["nll"] == report["id"]["nll"] - report["pretrained"]["id"]["nll"] != 0


def test_random_weights_have_no_before(suite, tmp_path):
    suite()
    folder = {"kind": "folder", "templates": ["the digit {}"]}
    values = {
        "output": str(tmp_path / "run"),
        "model": {"architecture": "glyphs", "pretrained": None},
        "data": folder | {"path": str(tmp_path / "images")},
        "evaluation": folder | {"id": str(tmp_path / "images")},
        "strategy": {"name": "flyp"},
        "optimization": {"total_steps": 1, "batch_size": 6},
    }
    run = loading.validate(values, "here")
    result = running.fine_tune(run)
    assert judging.verdict(run, result) == result.report
