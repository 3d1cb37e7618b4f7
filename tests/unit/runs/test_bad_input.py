"""Mistakes of users, through the command line: exit code 2, a sentence each on stderr, and no ruins on the disk."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tracer import tensor_files
from tracer.cli import main
from tracer.models import clip
from tracer.toy import small_clip

QUICK = (
    "model.architecture=glyphs",
    "model.pretrained=null",
    "evaluation=null",
    "optimization.total_steps=3",
    "optimization.batch_size=8",
    "log_every_steps=1",
    "checkpoint_every_steps=1",
)
CAPTIONS = ("the digit one", "the digit two", "a red letter", "a photo of the digit nine")


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


@pytest.fixture
def train(output, capsys):
    """`tracer train` of the embedded model with the overrides; the exit code and the lines of stderr."""

    def run(*overrides, config=None):
        arguments = ["train", *([str(config)] if config else []), f"output={output}", *QUICK, *overrides]
        code = main(arguments)
        return code, capsys.readouterr().err.splitlines()

    return run


@pytest.fixture
def pairs(tmp_path):
    """A CSV file of images and captions, and the images."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    rows = [f"{i}.png,{CAPTIONS[i % len(CAPTIONS)]}" for i in range(8)]
    (folder / "pairs.csv").write_text("\n".join(["filepath,title", *rows]), encoding="utf-8")
    return folder


def csv_data(pairs, **columns):
    settings = {"kind": "csv", "path": str(pairs / "pairs.csv"), **columns}
    return f"data={yaml.safe_dump(settings, default_flow_style=True)}"


def remains(output):
    """Files of weights, and files whose writing began and did not end."""
    files = [path for path in output.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(output)) for path in files if ".safetensors" in path.name or path.name[0] == ".")


def assert_told(outcome, *words, errors=1):
    code, lines = outcome
    assert code == 2
    assert len(lines) == errors, lines
    for line in lines:
        assert line.startswith("tracer: ")
        assert "Traceback" not in line
    for word in words:
        assert word in "\n".join(lines)


def test_sound_input_trains(train, output, pairs):
    """Without this, every test below would pass on a command that always fails."""
    assert train(csv_data(pairs)) == (0, [])
    assert (output / "student.safetensors").is_file()


def test_corrupt_images_within_the_limit_are_listed(train, output, pairs, capsys):
    (pairs / "5.png").write_bytes(b"")
    assert main(["train", f"output={output}", *QUICK, csv_data(pairs, max_corrupt_share=0.2), "optimization.batch_size=7"]) == 0
    told = capsys.readouterr().out.replace("\n", "")
    assert "passed over 1 corrupt training pairs or replay images" in told
    assert "5.png (it is empty)" in told
    assert json.loads((output / "metrics.jsonl").read_text().splitlines()[-1])["data.skipped"] == 1


class TestConfiguration:
    """Nothing is written for a configuration that is wrong."""

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, output):
        yield
        assert not output.exists()

    def test_misspelt_key(self, train):
        assert_told(train("optimization.learning_rat=1"), "optimization.learning_rat", "'learning_rate'")

    def test_wrong_type(self, train):
        assert_told(train("optimization.learning_rate=fast"), "optimization.learning_rate", "'fast'")

    def test_every_error_has_its_own_line(self, train):
        assert_told(train("sed=1", "optimization.learning_rate=fast", "model.batch_norm=off"), errors=3)

    def test_beta_of_zero(self, train):
        assert_told(train("strategy.kernel={kind: beta, a: 0}"), "strategy.kernel", "positive")

    def test_teacher_where_there_is_none(self, train):
        assert_told(train("strategy.name=flyp", "strategy.kernel={kind: uniform}"), "strategy.kernel", "flyp")

    def test_micro_batches_with_tracked_statistics(self, train):
        assert_told(train("optimization.micro_batch_size=4", "model.batch_norm=tracked"), "model.batch_norm")

    def test_batch_of_one(self, train):
        assert_told(train("optimization.batch_size=1"), "optimization.batch_size")

    def test_update_period_beyond_the_run(self, train):
        assert_told(train("strategy.update_every_steps=4"), "update_every")

    def test_warm_up_that_never_ends(self, train):
        assert_told(train("optimization.warmup_steps=3"), "optimization.warmup_steps")

    def test_override_that_is_no_yaml(self, train):
        assert_told(train("seed=["), "seed=[")

    def test_absent_configuration(self, train, tmp_path):
        assert_told(train(config=tmp_path / "none.yaml"), "none.yaml")

    def test_configuration_that_is_no_yaml(self, train, tmp_path):
        (tmp_path / "run.yaml").write_text("seed: [1")
        assert_told(train(config=tmp_path / "run.yaml"), "run.yaml")


class TestModel:
    @pytest.fixture(autouse=True)
    def nothing_is_written(self, output):
        yield
        assert not output.exists()

    def test_unknown_architecture(self, train):
        assert_told(train("model.architecture=glyps"), "'glyps'", "'glyphs'")

    def test_unknown_tag(self, train):
        assert_told(train("model.architecture=ViT-B-16", "model.pretrained=openia"), "'openia'", "'openai'")

    def test_seed_without_checkpoint(self, train):
        assert_told(train("model.pretrained='77'"), "'77'")

    @pytest.mark.parametrize("suffix", ["safetensors", "pt"])
    def test_absent_weights(self, train, tmp_path, suffix):
        assert_told(train(f"model.pretrained={tmp_path}/none.{suffix}"), f"none.{suffix}")

    @pytest.mark.parametrize(
        ("suffix", "content"),
        [
            ("safetensors", b""),
            ("safetensors", b"nonsense" * 50),
            ("pt", b"nonsense" * 50),
            ("pt", b""),
        ],
    )
    def test_damaged_weights(self, train, tmp_path, suffix, content):
        (tmp_path / f"broken.{suffix}").write_bytes(content)
        assert_told(train(f"model.pretrained={tmp_path}/broken.{suffix}"), f"broken.{suffix}")

    def test_weights_of_another_model(self, train, tmp_path):
        tensor_files.save_tensors(tmp_path / "other.safetensors", {"weight": torch.zeros(3)}, {})
        assert_told(train(f"model.pretrained={tmp_path}/other.safetensors"), "other.safetensors", "does not fit")

    def test_weights_of_another_size(self, train, tmp_path):
        encoder = clip.create(small_clip.ARCHITECTURE, None)
        tensors = encoder.model.clip.state_dict()
        tensors["text_projection"] = torch.zeros(2, 2)
        tensor_files.save_tensors(tmp_path / "other.safetensors", tensors, {})
        assert_told(train(f"model.pretrained={tmp_path}/other.safetensors"), "other.safetensors", "text_projection")


class TestData:
    @pytest.fixture(autouse=True)
    def no_weights_are_written(self, output):
        yield
        assert not output.exists() or remains(output) == []

    def test_missing_folder(self, train, tmp_path):
        assert_told(train(f"data={{kind: folder, path: {tmp_path}/none}}"), "none")

    def test_folder_without_classes(self, train, tmp_path):
        (tmp_path / "empty").mkdir()
        assert_told(train(f"data={{kind: folder, path: {tmp_path}/empty}}"), "empty")

    def test_missing_csv(self, train, pairs):
        (pairs / "pairs.csv").unlink()
        assert_told(train(csv_data(pairs)), "pairs.csv")

    def test_absent_caption_column(self, train, pairs):
        assert_told(train(csv_data(pairs, caption_column="titel")), "'titel'", "'title'")

    def test_absent_image(self, train, pairs):
        (pairs / "3.png").unlink()
        assert_told(train(csv_data(pairs)), "3.png")

    def test_empty_caption(self, train, pairs):
        text = (pairs / "pairs.csv").read_text().replace(CAPTIONS[2], " ")
        (pairs / "pairs.csv").write_text(text)
        assert_told(train(csv_data(pairs)), "line 4", "caption")

    def test_row_without_image(self, train, pairs):
        """The caption stands first, and a row ends after it."""
        (pairs / "pairs.csv").write_text("title,filepath\nthe digit one,0.png\nthe digit two\n")
        assert_told(train(csv_data(pairs)), "pairs.csv", "line 3")

    @pytest.mark.parametrize(
        "settings",
        [
            {"kind": "parquet", "path": "pairs.parquet"},
            {"kind": "captioned_folder", "path": "."},
            {"kind": "folder", "path": ".", "class_names": "imagenet"},
            {"kind": "webdataset", "path": "{0..3}.tar"},
            {"kind": "webdataset", "path": "cut.tar"},
            {"kind": "iwildcam", "path": "."},
        ],
        ids=lambda settings: f"{settings['kind']} {settings['path']}",
    )
    def test_other_kinds_of_data_that_are_not_there(self, train, pairs, settings):
        (pairs / "cut.tar").write_bytes(b"x" * 700)
        settings |= {"path": str(pairs / settings["path"])}
        assert_told(train(f"data={yaml.safe_dump(settings, default_flow_style=True)}"), str(pairs))

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("damage", ["nonsense", "cut short", "empty"])
    def test_unreadable_image(self, train, pairs, damage, workers):
        image = pairs / "5.png"
        whole = image.read_bytes()
        image.write_bytes({"nonsense": b"x" * 100, "cut short": whole[: len(whole) // 2], "empty": b""}[damage])
        assert_told(train(csv_data(pairs), f"workers={workers}"), "5.png")

    def test_batch_larger_than_the_data(self, train, pairs):
        assert_told(train(csv_data(pairs), "optimization.batch_size=9"), "8 pairs", "batch")

    def test_caption_outside_the_vocabulary(self, train, pairs):
        text = (pairs / "pairs.csv").read_text().replace(CAPTIONS[2], "a green dragon")
        (pairs / "pairs.csv").write_text(text)
        assert_told(train(csv_data(pairs)), "'dragon'")

    def test_images_of_another_size(self, train, pairs, output):
        """The embedded model sees 32 x 32: a user is told so, or the images are made to fit."""
        Image.new("RGB", (40, 48)).save(pairs / "5.png")
        code, lines = train(csv_data(pairs))
        if code:
            assert_told((code, lines), "32")
        else:
            for weights in remains(output):
                (output / weights).unlink()


class TestLabels:
    """Strategies with a head, which need labelled images whose classes the suite shares."""

    @pytest.fixture
    def folders(self, tmp_path):
        for name in ("one", "two"):
            (tmp_path / "images" / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (32, 32), (40 * i, 0, 0)).save(tmp_path / "images" / name / f"{i}.png")
        return tmp_path / "images"

    @pytest.mark.parametrize("name", ["linear_probe", "ft", "lp_ft"])
    def test_pairs_have_none(self, train, pairs, output, name):
        assert_told(train(csv_data(pairs), f"strategy.name={name}"), "class labels", "csv", "class folders")
        assert not output.exists()

    def test_classes_of_the_suite_that_training_lacks(self, train, folders, output, tmp_path):
        shutil.copytree(folders, tmp_path / "shifted")
        (tmp_path / "shifted" / "two").rename(tmp_path / "shifted" / "twos")
        suite = f"evaluation={{kind: folder, id: {folders}, ood: {{sketch: {tmp_path}/shifted}}, templates: ['{{}}']}}"
        data = f"data={{kind: folder, path: {folders}, templates: ['{{}}']}}"
        assert_told(train("strategy.name=ft", data, suite), "sketch", "'twos'", "did you mean 'two'")
        assert not output.exists()


class TestRunning:
    def test_loss_that_is_not_a_number(self, train, output):
        outcome = train(
            "optimization.learning_rate=1e30",
            "optimization.schedule=constant",
            "optimization.total_steps=20",
            "checkpoint_every_steps=500",
        )
        assert_told(outcome, "at step", "learning_rate")
        assert remains(output) == []

    def test_last_step_that_breaks_the_weights(self, train, output):
        outcome = train(
            "optimization.learning_rate=1e38",
            "optimization.weight_decay=10",
            "optimization.schedule=constant",
            "optimization.total_steps=1",
        )
        assert_told(outcome, "learning_rate")
        assert remains(output) == []

    def test_missing_folder_of_the_suite_is_told_before_training(self, train, output, tmp_path):
        assert_told(train(f"evaluation={{kind: folder, id: {tmp_path}/none}}"), "none")
        assert remains(output) == []

    def test_full_disk(self, train, output, monkeypatch):
        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(tensor_files, "save_file", full)
        assert_told(train(), "the disk is full")
        assert remains(output) == []

    def test_full_disk_while_logging(self, train, output, monkeypatch):
        from tracer.tracking import JsonLines

        def full(*args, **kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(JsonLines, "log", full)
        assert_told(train())
        assert remains(output) == []

    def test_file_in_the_place_of_the_output_folder(self, train, output):
        output.write_text("mine")
        assert_told(train(), "output")
        assert output.read_text() == "mine"

    def test_checkpoint_cut_short(self, train, output):
        assert train()[0] == 0
        newest = sorted((output / "checkpoints").iterdir())[-1]
        os.truncate(newest, newest.stat().st_size // 2)
        before = remains(output)
        assert_told(train(), newest.name, "delete it")
        assert remains(output) == before
        newest.unlink()
        assert train() == (0, [])
        assert remains(output) == before

    def test_output_of_another_configuration(self, train, output):
        assert train()[0] == 0
        configuration, metrics = ((output / name).read_bytes() for name in ("config.yaml", "metrics.jsonl"))
        assert_told(train("optimization.learning_rate=0.5"), "optimization.learning_rate was 0.001 and is 0.5")
        assert (output / "config.yaml").read_bytes() == configuration
        assert (output / "metrics.jsonl").read_bytes() == metrics
        assert [json.loads(line)["step"] for line in metrics.splitlines()] == [1, 2, 3]


class TestEvaluate:
    def test_weights_in_place_of_a_head(self, capsys, tmp_path, output):
        clip.save(clip.create("glyphs", None).model, tmp_path / "student.safetensors")
        code = main(["evaluate", f"output={output}", "model.pretrained=null", "--head", str(tmp_path / "student.safetensors")])
        assert_told((code, capsys.readouterr().err.splitlines()), "student.safetensors", "holds no head")
        assert not output.exists()

    def test_absent_weights(self, capsys, tmp_path, output):
        code = main(["evaluate", f"output={output}", "--weights", str(tmp_path / "none.safetensors")])
        assert_told((code, capsys.readouterr().err.splitlines()), "none.safetensors")
        assert not output.exists()

    def test_missing_folder(self, capsys, tmp_path, output):
        suite = f"evaluation={{kind: folder, id: {tmp_path}/none}}"
        code = main(["evaluate", f"output={output}", "model={architecture: glyphs, pretrained: null}", suite])
        assert_told((code, capsys.readouterr().err.splitlines()), "none")
        assert not output.exists()
