"""`tracer diagnose`: what it writes is what its parts say, and FLYP is told from TRACER."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tracer.cli import main
from tracer.config import loading
from tracer.evaluation.displacement import relative_displacement
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.runs import build, sources
from tracer.runs.fine_tune import fine_tune
from tracer.toy import world

STEPS = 100


@pytest.fixture(scope="module", autouse=True)
def small_world():
    """A few images of a few sets of the embedded world, which take no time."""

    def first(images):
        chosen = range(0, len(images), len(images) // 100)
        return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])

    suite = world.suite("test")
    fewer = dataclasses.replace(
        suite,
        in_distribution=first(suite.in_distribution),
        ood={"outline": first(suite.ood["outline"])},
        knowledge={"letters": first(suite.knowledge["letters"])},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_embedded_suite", lambda split: fewer)
        yield


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory):
    """The folders of two runs with the same seed, each with its diagnosis."""
    folders = {}
    for name in ("flyp", "tracer"):
        folders[name] = tmp_path_factory.mktemp(name)
        common = [
            f"output={folders[name]}",
            "optimization={total_steps: 100, batch_size: 64, learning_rate: 1e-3}",
            "evaluation=null",
        ]
        torch.manual_seed(0)
        fine_tune(loading.load(None, [*common, f"strategy.name={name}"]))
        assert main(["diagnose", f"output={folders[name]}", "--weights", str(folders[name])]) == 0
    return folders


def read(folder):
    return json.loads((folder / "diagnosis" / "diagnosis.json").read_text())


def test_flyp_leaves_further_than_tracer(diagnosed):
    flyp, tracer = ({row["name"]: row for row in read(folder)["blocks"]} for folder in diagnosed.values())
    moved = [sum(row["displacement"] for row in blocks.values()) for blocks in (flyp, tracer)]
    assert moved[0] > 1.3 * moved[1]
    for where in ("task", "others"):
        for measure in ("cka", "svcca"):
            left = [1 - blocks["visual.attnpool"]["similarity"][where][measure] for blocks in (flyp, tracer)]
            assert left[0] > 1.5 * left[1], (where, measure)
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        assert flyp[f"visual.{layer}"]["similarity"]["others"]["cka"] < tracer[f"visual.{layer}"]["similarity"]["others"]["cka"]


def test_what_is_written_is_what_the_parts_say(diagnosed):
    folder = diagnosed["flyp"]
    told = read(folder)
    run = loading.load(None, [f"output={folder}"])
    before, after = build.load_encoder(run), build.load_encoder(run, folder / "student.safetensors")
    suite = sources.suite_of(run)
    for name, report in (("before", evaluate(before, suite)), ("after", evaluate(after, suite))):
        accuracies = {each: row["accuracy"] for each, row in report["sets"].items()}
        assert {each: row[f"accuracy_{name}"] for each, row in told["sets"].items()} == pytest.approx(accuracies)
    moved = relative_displacement(after.model, before.model)
    assert {row["name"]: row["displacement"] for row in told["blocks"]} == {
        name: moved[name] for name in moved if name != "logit_scale"
    }
    assert told["logit_scale"] == [before.model.logit_scale.item(), after.model.logit_scale.item()]
    for row in told["sets"].values():
        change = (row["learnt"] - row["forgotten"]) / row["images"]
        assert row["accuracy_after"] - row["accuracy_before"] == pytest.approx(change)


def test_the_change_follows_the_tasks_images(diagnosed):
    """Gradients lie in the span of the inputs, so that the share inside exceeds a random change's, block by block."""
    for folder in diagnosed.values():
        told = read(folder)
        rows = [row for row in told["blocks"] if row.get("inside") is not None]
        assert len(rows) == 8
        assert all(row["random"] < row["inside"] <= 1 for row in rows)
        assert told["change"]["inside"] > 1.5 * told["change"]["random"]
        assert all(0 < row["effect"] <= 1 for row in rows)


def test_other_images_are_those_that_are_not_the_tasks(diagnosed):
    blocks = {row["name"]: row for row in read(diagnosed["flyp"])["blocks"]}
    similarity = blocks["visual.layer4"]["similarity"]
    assert set(similarity["sets"]) == {"id", "outline", "letters"}
    mean = np.mean([similarity["sets"][name]["cka"] for name in ("outline", "letters")])
    assert similarity["others"]["cka"] == pytest.approx(mean)
    assert similarity["task"]["cka"] != similarity["sets"]["id"]["cka"]


def test_a_figure_is_drawn(diagnosed):
    with Image.open(diagnosed["flyp"] / "diagnosis" / "diagnosis.png") as image:
        assert image.width > 800


def test_before_may_be_a_run(diagnosed, tmp_path):
    runs = [str(diagnosed[name]) for name in ("flyp", "tracer")]
    assert main(["diagnose", "--weights", runs[1], "--before", runs[0], "--output", str(tmp_path / "there")]) == 0
    told = json.loads((tmp_path / "there" / "diagnosis.json").read_text())
    before, after = (read(folder)["sets"] for folder in diagnosed.values())
    for name, row in told["sets"].items():
        assert row["accuracy_before"] == before[name]["accuracy_after"]
        assert row["accuracy_after"] == after[name]["accuracy_after"]
    assert told["before"] == str(diagnosed["flyp"] / "student.safetensors")


def test_corrupt_training_images_are_left_out(diagnosed, tmp_path, capsys):
    task = world.task("train")
    for number in range(24):
        folder = tmp_path / "digits" / task.class_names[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(task.images[number]).save(folder / f"{number}.png")
    (tmp_path / "digits" / task.class_names[0] / "4.png").write_bytes(b"")

    def diagnose(share):
        data = f"data={{kind: folder, path: {tmp_path}/digits, templates: ['the digit {{}}'], max_corrupt_share: {share}}}"
        model = ["model.architecture=glyphs", "evaluation.split=test", f"output={tmp_path}", data]
        return main(["diagnose", *model, "--weights", str(diagnosed["flyp"])])

    assert diagnose(0.02) == 2
    assert "1 of the 24 training pairs met so far is corrupt" in capsys.readouterr().err
    assert diagnose(0.05) == 0
    assert "by 23 images of data" in " ".join(capsys.readouterr().out.split())


VISION = {
    "tiny-vit": {},
    "tiny-convnext": {
        "vision_cfg": {
            "timm_model_name": "test_convnext",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 32,
        }
    },
}


@pytest.mark.parametrize("architecture", VISION)
def test_a_folder_of_unlabelled_images_and_any_tower(architectures, monkeypatch, tmp_path, capsys, architecture):
    """Without a suite and classes of one's own ImageNet's names are what to choose from."""
    known = clip.open_clip.factory._MODEL_CONFIGS
    monkeypatch.setitem(known, architecture, known["tiny-vit"] | VISION[architecture])
    start = clip.create(architecture, None).model
    clip.save(start, tmp_path / "start.safetensors")
    with torch.no_grad():
        for parameter in start.image_tower().parameters():
            parameter += 0.1 * parameter.std(correction=0) * torch.randn(parameter.shape)
    clip.save(start, tmp_path / "end.safetensors")
    (tmp_path / "photos").mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(256, size=(40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{number}.png")
    model = f"model={{architecture: {architecture}, pretrained: {tmp_path}/start.safetensors}}"
    arguments = [model, f"output={tmp_path}", "--images", f"{tmp_path}/photos"]
    assert main(["diagnose", *arguments, "--weights", f"{tmp_path}/end.safetensors"]) == 0
    told = read(tmp_path)
    assert told["task"] is None
    assert told["maps"] == []
    assert set(told["sets"]["photos"]) == {"images", "agreement", "kl", "cosine"}
    assert all(row["displacement"] == 0 for row in told["blocks"] if row["tower"] == "text")
    last = [row for row in told["blocks"] if row["tower"] == "image"][-1]
    assert last["similarity"]["others"]["cka"] < 0.9999
    assert last["similarity"]["task"] is None
    assert "Answers changed most on photos" in " ".join(capsys.readouterr().out.split())
