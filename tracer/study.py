"""Studies: many runs of the embedded world, several processes at once, each run resumable, gathered into rows."""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from tracer import stages
from tracer.config import Run
from tracer.storage import json_text, write_text

Row = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        run: its configuration.
        interpolations: coefficients at which the result is also interpolated with the pretrained weights and judged (WiSE-FT).
    """

    run: Run
    interpolations: tuple[float, ...] = ()

    @property
    def steps(self) -> int:
        """Optimiser steps that the job takes."""
        return stages.steps(self.run)


def study(jobs: Sequence[Job], processes: int = 2, on_step: Callable[[int], None] = lambda step: None) -> list[Row]:
    """Run all jobs and gather their rows in the order of the jobs.

    A job whose output folder holds the rows of the same configuration is not run again, and one that was interrupted goes on
    from its checkpoint.

    Args:
        jobs: what to run, each with an output folder of its own.
        processes: how many at once, one thread each (on small models two such processes beat one with two threads).
        on_step: called now and then with the number of steps done in all, those of earlier calls included.

    Returns:
        Rows with `method`, `pretrained`, `seed`, `steps`, `strength`, `report` (of `evaluate`) and `metrics` (of the run).
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tracer.run"])
    counter = context.Value("l", 0)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker, initargs=(counter,)) as pool:
        futures = {pool.submit(_execute, job): index for index, job in enumerate(jobs)}
        rows: dict[int, list[Row]] = {}
        try:
            while len(rows) < len(jobs):
                rows |= {futures[future]: future.result() for future in futures if future.done()}
                on_step(counter.value)
                time.sleep(0.2)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [row for index in range(len(jobs)) for row in rows[index]]


_steps_done: Any = None  # shared by a study's processes; set when a worker starts


def _start_worker(counter: Any) -> None:
    import torch

    global _steps_done
    torch.set_num_threads(1)
    _steps_done = counter
    threading.Thread(target=_leave_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _leave_with(parent: Any) -> None:
    """End this process when its parent is gone: a study that was killed must not go on computing."""
    parent.join()
    os._exit(1)


def _execute(job: Job) -> list[Row]:
    """The rows of one job, from its folder if they are there."""
    kept = job.run.output / "rows.json"
    run = job.run.model_dump(mode="json", exclude={"output"})
    identity = {"run": run, "interpolations": list(job.interpolations)}
    if kept.exists():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        if stored["job"] == identity:
            _count(job.steps)
            return stored["rows"]
    rows = _rows(job)
    write_text(kept, json_text({"job": identity, "rows": rows}))
    return rows


def _rows(job: Job) -> list[Row]:
    import dataclasses

    from tracer import run as running
    from tracer.evaluation.interpolation import interpolate
    from tracer.evaluation.suite import evaluate
    from tracer.tracking import read

    counted = 0

    def count_up_to(step: int) -> None:  # also the steps before the checkpoint that a run goes on from
        nonlocal counted
        _count(step - counted)
        counted = step

    result = running.fine_tune(job.run, count_up_to)
    count_up_to(job.steps)
    assert result.suite is not None, "a study judges its runs"
    rows = [_row(job.run, job.run.strategy.name, result.report, read(job.run.output / "metrics.jsonl"))]
    for coefficient in job.interpolations:
        mixed = dataclasses.replace(result.student, model=interpolate(result.anchor, result.student.model, coefficient))
        rows.append(_row(job.run, "wise_ft", evaluate(mixed, result.suite), []) | {"strength": coefficient})
    return rows


def _row(run: Run, method: str, report: Any, metrics: list[dict[str, Any]]) -> Row:
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
