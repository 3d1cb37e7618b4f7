"""Sweeps: which runs a file means, what is refused, and that an interrupted sweep ends as if nothing had happened."""

import json
import signal
import subprocess
import sys

import pytest
import yaml

from tracer.cli import main
from tracer.errors import UserError
from tracer.evaluation.intervals import interval
from tracer.runs import sweep

SEVERAL = "strategy.strength, optimization.learning_rate"
QUICK = {
    "optimization": {"total_steps": 2, "batch_size": 8},
    "strategy": {"name": "l2_sp"},
    "log_every_steps": 1,
    "checkpoint_every_steps": 1,
}


@pytest.fixture
def written(tmp_path):
    """A sweep's file; None takes a key out."""

    def write(**changes):
        values = {"output": str(tmp_path / "sweep"), "base": QUICK, "grid": {"strategy.strength": [0.1, 0.3], "seed": [0, 1]}}
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in (values | changes).items() if v is not None}, sort_keys=False))
        return path

    return write


def errors_of(path):
    with pytest.raises(UserError) as refused:
        sweep.load(path)
    return str(refused.value).splitlines()


class TestPoints:
    def test_grid_is_a_product_repeated_over_seeds(self, written):
        _, points = sweep.load(
            written(grid={"strategy.strength": [0.1, 0.3], "strategy.name": ["tracer", "l2_sp"], "seed": [4, 5]})
        )
        assert [point.label for point in points] == [
            f"strategy.strength={strength}, strategy.name={name}" for strength in (0.1, 0.3) for name in ("tracer", "l2_sp")
        ]
        for point in points:
            assert [run.seed for run in point.runs] == [4, 5]
            assert {run.strategy.strength for run in point.runs} == {point.setting["strategy.strength"]}
        assert len(sweep.jobs(points)) == 8

    def test_explicit_runs_follow_and_are_repeated_too(self, written):
        runs = [{"strategy.name": "zero_shot", "seed": 7}, {"strategy.name": "ft"}]
        _, points = sweep.load(written(runs=runs))
        assert [[run.seed for run in point.runs] for point in points] == [[0, 1], [0, 1], [7], [0, 1]]
        assert [point.runs[0].strategy.name for point in points] == ["l2_sp", "l2_sp", "zero_shot", "ft"]

    def test_seeds_alone_repeat_the_base_or_the_runs(self, written):
        (base,) = sweep.load(written(grid={"seed": [0, 1]}))[1]
        assert (base.label, len(base.runs)) == ("base", 2)
        (explicit,) = sweep.load(written(grid={"seed": [0, 1]}, runs=[{"strategy.name": "ft"}]))[1]
        assert explicit.label == "strategy.name=ft"

    def test_values_may_be_sections(self, written):
        kernels = [{"kind": "static"}, {"kind": "beta", "a": 0.2, "b": 0.5}]
        _, points = sweep.load(written(base=QUICK | {"strategy": {"name": "tracer"}}, grid={"strategy.kernel": kernels}))
        assert [point.runs[0].strategy.kernel.kind for point in points] == ["static", "beta"]
        assert points[1].label == "strategy.kernel=kind beta a 0.2 b 0.5"

    def test_linked_keys_take_their_values_together(self, written):
        seeds = {"model.pretrained, seed": [["0", 4], ["1", 5]]}
        grid = {"optimization.betas": [[0.9, 0.95]], "strategy.strength, optimization.learning_rate": [[0.1, 1e-3], [0.3, 1e-4]]}
        plan, points = sweep.load(written(grid=grid | seeds, repeat_over=[*seeds], runs=[{"seed": 9}]))
        assert [(p.setting["strategy.strength"], p.setting["optimization.learning_rate"]) for p in points[:2]] == [
            (0.1, 1e-3),
            (0.3, 1e-4),
        ]
        assert [[(run.model.pretrained, run.seed) for run in point.runs] for point in points] == [
            [("0", 4), ("1", 5)],
            [("0", 4), ("1", 5)],
            [("0", 9)],
        ]
        assert points[0].runs[0].optimization.betas == (0.9, 0.95)
        assert sweep.varied_number(plan) is None

    def test_long_settings_have_short_folders_of_their_own(self, written):
        paths = [f"{'long/' * 60}{end}.safetensors" for end in "ab"]
        _, points = sweep.load(written(grid={"model.pretrained": paths}))
        folders = [point.runs[0].output.name for point in points]
        assert len(set(folders)) == 2
        assert max(map(len, folders)) < 200


class TestMistakes:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"gird": {}}, ["gird", "did you mean 'grid'"]),
            ({"grid": {"strategy.strenght": [1, 2], "seed": [0, 1]}}, ["strategy.strenght", "did you mean 'strength'"]),
            ({"grid": {"strategy.strength": [-1]}}, ["strategy.strength is -1"]),
            ({"grid": {"seed": []}}, ["grid.seed"]),
            ({"grid": {"seed": 3}}, ["grid.seed"]),
            ({"grid": {}}, ["neither grid nor runs"]),
            ({"output": None}, ["output is missing"]),
            ({"grid": {"model.pretrained, seed": [["0", 1], ["1"]]}}, ["['1']", "a list of 2 values"]),
            ({"grid": {"seed": [0, 0]}}, ["two runs", "seed=0"]),
            ({"runs": [{"strategy.strength": 0.3}]}, ["two runs", "strategy.strength=0.3"]),
            ({"base": QUICK | {"output": "here"}}, ["output", "remove it"]),
            ({"base": QUICK | {"evaluation": None}}, ["evaluation is null"]),
            ({"base": QUICK | {"sede": 1}}, ["sede", "did you mean 'seed'"]),
            ({"repeat_over": ["seed", "model.pretrained"]}, ["model.pretrained", "grid"]),
            ({"published": [{"at": {"strategy.strength": 0.2}, "percent": {"ID": 1}}]}, ["strategy.strength=0.2", "not run"]),
            ({"published": [{"at": {"strategy.strength": 0.1}, "percent": {"IDD": 1}}]}, ["IDD", "did you mean 'ID'"]),
            ({"published": [{"percent": {"ID": 1}}]}, ["published", "give one"]),
            ({"published": [{"at": {"strategy.strength": 0.1}, "method": "other", "percent": {"ID": 1}}]}, ["give one"]),
            ({"processes": 0}, ["processes"]),
        ],
        ids=str,
    )
    def test_are_told_in_one_sentence(self, written, changes, words):
        (line,) = errors_of(written(**changes))
        assert "grid.yaml: " in line
        for word in words:
            assert word in line

    def test_several_are_told_at_once_and_nothing_is_written(self, written, tmp_path, capsys):
        path = written(base=QUICK | {"sede": 1}, grid={"strategy.strength": [-1, -2], "seed": [0, 1]})
        assert main(["sweep", str(path)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 3
        assert not (tmp_path / "sweep").exists()

    def test_no_processes(self, written, capsys):
        assert main(["sweep", str(written()), "--processes", "0"]) == 2
        assert "--processes is 0" in capsys.readouterr().err


def report(accuracy, knowledge=True):
    scores = {"accuracy": accuracy, "ece": accuracy / 10}
    return {"report": {"id": scores, "ood": scores, "knowledge": scores if knowledge else {}}}


class TestSummaries:
    def test_intervals_are_over_seeds(self, written):
        plan, points = sweep.load(written())
        low, high = sweep.summarise(plan, points, [report(value) for value in (0.1, 0.3, 0.6, 0.8)])
        assert low.measured["ID"] == interval([0.1, 0.3])
        assert high.measured["OOD ECE"] == interval([0.06, 0.08])

    def test_runs_that_share_a_model_count_once(self, written):
        grid = {"seed": [0, 1], "model.pretrained": ["0", "1"]}
        plan, points = sweep.load(written(grid=grid, repeat_over=["seed", "model.pretrained"]))
        (summary,) = sweep.summarise(plan, points, [report(value) for value in (0.1, 0.6, 0.2, 0.9)])
        assert summary.measured["ID"] == interval([0.1, 0.6, 0.2, 0.9], [0, 1, 0, 1])
        assert summary.measured["ID"] != interval([0.1, 0.6, 0.2, 0.9])

    def test_table_has_what_was_judged_and_published(self, written):
        published = [{"at": {"strategy.strength": 0.1}, "percent": {"OOD": 61.86}}]
        plan, points = sweep.load(written(published=published, grid={"strategy.strength": [0.1, 0.3]}))
        lines = sweep.table(sweep.summarise(plan, points, [report(0.5, False), report(0.25, False)])).splitlines()
        assert lines[0] == "| setting | runs | ID | OOD | ID ECE | OOD ECE |"
        assert lines[2] == "| strategy.strength=0.1 | 1 | 50.0 | 50.0 [61.9] | 5.0 | 5.0 |"
        assert "In brackets" in lines[-1]

    def test_methods_that_are_not_run_have_rows_of_published_figures(self, written):
        published = [{"method": "CAR-FT", "percent": {"ID": 83.27, "OOD ECE": 9.04}}]
        plan, points = sweep.load(written(published=published, grid={"strategy.strength": [0.1]}))
        rows = [report(0.5, False)]
        lines = sweep.write(plan, sweep.summarise(plan, points, rows), rows).splitlines()
        assert lines[2] == "| strategy.strength=0.1 | 1 | 50.0 | 50.0 | 5.0 | 5.0 |"
        assert lines[3] == "| CAR-FT | 0 | [83.3] | - | - | [9.0] |"
        assert "In brackets" in lines[-1]

    def test_sets_may_have_columns(self, written):
        published = [{"at": {"strategy.strength": 0.1}, "percent": {"posed": 78.54}}]
        plan, points = sweep.load(written(sets=["posed"], published=published, grid={"strategy.strength": [0.1]}))
        row = report(0.5, False)
        row["report"]["sets"] = {"posed": {"accuracy": 0.25}}
        lines = sweep.table(sweep.summarise(plan, points, [row])).splitlines()
        assert lines[0] == "| setting | runs | ID | OOD | ID ECE | OOD ECE | posed |"
        assert lines[2].endswith("| 5.0 | 25.0 [78.5] |")
        row["report"]["sets"] = {"pose": {"accuracy": 0.25}}
        with pytest.raises(UserError, match=r"'posed' \(did you mean 'pose'\?\), which the suite lacks"):
            sweep.summarise(plan, points, [row])

    @pytest.mark.parametrize(
        ("grid", "key"),
        [
            ({"strategy.strength": [0.1, 1.0], "seed": [0]}, "strategy.strength"),
            ({"strategy.strength, optimization.learning_rate": [[0.1, 1e-3], [1.0, 1e-4]], "seed": [0]}, SEVERAL),
            ({"strategy.strength": [0.1], "seed": [0, 1]}, None),
            ({"strategy.name": ["ft", "flyp"]}, None),
            ({"strategy.strength": [0.1, 1.0], "optimization.total_steps": [2, 3]}, None),
        ],
    )
    def test_one_key_of_numbers_is_the_figures_axis(self, written, grid, key):
        plan, points = sweep.load(written(grid=grid))
        rows = [report(0.1) for point in points for _ in point.runs]
        sweep.write(plan, sweep.summarise(plan, points, rows), rows)
        assert sweep.varied_number(plan) == key
        drawn = (plan.output / "figure.svg").read_text()
        assert (f"<!-- {key.split(',')[0]}" in drawn) if key else ("<!-- strategy." not in drawn)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Sweeps over two strengths and a strategy of two stages, judged on a handful of images."""
    from PIL import Image

    home = tmp_path_factory.mktemp("small")
    for name in ("one", "two"):
        (home / "images" / name).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (32, 32), (30 * i, 250 * (name == "one"), 0)).save(home / "images" / name / f"{i}.png")
    folder = {"kind": "folder", "templates": ["the digit {}"]}
    suite = folder | {"id": str(home / "images"), "ood": {"same": str(home / "images")}}
    base = QUICK | {"model": {"architecture": "glyphs"}, "data": folder | {"path": str(home / "images")}, "evaluation": suite}

    def write(output, **changes):
        values = {
            "output": str(home / output),
            "base": base,
            "grid": {"strategy.strength": [0.1, 3.0], "seed": [0]},
            "runs": [{"strategy.name": "lp_ft"}],
            "published": [{"at": {"strategy.strength": 0.1}, "percent": {"ID": 83.2}}],
            "processes": 1,
        } | changes
        (home / f"{output}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return home / f"{output}.yaml"

    return write


def test_where_all_runs_fail_an_earlier_table_stays(small, capsys):
    grid = {"optimization.learning_rate": [1e-3], "seed": [0]}
    path = small("changed", grid=grid, runs=[], published=[])
    assert main(["sweep", str(path)]) == 0
    kept = {file: file.read_bytes() for file in path.with_suffix("").iterdir() if file.is_file()}
    assert {file.name for file in kept} >= {"table.md", "results.json"}
    path = small("changed", grid={**grid, "optimization.learning_rate": [1e20]}, runs=[], published=[])
    capsys.readouterr()
    assert main(["sweep", str(path)]) == 2
    told = capsys.readouterr()
    assert "0 of 1, 1 failed" in told.out
    assert "1 of 1 runs failed" in told.err
    assert {file: file.read_bytes() for file in kept} == kept


def test_failed_runs_are_marked_and_the_others_go_on(small, capsys):
    """Some diverge; the command says so with an exit code, and runs those alone when it is started again."""
    grid = {"optimization.learning_rate": [1e-3, 1e20], "seed": [0, 1]}
    path = small("partly", grid=grid, runs=[{"strategy.name": "zero_shot"}], published=[], processes=2)
    folder = path.with_suffix("")
    assert main(["sweep", str(path)]) == 2
    told = capsys.readouterr()
    assert "2 of 6 runs failed" in told.err
    lines = (folder / "table.md").read_text().splitlines()
    assert "| optimization.learning_rate=1e+20 | 0 of 2, 2 failed | - |" in "\n".join(lines)
    failed = [line for line in lines if line.startswith("- failed: optimization.learning_rate=1e+20, seed=")]
    assert len(failed) == 2
    assert "not finite" in failed[0] or "is nan" in failed[0] or "is inf" in failed[0] or "no longer finite" in failed[0]
    zero_shot = next(line for line in lines if "zero_shot" in line)
    assert "±" not in zero_shot, "another seed repeats nothing where nothing is trained"
    sound = next(line for line in lines if "=0.001" in line)
    assert "±" in sound
    points = json.loads((folder / "results.json").read_text())["points"]
    assert [len(point.get("failed", {})) for point in points] == [0, 2, 0]
    kept = {rows: rows.stat().st_mtime_ns for rows in (folder / "runs").glob("*/rows.json")}
    assert len(kept) == 4
    assert main(["sweep", str(path)]) == 2
    assert {rows: rows.stat().st_mtime_ns for rows in kept} == kept


DAMAGES = ["", "{", "[1]", "nul\0", '{"job": 1}', "[" * 100_000, "no report"]


@pytest.fixture(scope="module")
def finished(small):
    """A sweep of one run that is done: its file, the rows and where they are."""
    path = small("damaged", runs=[], published=[], grid={"strategy.strength": [0.1]})
    assert main(["sweep", str(path)]) == 0
    (rows,) = path.with_suffix("").glob("runs/*/rows.json")
    return path, json.loads(rows.read_text()), rows


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_damaged_rows_are_made_again(finished, damage):
    path, before, rows = finished
    rows.write_text(damage if damage != "no report" else json.dumps(before | {"rows": [{}]}))
    assert main(["sweep", str(path)]) == 0
    assert json.loads(rows.read_text()) == before


ENDS = """
import os, sys
from pathlib import Path
from tracer.cli import main
from tracer.runs import pool

def end_or_wait(*arguments, wait=pool.wait):
    if list(Path(sys.argv[1]).with_suffix("").glob("runs/*/rows.json")):
        os.killpg(0, int(sys.argv[2]))
    return wait(*arguments)

pool.wait = end_or_wait
sys.exit(main(["sweep", sys.argv[1]]))
"""


def ended(path, number):
    """Exit code and last words of `tracer sweep`, whose process group gets a signal once a run is finished.

    All its processes are gone then: each holds the pipe that its words come through.
    """
    command = [sys.executable, "-c", ENDS, str(path), str(int(number))]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return done.returncode, done.stderr


def test_ctrl_c_ends_a_sweep_with_one_sentence(small):
    path = small("interrupted")
    code, told = ended(path, signal.SIGINT)
    assert code == 130
    assert [line[:8] for line in told.splitlines()] == ["tracer: "], told
    assert list(path.with_suffix("").glob("runs/*/rows.json"))


def test_a_resumed_sweep_equals_an_uninterrupted_one(small, capsys):
    paths = small("whole"), small("resumed")
    whole, resumed = (path.with_suffix("") for path in paths)
    assert main(["sweep", str(paths[0])]) == 0
    assert ended(paths[1], signal.SIGKILL)[0] == -signal.SIGKILL
    kept = {rows: rows.stat().st_mtime_ns for rows in resumed.glob("runs/*/rows.json")}
    assert 1 <= len(kept) < 3
    assert main(["sweep", str(paths[1])]) == 0
    assert {rows: rows.stat().st_mtime_ns for rows in kept} == kept
    for name in ("results.json", "table.md", "figure.png", "figure.svg"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name
    points = json.loads((whole / "results.json").read_text())["points"]
    assert [point["setting"] for point in points] == [
        {"strategy.strength": 0.1},
        {"strategy.strength": 3.0},
        {"strategy.name": "lp_ft"},
    ]
    assert points[0]["measured"]["ID"]["half_width"] is None
    assert "[83.2]" in capsys.readouterr().out
