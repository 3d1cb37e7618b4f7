"""`tracer merge` and `tracer calibrate`: what they write is what their parts make, and open_clip loads it."""

import dataclasses
import json
import shutil
from pathlib import Path

import open_clip
import pytest
import torch

from tests.tolerances import FLOAT32
from tracer.cli import main
from tracer.config import loading
from tracer.evaluation import temperature
from tracer.evaluation.merges import METHODS
from tracer.evaluation.report import evaluate
from tracer.evaluation.zero_shot import classifier, logits
from tracer.models import clip
from tracer.models.head import Head
from tracer.models.merging import add_task_vectors, interpolate
from tracer.runs import build, sources, temperatures, validation
from tracer.runs.calibration import verdict
from tracer.toy import world


@pytest.fixture(scope="module", autouse=True)
def small_world():
    """A few images of a few sets of the embedded world, which take no time."""

    def first(images):
        chosen = range(0, len(images), len(images) // 40)
        return dataclasses.replace(images, images=images.images[chosen], labels=images.labels[chosen])

    def fewer(suite):
        return dataclasses.replace(
            suite,
            in_distribution=first(suite.in_distribution),
            ood={name: first(suite.ood[name]) for name in ("printed", "outline")},
            knowledge={"letters": first(suite.knowledge["letters"])},
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_embedded_suite", {split: fewer(world.suite(split)) for split in ("validation", "test")}.get)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of two models near the pretrained one, as runs leave them."""
    folders = []
    for seed in (1, 2):
        model = clip.create("glyphs", "0").model
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * parameter.std(correction=0) * torch.randn(parameter.shape, generator=generator)
        folders.append(tmp_path_factory.mktemp("runs") / f"seed-{seed}")
        folders[-1].mkdir()
        clip.save_folder(model, folders[-1])
    return folders


@pytest.fixture(scope="module")
def merged(tmp_path_factory, made):
    """The folder that a merge of both by every method leaves."""
    output = tmp_path_factory.mktemp("output")
    assert main(["merge", f"output={output}", "--weights", *map(str, made)]) == 0
    return output / "merged"


@pytest.fixture
def students(tmp_path, made):
    """The two folders, to be changed."""
    return [Path(shutil.copytree(folder, tmp_path / folder.name, symlinks=True)) for folder in made]


def loaded(folder):
    return build.load_encoder(loading.load(None), folder / "student.safetensors" if folder else None)


class TestMerge:
    @pytest.fixture
    def table(self, merged):
        return json.loads((merged / "merge.json").read_text())

    def test_writes_what_it_says(self, merged, made, table):
        rows = {row["name"]: row for row in table["rows"]}
        assert [*rows] == ["pretrained", "seed-1", "seed-2", *METHODS]
        assert (merged / "merge.png").stat().st_size > 0
        chosen_on, reported = validation.suites(loading.load(None))
        for name, folder in (("pretrained", None), ("seed-2", made[1])):
            for kind, suite in (("validation", chosen_on), ("report", reported)):
                assert rows[name][kind]["sets"] == evaluate(loaded(folder), suite)["sets"]
        assert {name: len(tried) for name, tried in table["candidates"].items()} == {
            "wise_ft": 20,
            "uniform_soup": 1,
            "greedy_soup": 3,
            "model_stock": 1,
            "task_vector": 8,
            "lines": 13,
        }
        for name in METHODS:
            row = rows[name]
            assert row["candidates"] == len(table["candidates"][name])
            saved = loaded(merged / name)
            assert evaluate(saved, reported)["sets"] == row["report"]["sets"]
            assert evaluate(saved, chosen_on)["sets"] == row["validation"]["sets"]
        assert rows["lines"]["report"]["sets"] != rows["uniform_soup"]["report"]["sets"]

    def test_chooses_on_validation_alone(self, table):
        def score(report):
            return sum(report[kind]["accuracy"] for kind in ("id", "ood", "knowledge"))

        for name in ("wise_ft", "task_vector", "lines"):
            tried = table["candidates"][name]
            scores = [score(each["validation"]) for each in tried]
            row = next(row for row in table["rows"] if row["name"] == name)
            assert row["parameters"] == tried[scores.index(max(scores))]["parameters"]
        assert len({score(each["validation"]) for each in table["candidates"]["wise_ft"]}) > 5

    def test_what_was_taken_is_what_was_made(self, merged, made, table):
        rows = {row["name"]: row for row in table["rows"]}
        anchor, *models = (loaded(folder).model for folder in (None, *made))
        number = ["seed-1", "seed-2"].index(rows["wise_ft"]["parameters"]["model"])
        expected = {
            "wise_ft": interpolate(anchor, models[number], rows["wise_ft"]["parameters"]["share"]),
            "uniform_soup": add_task_vectors(anchor, models, 1.0),
            "lines": add_task_vectors(
                anchor,
                models,
                {
                    name: rows["lines"]["parameters"]["alpha"] + rows["lines"]["parameters"]["beta"] * depth
                    for name, depth in clip.depths(anchor).items()
                },
            ),
        }
        for name, model in expected.items():
            saved = loaded(merged / name).model
            for key, value in model.state_dict().items():
                torch.testing.assert_close(saved.state_dict()[key], value, atol=FLOAT32, rtol=0)

    def test_open_clip_loads_what_was_taken(self, merged):
        folder = merged / "lines"
        theirs = open_clip.create_model(f"local-dir:{folder}")
        ours = clip.weights(loaded(folder).model)
        assert all(torch.equal(value, ours[name]) for name, value in theirs.state_dict().items())

    def test_settings_may_follow_the_weights(self, tmp_path, students):
        arguments = ["merge", "--weights", str(students[0]), f"output={tmp_path / 'out'}", "--methods", "wise_ft"]
        assert main(arguments) == 0
        assert (tmp_path / "out" / "merged" / "wise_ft" / "student.safetensors").exists()

    def test_one_model_is_merged_by_what_takes_one(self, tmp_path, students):
        assert main(["merge", "--weights", str(students[0]), "--output", str(tmp_path / "one")]) == 0
        table = json.loads((tmp_path / "one" / "merge.json").read_text())
        assert [*table["candidates"]] == ["wise_ft", "task_vector", "lines"]

    def test_names_alike_are_told_apart_by_their_paths(self, tmp_path, students):
        for folder in students:
            (tmp_path / f"other-{folder.name}" / "x").mkdir(parents=True)
            (tmp_path / f"other-{folder.name}" / "x" / "student.safetensors").symlink_to(folder / "student.safetensors")
        weights = [str(tmp_path / f"other-{folder.name}" / "x") for folder in students]
        assert main(["merge", "--weights", *weights, "--output", str(tmp_path / "two"), "--methods", "uniform_soup"]) == 0
        table = json.loads((tmp_path / "two" / "merge.json").read_text())
        assert [row["name"] for row in table["rows"]][1:3] == [f"{folder}/student.safetensors" for folder in weights]


class TestCalibrate:
    @pytest.fixture
    def told(self, tmp_path, students):
        assert main(["calibrate", f"output={tmp_path / 'out'}", "--weights", str(students[0])]) == 0
        (written,) = (tmp_path / "out").glob("calibration-student-*.json")
        return json.loads(written.read_text())

    def test_fits_on_validation_and_tells_of_evaluation(self, students, told):
        chosen_on, reported = validation.suites(loading.load(None))
        encoder, task = loaded(students[0]), chosen_on.in_distribution
        assert told["temperature"] == temperature.fit(logits(encoder, task), torch.as_tensor(task.labels))
        assert abs(told["temperature"] - 1) > 0.02
        assert told["section"] == "validation"
        assert told["before"]["sets"] == evaluate(encoder, reported)["sets"]
        after = evaluate(dataclasses.replace(encoder, temperature=told["temperature"]), reported)
        for name, row in told["after"]["sets"].items():
            assert row["accuracy"] == told["before"]["sets"][name]["accuracy"]
            assert row == pytest.approx(after["sets"][name], abs=1e-5)
            assert row["nll"] != pytest.approx(told["before"]["sets"][name]["nll"], abs=1e-3)

    def test_images_that_are_reported_on_are_called_so(self, tmp_path, students, monkeypatch, capsys):
        reported = validation.suites(loading.load(None))[1]
        monkeypatch.setattr(validation, "suites", lambda run, same_images: (reported, reported))
        assert main(["calibrate", f"output={tmp_path / 'out'}", "--weights", str(students[0]), "--same-images"]) == 0
        assert f"{len(reported.in_distribution)} images of evaluation" in " ".join(capsys.readouterr().out.split())

    def test_evaluate_applies_it_to_these_weights_alone(self, tmp_path, students, told):
        for folder in students:
            (folder / "out").mkdir()
            assert main(["evaluate", f"output={folder / 'out'}", "--weights", str(folder / "student.safetensors")]) == 0
        one, other = (json.loads(next((folder / "out").glob("evaluation-*.json")).read_text()) for folder in students)
        assert one["temperature"] == told["temperature"]
        assert one["id"] == pytest.approx(told["after"]["id"], abs=1e-5)
        assert "temperature" not in other
        kept = temperatures.place(students[0] / "student.safetensors")
        assert kept.exists()
        clip.save(loaded(students[1]).model, students[0] / "student.safetensors")
        assert not temperatures.place(students[0] / "student.safetensors").exists()

    def test_a_head_has_a_temperature_of_its_own(self, tmp_path, students):
        weights = students[0] / "student.safetensors"
        encoder = loaded(students[0])
        words = world.suite("validation").in_distribution
        head = tmp_path / "head.safetensors"
        Head(words.class_names, 0.5 * classifier(encoder, words.class_names, words.templates)).save(head)
        found = {}
        for given in (None, head):
            option = ["--head", str(given)] if given else []
            assert main(["calibrate", f"output={tmp_path / 'out'}", "--weights", str(weights), *option]) == 0
            found[given] = temperatures.load(temperatures.place(weights, given))
        assert found[head] == pytest.approx(0.5 * found[None], rel=1e-4)

    def test_open_clip_does_not_see_it(self, students, told):
        theirs = open_clip.create_model(f"local-dir:{students[0]}")
        ours = clip.weights(loaded(students[0]).model)
        assert all(torch.equal(value, ours[name]) for name, value in theirs.state_dict().items())

    def test_sets_that_it_hurts_are_named(self):
        def changed(**changes):
            before = {name: {"ece": 0.1} for name in changes}
            return {"before": {"sets": before}, "after": {"sets": {name: {"ece": 0.1 + by} for name, by in changes.items()}}}

        assert verdict(changed(id=-0.01, sketch=0.0123, other=0.0)) == (
            "It hurts on 1 of 3 sets, where the calibration error rose, in points: sketch (by 1.2)."
        )
        assert verdict(changed(id=-0.01, sketch=0.0)) == "The calibration error rose on no set."
