"""`tracer train` and `tracer evaluate` on the published suites, with tiny models and replicas."""

import json

import open_clip
import pytest
import torch

from tests import replicas
from tests.unit.data.test_imagenet import PLANTED
from tests.unit.data.test_iwildcam import ROWS
from tracer.cli import main
from tracer.data import label_tables
from tracer.evaluation.report import evaluate
from tracer.models import clip
from tracer.models.merging import interpolate
from tracer.toy import small_clip

TINY = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
CATEGORIES = [(0, "zero"), (1, "one"), (2, "two"), (3, "three"), (99999, "four")]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A tiny model under open_clip's names, and one caption a class."""
    monkeypatch.setattr(label_tables, "openai_templates", lambda: ("a {}.",))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    (tmp_path / "ViT-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "ViT-tiny.json")
    torch.manual_seed(0)
    clip.save(clip.create("ViT-tiny", None).model, tmp_path / "tiny.safetensors")
    return f"model={{architecture: ViT-tiny, pretrained: {tmp_path}/tiny.safetensors}}"


@pytest.fixture
def wild(tmp_path):
    """Arguments that name iWildCam for the embedded model, two sets of its weights, and the suite."""
    replicas.iwildcam(tmp_path / "wilds", ROWS, CATEGORIES)
    for seed, name in enumerate(("pretrained", "student")):
        torch.manual_seed(seed)
        clip.save(clip.create("glyphs", None).model, tmp_path / f"{name}.safetensors")
    suite = f"evaluation={{kind: iwildcam, path: {tmp_path}/wilds, templates: ['the digit {{}}']}}"
    return [f"output={tmp_path}/out", f"model={{architecture: glyphs, pretrained: {tmp_path}/pretrained.safetensors}}", suite]


def check_told(capsys, arguments, *words):
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_imagenet_family_trains_and_evaluates(tmp_path, tiny, capsys):
    root = replicas.imagenet_family(tmp_path / "data", PLANTED)
    (root / "objectnet-1.0" / "images" / "eyeglasses").rmdir()  # of which nothing is planted, so that there is nothing to train on
    suite = f"evaluation={{kind: imagenet, root: {root}, sets: [v2, objectnet]}}"
    data = f"data={{kind: folder, path: {root}/objectnet-1.0/images}}"
    common = [tiny, suite, data, "optimization.total_steps=1", "optimization.batch_size=4"]
    assert main(["train", f"output={tmp_path}/a", *common]) == 0
    assert main(["evaluate", f"output={tmp_path}/b", *common, "--weights", f"{tmp_path}/a/student.safetensors"]) == 0
    (report,) = (tmp_path / "b").glob("evaluation-student-*.json")
    trained, judged = (json.loads(path.read_text()) for path in (tmp_path / "a" / "evaluation.json", report))
    teacher = trained.pop("teacher")
    assert trained == judged
    assert teacher["sets"].keys() == trained["change"]["sets"].keys() == judged["sets"].keys()
    assert {name: row["count"] for name, row in judged["sets"].items()} == {"id": 4, "v2": 4, "objectnet": 5}
    assert "macro F1" in capsys.readouterr().out


class TestInterpolations:
    def test_every_share_is_judged(self, tmp_path, wild):
        from tracer.config import loading
        from tracer.runs import build, sources

        weights = tmp_path / "student.safetensors"
        assert main(["evaluate", *wild, "--weights", str(weights), "--interpolations", "1,0,0.25"]) == 0
        (written,) = (tmp_path / "out").glob("interpolations-student-*.json")
        reports = json.loads(written.read_text())
        assert written.with_suffix(".png").stat().st_size > 0
        assert [report["interpolation"] for report in reports] == [0, 0.25, 1]
        means = [report["id"]["accuracy"] + report["ood"]["accuracy"] for report in reports]
        assert [report["taken"] for report in reports] == [place == means.index(max(means)) for place in range(3)]
        run = loading.load(None, wild)
        suite = sources.evaluation_suite(run.evaluation)
        anchor, student = build.load_encoder(run), build.load_encoder(run, weights)
        for report, encoder in ((reports[0], anchor), (reports[2], student)):
            assert report["sets"] == evaluate(encoder, suite)["sets"]
        quarter = interpolate(anchor.model, student.model, 0.25)
        mixed = type(anchor)(quarter, small_clip.preprocess, small_clip.preprocess, small_clip.TOKENIZER)
        assert reports[1]["sets"] == evaluate(mixed, suite)["sets"]
        assert len({report["sets"]["id"]["nll"] for report in reports}) == 3

    @pytest.mark.parametrize("text", ["0,2", "", "0;1", "nan"])
    def test_shares_lie_between_the_two(self, tmp_path, wild, capsys, text):
        weights = str(tmp_path / "student.safetensors")
        check_told(capsys, ["evaluate", *wild, "--weights", weights, "--interpolations", text], "from 0 to 1")
        assert not (tmp_path / "out").exists()

    def test_both_ends_are_needed(self, tmp_path, wild, capsys):
        check_told(capsys, ["evaluate", *wild, "--interpolations", "0,1"], "--weights")
        weights = str(tmp_path / "student.safetensors")
        check_told(
            capsys,
            ["evaluate", *wild, "model.pretrained=null", "--weights", weights, "--interpolations", "0,1"],
            "model.pretrained is null",
        )

    def test_shifted_sets_are_needed(self, tmp_path, wild, capsys):
        folder = replicas.class_folders(tmp_path / "digits", ["one", "two"], {"one": [(1, 2)], "two": [(2, 1)]})
        suite = f"evaluation={{kind: folder, id: {folder}, templates: ['the digit {{}}']}}"
        weights = str(tmp_path / "student.safetensors")
        check_told(capsys, ["evaluate", *wild, suite, "--weights", weights, "--interpolations", "0,1"], "no OOD sets")


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ("{kind: imagenet}", ["evaluation.root is missing"]),
        ("{kind: imagenet, root: ., sets: [v3]}", ["'v3'", "'v2'"]),
        ("{kind: imagenet, root: nowhere}", ["nowhere/imagenet/val"]),
        ("{kind: iwildcam, path: nowhere}", ["nowhere/metadata.csv"]),
        ("{kind: imagnet, root: .}", ["'imagnet'", "'imagenet'"]),
    ],
)
def test_mistakes_have_one_sentence(tmp_path, capsys, suite, words):
    check_told(capsys, ["train", f"output={tmp_path}/out", "model.architecture=glyphs", f"evaluation={suite}"], *words)
    assert not (tmp_path / "out").exists()


def test_judged_weights_have_one_report_written_once(tmp_path, wild, monkeypatch):
    from tracer.runs import judging

    written, write = [], judging.write_text
    monkeypatch.setattr(judging, "write_text", lambda path, text: (written.append(path.name), write(path, text)))
    assert main(["evaluate", *wild, "--weights", str(tmp_path / "student.safetensors")]) == 0
    (name,) = written
    assert "change" in json.loads((tmp_path / "out" / name).read_text())


def test_the_pretrained_model_alone_leaves_the_runs_report(tmp_path, wild):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "evaluation.json").write_text("the run's")
    assert main(["evaluate", *wild]) == 0
    assert (tmp_path / "out" / "evaluation.json").read_text() == "the run's"
    assert "id" in json.loads((tmp_path / "out" / "evaluation-pretrained.json").read_text())
