"""Studies: many runs, several processes at once, each run resumable, gathered into rows."""

import functools
import json
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config.data import EmbeddedData
from tracer.config.schema import EmbeddedSuite, RunConfig
from tracer.errors import UserError
from tracer.evaluation.across_runs import Row
from tracer.runs import pool, run_identity
from tracer.runs.pool import Failure
from tracer.storage import json_text, write_text


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        run: its configuration.
        interpolations: coefficients at which the result is also interpolated with the pretrained weights and judged (WiSE-FT).
    """

    run: RunConfig
    interpolations: tuple[float, ...] = ()

    @property
    def steps(self) -> int:
        """Optimiser steps that the job takes."""
        return self.run.all_steps


def run_all(jobs: Sequence[Job], processes: int = 2, on_step: Callable[[int], None] = lambda step: None) -> list[Row]:
    """Run all jobs and gather their rows in the order of the jobs.

    A job whose output folder holds the rows of the same configuration, data, weights and suite is not run again, and one that was
    interrupted goes on from its checkpoint.

    Args:
        jobs: what to run, each with an output folder of its own.
        processes: how many at once, one thread each (on small models two such processes beat one with two threads).
        on_step: called now and then with the number of steps done in all, those of earlier calls included.

    Returns:
        Rows with `method`, `pretrained`, `seed`, `steps`, `strength`, `kernel`, `report` (of `evaluate`) and `metrics` (of the
        run, but for its pace, so that equal runs have equal rows).

    Raises:
        UserError: when all are done, if some failed: a line each. The rows of the others are kept.
    """
    found = try_all(jobs, processes, on_step)
    failed = [f"{job.run.output}: {each.reason}" for job, each in zip(jobs, found, strict=True) if isinstance(each, Failure)]
    if failed:
        raise UserError("\n".join([f"{len(failed)} of {len(jobs)} runs failed; the others are kept", *failed]))
    return [row for rows in found if not isinstance(rows, Failure) for row in rows]


def try_all(
    jobs: Sequence[Job], processes: int = 2, on_step: Callable[[int], None] = lambda step: None
) -> list[list[Row] | Failure]:
    """As `run_all`, with the rows of each job, or why it has none."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tracer.runs.fine_tune"])
    counter = context.Value("l", 0)
    prepare = functools.partial(_start_worker, counter)
    return pool.outcomes(_execute, jobs, processes, context, prepare, lambda: on_step(counter.value))


_steps_done: Any = None  # shared by a study's processes; set when a worker starts


def _start_worker(counter: Any) -> None:
    import torch

    global _steps_done
    torch.set_num_threads(1)
    _steps_done = counter


def _execute(job: Job) -> list[Row]:
    """The rows of one job, from its folder if they are there."""
    kept = job.run.output / "rows.json"
    run = job.run.model_dump(mode="json", exclude={"output"})
    known = {"run": run, "interpolations": list(job.interpolations), "content": _content(job.run)}
    if rows := _stored(kept, known):
        _count(job.steps)
        return rows
    rows = _rows(job)
    write_text(kept, json_text({"job": known, "rows": rows}))
    return rows


def _content(run: RunConfig) -> dict[str, Any]:
    """What the files that a run names hold, so that rows of others are not taken for its own; the package's own need no telling.

    Where files were only touched or moved, the run is not repeated, but judged again.
    """
    from tracer.evaluation.report_cache import state_of
    from tracer.runs import sources, training_data
    from tracer.runs.sources import evaluation_suite

    content: dict[str, Any] = {"weights": [_state(place) for place in _weights(run)]}
    data = None if isinstance(run.data, EmbeddedData) else sources.training_pairs(run.data)
    content |= run_identity.of_run(run, data, training_data.pool(run))["content"]
    if run.evaluation is not None and not isinstance(run.evaluation, EmbeddedSuite):
        content["suite"] = state_of(evaluation_suite(run.evaluation))
    return content


def _weights(run: RunConfig) -> list[Path]:
    """The files that a run's model may come from."""
    architecture = run.model.architecture
    beside = (
        sorted(Path(architecture.removeprefix(run_identity.LOCAL)).glob("*")) if architecture.startswith(run_identity.LOCAL) else []
    )
    return [path for path in (Path(run.model.pretrained or ""), *beside) if path.is_file()]


def _state(path: Path) -> list[str | int]:
    """A file's name, size and time of change."""
    status = path.stat()
    return [path.name, status.st_size, status.st_mtime_ns]


def _stored(path: Path, known: dict[str, Any]) -> list[Row] | None:
    """The rows of the same job from their file; None if it is absent or damaged: the run's checkpoint makes them again."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        whole = stored["job"] == known and all(row["report"]["sets"] and "metrics" in row for row in stored["rows"])
        return stored["rows"] if whole else None
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _rows(job: Job) -> list[Row]:
    import dataclasses

    from tracer.evaluation.report import evaluate
    from tracer.models.merging import interpolate
    from tracer.runs import fine_tune as running
    from tracer.tracking import read
    from tracer.training import throughput

    counted = 0

    def count_up_to(step: int) -> None:  # also the steps before the checkpoint that a run goes on from
        nonlocal counted
        _count(step - counted)
        counted = step

    result = running.fine_tune(job.run, count_up_to)
    count_up_to(job.steps)
    assert result.suite is not None, "a study judges its runs"
    metrics = [{k: v for k, v in line.items() if k not in throughput.NAMES} for line in read(job.run.output / "metrics.jsonl")]
    rows = [_row(job.run, job.run.strategy.name, result.report, metrics)]
    for coefficient in job.interpolations:
        mixed = dataclasses.replace(result.student, model=interpolate(result.anchor, result.student.model, coefficient))
        rows.append(_row(job.run, "wise_ft", evaluate(mixed, result.suite), []) | {"strength": coefficient})
    return rows


def _row(run: RunConfig, method: str, report: Any, metrics: list[dict[str, Any]]) -> Row:
    return {
        "method": method,
        "pretrained": run.model.pretrained,
        "seed": run.seed,
        "steps": run.optimization.total_steps,
        "strength": run.strategy.strength,
        "kernel": run.strategy.model_dump(mode="json")["kernel"],
        "report": report,
        "metrics": metrics,
    }


def _count(steps: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += steps
