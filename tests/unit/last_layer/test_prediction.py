"""What is predicted and recommended, and the files that tell it."""

import json

import pytest

from tracer.cli import main
from tracer.config import loading
from tracer.errors import UserError
from tracer.last_layer import grid, held
from tracer.last_layer.prediction import listed, recommended

WORDS = "[{kind: words}, {kind: words, longest: 3}]"


def row(accuracy, ood=None, kept=1.0):
    return {"id": {"accuracy": accuracy}, "ood": {} if ood is None else {"accuracy": ood}, "kept": {"pool": kept}}


def test_the_recommended_has_the_best_ood_among_the_feasible():
    rows = [row(0.98, 0.7), row(0.975, 0.8), row(0.969, 0.95), row(0.972, 0.8)]
    assert recommended(rows) == 1
    assert recommended(rows[::-1]) == 2


def test_without_shifted_sets_it_moves_the_pool_least():
    assert recommended([row(0.98, kept=0.7), row(0.975, kept=0.9), row(0.96, kept=1.0)]) == 1


class TestGrid:
    def test_every_setting_is_a_run_of_its_own(self):
        run = loading.validate({"strategy": {"terms": {"fd": 250.0}}, "optimization": {"learning_rate": 3e-4}}, "here")
        runs = grid.settings(run)
        assert len({each.effect() for each in runs}) == len(runs) >= 60
        assert {each.optimization.learning_rate for each in runs} == {1e-4, 3e-4, 9e-4}
        assert {each.strategy.terms.fd for each in runs if each.strategy.name == "tracer"} == {250.0}
        assert all((each.replay is None) == (each.strategy.name != "replay_distillation") for each in runs)

    def test_what_is_replayed_stays(self):
        run = loading.validate({"replay": {"images": {"kind": "noise"}, "terms": {"fd": 250.0}}}, "here")
        replayed = [each for each in grid.settings(run) if each.strategy.name == "replay_distillation"]
        assert {(each.replay.images.kind, each.replay.terms.fd) for each in replayed} == {("noise", 250.0)}
        assert len({each.replay.strength for each in replayed}) == 3

    def test_averages_that_are_followed_are_followed_still(self):
        run = loading.validate({"average": {"snapshots": 4, "kernel": {"kind": "uniform"}, "as_result": True}}, "here")
        assert {(each.average.snapshots, each.average.as_result) for each in grid.settings(run)} == {(4, True)}

    @pytest.mark.parametrize("further", [{}, {"snapshots": 4}])
    def test_settings_of_the_average_of_averaged_alone_are_left_out(self, further):
        average = {"as_result": True, "update_every_steps": 2, **further}
        run = loading.validate({"strategy": {"name": "averaged"}, "average": average}, "here")
        assert {each.average.snapshots for each in grid.settings(run)} == {further.get("snapshots", 0)}
        assert not any(each.average.as_result for each in grid.settings(run))


class TestSweep:
    SWEEP = """
output: {folder}
base: {{optimization: {{total_steps: 4, batch_size: 16}}, seed: 3}}
grid:
  strategy.name: [flyp, tracer]
  optimization.learning_rate: [1.0e-3, 1.0e-4]
  {further}
"""

    def test_its_settings_are_compared(self, tmp_path):
        (tmp_path / "s.yaml").write_text(self.SWEEP.format(folder=tmp_path, further="seed: [0, 1]"))
        run, runs = grid.of_sweep(tmp_path / "s.yaml")
        assert run.output == tmp_path
        told = [(each.strategy.name, each.optimization.learning_rate, each.seed) for each in runs]
        assert told == [("flyp", 1e-3, 0), ("flyp", 1e-4, 0), ("tracer", 1e-3, 0), ("tracer", 1e-4, 0)]

    def test_another_model_is_refused(self, tmp_path):
        (tmp_path / "s.yaml").write_text(self.SWEEP.format(folder=tmp_path, further="model.pretrained: ['0', '1']"))
        with pytest.raises(UserError, match="gathers features once, and settings differ in model"):
            grid.of_sweep(tmp_path / "s.yaml")

    @pytest.mark.parametrize(("name", "values"), [("images", "[{kind: noise}, {kind: photographs}]"), ("texts", WORDS)])
    def test_other_images_or_texts_to_replay_are_refused(self, tmp_path, name, values):
        (tmp_path / "s.yaml").write_text(self.SWEEP.format(folder=tmp_path, further=f"replay.{name}: {values}"))
        with pytest.raises(UserError, match=f"gathers features once, and settings differ in replay.{name}: make a sweep of each"):
            grid.of_sweep(tmp_path / "s.yaml")

    def test_images_alone_texts_alone_and_neither_are_compared(self, tmp_path):
        parts = "[null, {images: {kind: noise}, texts: null}, {images: null, texts: {kind: words, longest: 3}, texts_per_step: 2}]"
        (tmp_path / "s.yaml").write_text(self.SWEEP.format(folder=tmp_path, further=f"replay: {parts}"))
        run, runs = grid.of_sweep(tmp_path / "s.yaml")
        assert {each.replay is None for each in runs} == {True, False}
        assert (run.replay.images.kind, run.replay.texts.longest) == ("noise", 3)
        assert (run.images_replayed, run.texts_replayed) == (16, 2)


def test_texts_to_replay_without_images_are_those_of_the_run(tmp_path):
    """What is kept is measured on the default images then."""
    (tmp_path / "texts.txt").write_text("the letter a\nthe letter b\n")
    texts = {"kind": "file", "path": str(tmp_path / "texts.txt")}
    replay = {"images": None, "texts": texts, "texts_per_step": 2, "strength": 3.0}
    run = loading.validate({"output": str(tmp_path), "model": {"architecture": "glyphs"}, "replay": replay}, "the test")
    read = listed(run, 20)
    assert read.run.replay.texts == run.replay.texts
    assert read.run.replay.images.kind == "photographs"
    assert len(read.pool) > 0


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """A folder of a prediction of a few short runs."""
    folder = tmp_path_factory.mktemp("predicted")
    given = [f"output={folder}", "model.architecture=glyphs", "optimization.total_steps=6", "optimization.batch_size=16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "RATES", (1.0,))
        patch.setattr(grid, "STRENGTHS", {name: grid.STRENGTHS[name][:1] for name in ("flyp", "wise_ft", "replay_distillation")})
        assert main(["predict", *given, "--pairs", "100"]) == 0
    return folder / "prediction"


class TestCommand:
    def test_every_setting_has_a_row(self, predicted):
        told = json.loads((predicted / "prediction.json").read_text())
        assert [each["strategy"] for each in told["rows"]] == ["flyp", "wise_ft", "replay_distillation"]
        for each in told["rows"]:
            assert each["kept"].keys() == {*each["sets"], "pool"}
            assert 0 < each["kept"]["pool"] < 1
        assert told["paces"][0] > 2
        assert told["task"]["effective"] < told["task"]["features"] == 257
        assert 0 < told["pools"][held.OWN]["coverage"] < told["pools"][held.REPLAYED]["coverage"] <= 1
        assert told["banks"].keys() == {held.OWN, held.REPLAYED}

    def test_training_takes_what_is_recommended(self, predicted):
        told = json.loads((predicted / "prediction.json").read_text())
        run = loading.load(predicted / "recommended.yaml", [])
        taken = told["rows"][told["recommended"]]
        assert run.strategy.name == taken["strategy"]
        assert run.optimization.learning_rate == taken["learning_rate"]
        assert (predicted / "recommended.yaml").read_text().startswith(f"# {taken['strategy']}")

    def test_the_page_has_figure_and_reason(self, predicted):
        told = json.loads((predicted / "prediction.json").read_text())
        page = (predicted / "prediction.html").read_text()
        assert told["reason"] in page
        assert "data:image/png;base64," in page
        assert page.count('class="recommended"') == 1
