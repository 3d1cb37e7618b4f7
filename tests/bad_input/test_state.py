"""Folders that hold another run, are in use or damaged, and disks that are full."""

import errno
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.bad_input.case import Case, assert_told, each
from tracer import tensor_files, tracking
from tracer.cli import main
from tracer.runs import disk_space, lock
from tracer.tracking import JsonLines

LAST = "run/checkpoints/step-00000002.safetensors"
DAMAGED = f"{LAST} is damaged or cut short.*delete it to begin again"


@pytest.fixture(scope="session")
def finished(belongings, tmp_path_factory):
    """The folder of a finished run of base.yaml, made once."""
    made = tmp_path_factory.mktemp("finished") / "run"
    here = os.getcwd()
    os.chdir(belongings)
    try:
        settings = ["optimization.total_steps=2", "optimization.batch_size=4", "optimization.learning_rate=1e-4", "evaluation=null"]
        data = ["model.architecture=local-dir:tiny", "data={kind: folder, path: photos}"]
        assert main(["train", f"output={made}", *settings, *data, "log_every_steps=1"]) == 0
    finally:
        os.chdir(here)
    return made


@pytest.fixture
def folder(folder, finished):
    """The working folder of a case, with the finished run in it."""
    shutil.copytree(finished, folder / "run")
    return folder


def photos(change):
    """A copy of the photos, changed."""

    def write(path: Path):
        shutil.copytree("photos", path)
        change(path)

    return write


def tiny(weights=lambda tensors: tensors, **changes):
    """A copy of the model, with other weights or another configuration."""

    def write(path: Path):
        shutil.copytree("tiny", path)
        save_file(weights(load_file(path / "open_clip_model.safetensors")), path / "open_clip_model.safetensors")
        configuration = json.loads((path / "open_clip_config.json").read_text())
        configuration["model_cfg"] |= changes
        (path / "open_clip_config.json").write_text(json.dumps(configuration))

    return write


def nudged(tensors):
    return tensors | {"logit_scale": tensors["logit_scale"] + 1e-3}


def flipped(position):
    """Flip a bit at a share of the file."""

    def write(path: Path):
        content = bytearray(path.read_bytes())
        content[int(position * len(content))] ^= 16
        path.write_bytes(content)

    return write


def without_checksum(path: Path):
    save_file(load_file(path), path, metadata={"tracer": json.dumps({"step": 2, "identity": {}})})


def cut_short(path: Path):
    os.truncate(path, path.stat().st_size // 2)


def a_folder(path: Path):
    path.unlink()
    path.mkdir()


def only_begun(path: Path):
    shutil.rmtree(path / "checkpoints")


def damaged_begun(path: Path):
    only_begun(path)
    (path / "checkpoints.json").write_bytes(b"\xff{")


OTHERS = [
    Case(
        "other rate", "train base.yaml optimization.learning_rate=0.5", "when step 2 was saved.*learning_rate was 0.0001 and is 0.5"
    ),
    Case("other strategy", "train base.yaml strategy.name=flyp", "strategy.name was 'tracer' and is 'flyp'"),
    Case("other seed", "train base.yaml seed=3", "seed was 0 and is 3.*choose a new output folder"),
    Case("other run begun", "train base.yaml seed=3", "when the run began.*seed was 0 and is 3", {"run": only_begun}),
    Case(
        "class renamed",
        "train base.yaml data.path=mine",
        "data.path has other pairs than when step 2 was saved: 3 classes, 'cat' is gone, 'puma' is new",
        {"mine": photos(lambda path: (path / "cat").rename(path / "puma"))},
    ),
    Case(
        "class gone",
        "train base.yaml data.path=mine",
        "12 pairs then and 8 now, 3 classes then and 2 now, 'dog' is gone",
        {"mine": photos(lambda path: shutil.rmtree(path / "dog"))},
    ),
    Case(
        "image more",
        "train base.yaml data.path=mine",
        "12 pairs then and 13 now",
        {"mine": photos(lambda path: shutil.copy(path / "dog" / "0.png", path / "dog" / "new.png"))},
    ),
    Case(
        "image renamed",
        "train base.yaml data.path=mine",
        "data.path has other pairs.*other files",
        {"mine": photos(lambda path: (path / "dog" / "0.png").rename(path / "dog" / "00.png"))},
    ),
    Case(
        "other weights",
        "train base.yaml model.architecture=local-dir:mine",
        "other weights than when step 2 was",
        {"mine": tiny(nudged)},
    ),
    Case(
        "other activation",
        "train base.yaml model.architecture=local-dir:mine",
        "model.model_cfg.quick_gelu was None and is True",
        {"mine": tiny(quick_gelu=True)},
    ),
]
DAMAGES = [
    Case("flipped bit in the header", "train base.yaml", DAMAGED, {LAST: flipped(0.0005)}),
    Case("flipped bit in the middle", "train base.yaml", DAMAGED, {LAST: flipped(0.5)}),
    Case("flipped bit at the end", "train base.yaml", DAMAGED, {LAST: flipped(0.99999)}),
    Case("flipped length of the header", "train base.yaml", DAMAGED, {LAST: flipped(0)}),
    Case("checkpoint cut short", "train base.yaml", DAMAGED, {LAST: cut_short}),
    Case("empty checkpoint", "train base.yaml", DAMAGED, {LAST: b""}),
    Case("text for a checkpoint", "train base.yaml", DAMAGED, {LAST: "weights"}),
    Case("zeros for a checkpoint", "train base.yaml", DAMAGED, {LAST: b"\0" * 5000}),
    Case(
        "checkpoint without a checksum",
        "train base.yaml",
        "no checksum, or is of an earlier version.*delete it",
        {LAST: without_checksum},
    ),
    Case("folder for a checkpoint", "train base.yaml", f"cannot read {LAST} .Is a directory", {LAST: a_folder}),
    Case("damaged identity", "train base.yaml", "checkpoints.json is damaged.*delete it", {"run": damaged_begun}),
    Case(
        "run of another machine",
        "train base.yaml",
        "in use by process 7 on there.*if that run is dead, delete .*lock.json",
        {"run/lock.json": '{"host": "there", "process": 7}'},
    ),
]
PLACES = [
    Case("file for the output folder", "train base.yaml output=base.yaml", "output is base.yaml, but it is a file"),
    Case("output below a file", "train base.yaml output=base.yaml/deep/run", "its part base.yaml is a file"),
    Case("output in a place of the system", "train base.yaml output=/proc/tracer/run", "cannot write into /proc/tracer/run"),
    Case("output with a name too long", f"train base.yaml output={'x' * 300}", "is too long: shorten it"),
]
FIRST = [
    Case("batch above the pairs", "train base.yaml output=new optimization.batch_size=13", "12 pairs, fewer than one batch of 13"),
    Case(
        "labels that data lack",
        "train base.yaml output=new 'data={kind: csv, path: a.csv}' strategy.name=ft",
        "learns class labels",
        {"a.csv": "filepath,title\nphotos/cat/0.png,a cat\n"},
    ),
    Case("no photos", "train base.yaml output=new data.path=none", "no folder none"),
]


@each([*OTHERS, *DAMAGES, *PLACES])
def test_is_told_and_the_run_stays_as_it_is(case, folder, capsys):
    before = {name: (folder / "run" / name).read_bytes() for name in ("config.yaml", "metrics.jsonl", "student.safetensors")}
    assert_told(case._replace(ruins=("new",)), folder, capsys)
    assert {name: (folder / "run" / name).read_bytes() for name in before} == before


@each(FIRST)
def test_is_told_before_the_model_is_loaded(case, folder, capsys, monkeypatch):
    def load(*arguments, **named):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("tracer.models.clip.create", load)
    assert_told(case._replace(ruins=("new",)), folder, capsys)


def test_the_same_run_is_accepted(folder, capsys):
    """Without this, every case would pass on a command that always fails: data and model may lie elsewhere."""
    for name, make in (("mine", photos(lambda path: None)), ("model", tiny())):
        make(folder / name)
    assert main(["train", "base.yaml", "data.path=mine", "model.architecture=local-dir:model"]) == 0
    assert main(["train", "base.yaml", "keep_checkpoints=1"]) == 0
    assert capsys.readouterr().err == ""


def test_folder_in_use(folder, capsys):
    with lock.held(folder / "run"):
        assert_told(Case("", "train base.yaml", f"run is in use by process {os.getpid()} on ", ruins=()), folder, capsys)


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("where", "name", "failure", "answer"),
    [
        (
            disk_space.shutil,
            "disk_usage",
            lambda path: namedtuple("Usage", "free")(1000),
            "new needs .* GB more .*lower keep_checkpoints",
        ),
        (tensor_files, "save_file", full, "cannot write .*the disk is full"),
        (os, "fsync", full, "cannot write .*the disk is full"),
        (JsonLines, "log", full, "No space left"),
        (tracking, "find_spec", lambda name: None, "the tracker wandb is not installed"),
    ],
    ids=["little space", "full while saving", "full at the end of saving", "full while logging", "no wandb"],
)
def test_machine_that_lacks_something(folder, capsys, monkeypatch, where, name, failure, answer):
    monkeypatch.setattr(where, name, failure)
    tracker = " trackers=[wandb]" if name == "find_spec" else ""
    assert_told(Case("", f"train base.yaml output=new log_every_steps=1{tracker}", answer, ruins=()), folder, capsys)
    assert [*folder.glob("new/**/*.safetensors"), *folder.glob("new/**/.*")] == []
    assert not (folder / "new" / lock.NAME).exists()


def test_damaged_metrics_cost_a_line_and_not_the_run(folder, caplog):
    metrics = folder / "run" / "metrics.jsonl"
    metrics.write_text('{"step": 1, "loss": 1.0}\n{"step": 1, "lo\n{"step": 2, "loss": 0.5}\n')
    assert main(["train", "base.yaml"]) == 0
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [1, 2]
    assert [record.getMessage() for record in caplog.records] == ["run/metrics.jsonl: line 2 cannot be read, and is left out"]


def test_weights_called_alike_keep_a_report_each(folder):
    tensors = load_file(folder / "run" / "student.safetensors")
    for name, change in (("a", 0.0), ("b", 0.5)):
        (folder / name).mkdir()
        changed = tensors | {"logit_scale": torch.as_tensor(tensors["logit_scale"]) + change}
        tensor_files.save_tensors(
            folder / name / "student.safetensors", changed, tensor_files.load_metadata(folder / "run" / "student.safetensors")
        )
        suite = "evaluation={kind: folder, id: photos}"
        assert main(["evaluate", "base.yaml", "output=new", suite, "--weights", f"{name}/student.safetensors"]) == 0
    assert len(list((folder / "new").glob("evaluation-student-*.json"))) == 2
