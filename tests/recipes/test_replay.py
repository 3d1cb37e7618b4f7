"""The experiment on replay: its cells, its pools, and the tables of its README."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from tests.experiments import imported
from tracer.data.image_files import images_below
from tracer.runs import fine_tune as running

FOLDER = Path(__file__).parents[2] / "experiments" / "replay"
MODULES = ("cells", "pools", "tuning", "run", "tables", "coverage")
MADE = ("glyphs", "noise", "two photographs", "mixed task images", "shuffled task images", "task images")


@pytest.fixture
def modules(monkeypatch):
    with imported("replay", *MODULES) as found:
        monkeypatch.setattr(found["pools"], "COUNT", 8)
        monkeypatch.setattr(found["pools"], "POOLS", {name: found["pools"].POOLS[name] for name in MADE})
        yield found


def planned(modules, part, tmp_path):
    run = modules["run"]
    return run.PARTS[part](argparse.Namespace(runs=tmp_path, horizons=run.HORIZONS))


@pytest.mark.parametrize("part", ["strategies", "pools", "texts", "amounts", "horizons", "frontiers"])
def test_cells_are_sound_and_told_apart(modules, part, tmp_path):
    cells = planned(modules, part, tmp_path)
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names) > 4
    effects = {cell.job("0", 0, tmp_path, "test").run.effect() for cell in cells}
    assert len(effects) == len(cells)


def test_a_line_tells_what_was_run(modules, tmp_path):
    cell = modules["cells"].Cell("x", "flyp", 2, interpolations=(0.5,), told={"what": "flyp"})
    lines = modules["cells"].run([cell], ["0"], [3], "validation", tmp_path, 1)
    assert [line["name"] for line in lines] == ["x", "wise_ft 0.5 of x"]
    assert all((line["model"], line["seed"], line["steps"]) == ("0", 3, 2) for line in lines)
    assert lines[0]["ID"] != lines[1]["ID"]


def test_pools_are_what_they_are_called(modules, tmp_path):
    """The patches of a shuffled image are those of one of the task's; a mixed one is between two of them."""
    pools, task = modules["pools"], np.asarray(list(images_below(modules["pools"].folder("task images", tmp_path))))
    for name in MADE:
        images = images_below(pools.folder(name, tmp_path))
        assert len(images) == (len(task) if name == "task images" else 8)
        assert images[0].shape == (32, 32, 3)
    shuffled = np.asarray(images_below(pools.folder("shuffled task images", tmp_path))[0])
    sums = np.sort(shuffled.reshape(4, 8, 4, 8, 3).sum(axis=(1, 3, 4)), axis=None)
    assert any(np.array_equal(sums, np.sort(image.reshape(4, 8, 4, 8, 3).sum(axis=(1, 3, 4)), axis=None)) for image in task)


def test_coverage_orders_pretraining_before_noise_before_the_task(modules, tmp_path, monkeypatch):
    monkeypatch.setattr(modules["pools"], "COUNT", 1000)
    monkeypatch.setattr(
        modules["pools"], "POOLS", {name: modules["pools"].POOLS[name] for name in ("glyphs", "noise", "task images")}
    )
    found = modules["coverage"].predicted("0", tmp_path)
    shares = [found[name]["coverage"] for name in ("glyphs", "noise", "task images")]
    assert shares == sorted(shares, reverse=True)
    assert found["task images"]["kappa"] > 1000 * found["glyphs"]["kappa"]


@pytest.mark.parametrize("part", ["strategies", "pools", "texts", "amounts", "horizons"])
def test_tables_of_the_readme_are_what_was_measured(modules, part):
    """A line with the same values for every cell, whatever it is called there."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    lines = json.loads((FOLDER / f"{part}.json").read_text(encoding="utf-8"))
    for name, group in modules["cells"].grouped(lines).items():
        values = [modules["tables"]._percent(modules["tables"].over_models(group, m)) for m in ("ID", "OOD", "knowledge")]
        assert f"| {' | '.join(values)} |" in readme, name


def test_what_strategies_keep_at_one_accuracy_is_what_was_measured(modules):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    lines = json.loads((FOLDER / "frontiers.json").read_text(encoding="utf-8"))
    rows = [line for line in modules["tables"]._reaching(lines).splitlines() if "±" in line]
    assert len(rows) == len({line["what"] for line in lines})
    assert [row for row in rows if row not in readme] == []


def test_two_steps_of_each_kind_of_replay(modules, tmp_path):
    for cell in planned(modules, "texts", tmp_path):
        run = cell.job("0", 0, tmp_path, "validation").run
        short = run.model_copy(update={"optimization": run.optimization.model_copy(update={"total_steps": 2, "batch_size": 8})})
        assert running.fine_tune(short).report["id"]["accuracy"] > 0.3
