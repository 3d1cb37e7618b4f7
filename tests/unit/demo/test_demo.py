"""The demonstration from end to end, two steps a run, and the pretraining that made its checkpoints."""

import json
import re
import shutil

import pytest

from tracer.cli import main
from tracer.config.defaults import EMBEDDED_ARCHITECTURES
from tracer.config.loading import validate
from tracer.demo.pretrain import RECIPES, pretrain
from tracer.demo.settings import CHOSEN
from tracer.errors import UserError
from tracer.models import clip
from tracer.runs.fine_tune import fine_tune
from tracer.tensor_files import load_tensors
from tracer.toy.small_clip import IMAGE_TOWERS, checkpoint, shipped


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    assert main(["demo", "--output", str(folder), "--seeds", "2", "--steps", "2"]) == 0
    return folder


def test_every_strategy_is_in_the_results(shown):
    results = json.loads((shown / "results.json").read_text())
    assert set(results["table"]) == set(CHOSEN)
    assert results["table"]["zero_shot"]["OOD"]["mean"] > 0.8


def test_figures_are_images_and_the_page_needs_nothing_else(shown):
    for name in ("trade_off", "reliability", "gaps", "samples"):
        assert (shown / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (shown / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    for name in CHOSEN:
        assert f"<td>{name}</td>" in page


def test_models_can_be_pretrained_anew(tmp_path, monkeypatch):
    """With the pretraining itself replaced by a copy of a shipped checkpoint: it takes minutes."""

    def copied(seed, output, on_step):
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkpoint(str(2 - seed)), output)

    monkeypatch.setattr("tracer.demo.run.pretrain", copied)
    folder = tmp_path / "out"
    assert main(["demo", "--output", str(folder), "--seeds", "1", "--steps", "1", "--pretrain"]) == 0
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert {row["pretrained"] for row in rows} == {str(folder / "glyphs-0.safetensors")}
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["1-steps"]


def test_one_seed_has_no_intervals(shown, tmp_path, capsys):
    folder = tmp_path / "one"
    shutil.copytree(shown / "runs", folder / "runs")  # it goes on from them
    assert main(["demo", "--output", str(folder), "--seeds", "1", "--steps", "2"]) == 0
    text = capsys.readouterr().out
    results = json.loads((folder / "results.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    assert results["table"]["tracer"]["ID"]["half_width"] is None
    for shown in (text, (folder / "report.html").read_text()):
        assert "±" not in shown
        assert "nan" not in re.sub(r"base64,[^\"]*", "", shown)


def test_more_seeds_than_checkpoints_are_refused(tmp_path, capsys):
    assert main(["demo", "--output", str(tmp_path / "d"), "--seeds", "99"]) == 2
    assert "--pretrain" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_a_weak_model_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr("tracer.demo.pretrain.PAIRS", 1000)
    output = tmp_path / "glyphs-0.safetensors"
    with pytest.raises(UserError, match="too weak zero-shot on validation"):
        pretrain(0, output, steps=2)
    assert not output.exists()


def test_every_architecture_is_known_everywhere():
    assert tuple(IMAGE_TOWERS) == EMBEDDED_ARCHITECTURES == tuple(RECIPES)


@pytest.mark.parametrize("architecture", IMAGE_TOWERS)
def test_every_architecture_is_pretrained_and_fine_tuned(architecture, tmp_path, monkeypatch):
    monkeypatch.setattr("tracer.demo.pretrain.PAIRS", 1000)
    monkeypatch.setattr("tracer.demo.pretrain.LEAST_ACCURACY", {})
    output = tmp_path / "model.safetensors"
    pretrain(0, output, steps=2, architecture=architecture)
    model = {"architecture": architecture, "pretrained": str(output)}
    steps = {"total_steps": 2, "batch_size": 8}
    run = validate({"output": str(tmp_path / "run"), "model": model, "strategy": {"name": "tracer"}, "optimization": steps}, "test")
    assert run.optimization.precision == "fp32"  # as for all models of the embedded world
    assert fine_tune(run).report["knowledge"]["accuracy"] < 0.5


@pytest.mark.parametrize("seed", shipped())
def test_shipped_checkpoints_are_small_and_load(seed):
    assert checkpoint(seed).stat().st_size < 900_000
    weights = load_tensors(checkpoint(seed))
    model = clip.create("glyphs", seed).model
    assert set(clip.weights(model)) == set(weights)


def test_at_least_three_checkpoints_are_shipped():
    assert len(shipped()) >= 3
