"""Studies: rows of several processes, in order, and not computed twice."""

import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from tracer.config import loading
from tracer.demo import settings
from tracer.errors import UserError
from tracer.evaluation import across_runs
from tracer.runs import fine_tune as running
from tracer.runs.jobs import Job, run_all

TWO_STEPS = {"total_steps": 2, "batch_size": 8}


def jobs(folder, methods=("zero_shot", "flyp", "tracer")):
    runs = [settings.configuration(m, "0", 0, folder, split="validation", optimization=TWO_STEPS) for m in methods]
    return [Job(run, (0.5,) if run.strategy.name == "flyp" else ()) for run in runs]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    counted = []
    return folder, run_all(jobs(folder), processes=2, on_step=counted.append), counted


def test_rows_come_in_the_order_of_the_jobs(studied):
    _, rows, counted = studied
    assert [row["method"] for row in rows] == ["zero_shot", "flyp", "wise_ft", "tracer"]
    assert counted[-1] == 4


def test_rows_hold_what_was_measured(studied):
    _, rows, _ = studied
    zero_shot, flyp, wise_ft, tracer = (across_runs.measure(row, "ID") for row in rows)
    assert zero_shot > 0.8
    assert len({zero_shot, flyp, wise_ft, tracer}) > 1
    assert rows[2]["strength"] == 0.5


def test_what_is_there_is_not_run_again(studied):
    folder, rows, _ = studied
    kept = folder / "flyp-0-0" / "rows.json"
    stored = json.loads(kept.read_text())
    stored["rows"][0]["report"]["id"]["accuracy"] = 0.123
    kept.write_text(json.dumps(stored))
    again = run_all(jobs(folder, ("flyp",)), processes=1)
    assert across_runs.measure(again[0], "ID") == 0.123
    assert across_runs.measure(rows[1], "ID") != 0.123


def test_steps_of_an_earlier_call_are_counted(tmp_path):
    """Those before the checkpoint that a run goes on from, those of a run that only its rows are missing of, and all else."""
    (job,) = jobs(tmp_path, ("flyp",))
    job = Job(job.run.model_copy(update={"checkpoint_every_steps": 1}))

    def stop(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.fine_tune(job.run, stop)
    counts = []
    for _ in range(2):
        run_all([job], processes=1, on_step=counts.append)
        assert counts[-1] == job.steps == 2
        (job.run.output / "rows.json").unlink()


def test_a_failing_run_ends_the_study_with_its_sentence(tmp_path):
    broken = settings.configuration("flyp", "0", 0, tmp_path, optimization={"total_steps": 2, "batch_size": 5000})
    with pytest.raises(UserError, match="fewer than one batch"):
        run_all([Job(broken)], processes=1)


def test_kept_knowledge_runs_from_flyp_to_zero_shot(studied):
    _, rows, _ = studied
    summary = across_runs.summary(rows)
    assert across_runs.kept_knowledge(summary, "zero_shot") == 1
    assert across_runs.kept_knowledge(summary, "flyp") == 0


def folders_job(folder, classes):
    """A job on class folders, three images each, judged on the same."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(folder / "photos" / name / f"{number}.png")
    photos = {"kind": "folder", "path": str(folder / "photos"), "templates": ["the digit {}"]}
    values = {
        "output": str(folder / "run"),
        "model": {"architecture": "glyphs"},
        "data": photos,
        "evaluation": {"kind": "folder", "id": str(folder / "photos")},
        "strategy": {"name": "flyp"},
        "optimization": {"total_steps": 2, "batch_size": 4},
    }
    return Job(loading.validate(values, "here"))


def test_rows_of_other_data_are_not_taken_for_the_run_s(tmp_path):
    job = folders_job(tmp_path, ("one", "two"))
    (row,) = run_all([job], processes=1)
    kept = tmp_path / "run" / "rows.json"
    stored = json.loads(kept.read_text())
    stored["rows"][0]["report"]["id"]["accuracy"] = 0.123
    kept.write_text(json.dumps(stored))
    assert across_runs.measure(run_all([job], processes=1)[0], "ID") == 0.123
    later = time.time() + 5
    os.utime(tmp_path / "photos" / "one" / "0.png", (later, later))
    assert across_runs.measure(run_all([job], processes=1)[0], "ID") == across_runs.measure(row, "ID")
    (tmp_path / "photos" / "two").rename(tmp_path / "photos" / "three")
    with pytest.raises(UserError, match="'two' is gone"):
        run_all([job], processes=1)
