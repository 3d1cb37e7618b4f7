import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests import models  # noqa: F401 (torch, before commands import it)
from tracer import __version__
from tracer.cli import main
from tracer.config import loading

COMMANDS = ("demo", "pretrain", "train", "evaluate", "strategies", "sweep", "explore")
STUDENT = ("sets", "id", "ood", "knowledge", "reliability")
HEAVY = ("torch", "open_clip", "accelerate", "matplotlib", "sklearn", "sympy", "scipy")


def imported_by(statement):
    """Which heavy packages a fresh interpreter holds after a statement that may exit."""
    code = f"""
import contextlib, io, sys
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    {statement}
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments):
    assert imported_by(f"from tracer.cli import main; main({arguments})") == "[]"


def test_package_imports_torch_only_when_asked():
    assert imported_by("import tracer; tracer.__version__") == "[]"
    assert "'torch'" in imported_by("import tracer; tracer.Teacher")


def test_unknown_names_of_the_package_are_attribute_errors():
    import tracer

    with pytest.raises(AttributeError, match="Studnet"):
        tracer.Studnet  # noqa: B018


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in (COMMANDS if arguments == ["--help"] else arguments[:1]))


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "--unknown"], ["demo", "--seeds", "many"]], ids=" ".join)
def test_usage_errors_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage: tracer" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_printed_configuration_is_the_one_that_runs(capsys, tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 4\noptimization: {total_steps: 9}\n")
    assert main(["train", str(tmp_path / "run.yaml"), "optimization.total_steps=8", "--print-config"]) == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    printed = loading.load(tmp_path / "printed.yaml")
    assert (printed.seed, printed.optimization.total_steps) == (4, 8)
    assert printed == loading.load(tmp_path / "run.yaml", ["optimization.total_steps=8"])


def test_trains_and_evaluates(capsys, tmp_path):
    """The numbers of `evaluate` on the weights that `train` wrote are those that `train` wrote."""
    rng = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{i}.png")
    images = f"{{kind: folder, path: {tmp_path}/images, templates: ['the digit {{}}']}}"
    suite = f"{{kind: folder, id: {tmp_path}/images, templates: ['the digit {{}}']}}"
    common = [
        "model.architecture=glyphs",
        f"data={images}",
        f"evaluation={suite}",
        "optimization.total_steps=2",
        "optimization.batch_size=6",
    ]
    assert main(["train", f"output={tmp_path}/a", "model.pretrained=null", *common]) == 0
    weights = f"{tmp_path}/a/student.safetensors"
    assert main(["evaluate", f"output={tmp_path}/b", *common, "--weights", weights]) == 0
    (judged,) = (tmp_path / "b").glob("evaluation-student-*.json")
    reports = [json.loads(path.read_text()) for path in (tmp_path / "a" / "evaluation.json", judged)]
    assert {key: reports[0][key] for key in STUDENT} == {key: reports[1][key] for key in STUDENT}
    assert set(reports[1]) == {*STUDENT, "pretrained", "change"}
    assert set(reports[0]) == {*STUDENT, "teacher"}, "random weights are no pretrained model"
    assert reports[0]["sets"]["id"]["count"] == 12
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "accuracy" in captured.out
    assert captured.out.startswith("model.pretrained is null: the model starts from random weights")


def test_options_may_stand_between_overrides(capsys):
    assert main(["train", "seed=4", "--print-config", "workers=1"]) == 0
    printed = capsys.readouterr().out
    assert "seed: 4" in printed
    assert "workers: 1" in printed


def test_a_file_may_lie_in_the_folder_of_a_sweeps_run(capsys, tmp_path, monkeypatch):
    """A folder that is called like an override is none: it is there where the command runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed=5").mkdir()
    (tmp_path / "seed=5" / "config.yaml").write_text("workers: 1")
    assert main(["train", "seed=5/config.yaml", "--print-config", "seed=4"]) == 0
    printed = capsys.readouterr().out
    assert "seed: 4" in printed
    assert "workers: 1" in printed
    assert main(["train", "seed=5", "--print-config"]) == 0
    assert "seed: 5" in capsys.readouterr().out


def test_interruption_exits_with_130(capsys, monkeypatch):
    from tracer.runs import fine_tune as running

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "fine_tune", interrupted)
    assert main(["train"]) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().err
